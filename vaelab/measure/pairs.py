"""What the diagonal family lacks against the full one, pair of latents by pair; nats.

For a Gaussian posterior of precision Lam, q*_full is the posterior and

    L[q*_full] - L[q*_diagonal] = -1/2 log|R|,        R_ij = Lam_ij / sqrt(Lam_ii Lam_jj),

-R_ij being the correlation of z_i and z_j with the others held fixed: q*_diagonal has the variances of each
dimension given the others, 1 / Lam_ii. To second order in R - I this is sum_i<j of -1/2 log(1 - R_ij^2),
which for K = 2 is all of it. (The plain correlations of q*_full in the place of R make its total
correlation, which is another number from K = 3 on.)
"""

from typing import Any

import numpy as np

from vaelab.measure.gap import mean_and_stderr

MOST_PAIRS = 10  # that are named


def by_pairs(scale_NxKxK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(-1/2 log(1 - R_ij^2) [N, K, K] with zeros on the diagonal, -1/2 log|R| [N]) of N(mu, S S')."""
    inverse_NxKxK = np.linalg.inv(scale_NxKxK)
    precision_NxKxK = inverse_NxKxK.transpose(0, 2, 1) @ inverse_NxKxK
    diagonal_NxK = np.einsum("nkk->nk", precision_NxKxK)
    size_NxKxK = np.sqrt(diagonal_NxK[:, :, None] * diagonal_NxK[:, None, :])
    r_NxKxK = precision_NxKxK / size_NxKxK * (1.0 - np.eye(scale_NxKxK.shape[1]))
    whole_N = np.linalg.slogdet(scale_NxKxK)[1] + 0.5 * np.sum(np.log(diagonal_NxK), axis=1)
    return -0.5 * np.log1p(-np.minimum(r_NxKxK**2, 1.0)), whole_N


def entry(scale_NxKxK: np.ndarray, gap_N: np.ndarray, name: str) -> dict[str, Any] | None:
    """The entry `correlations` of the diagonal row: means over datapoints with errors, nats.

    scale_NxKxK: of q*_full; gap_N: L[q*_full] - L[q*_diagonal], as measured; name: of the full family.

    Returns: beside; gap; pairs: the largest, each with its latents from 0 on; pairs_total; higher_order: what
    -1/2 log|R| has beyond the sum over pairs; not_gaussian: what the gap has beyond -1/2 log|R|, as neither
    posterior is Gaussian nor a fit exact. None with one latent, or where nothing is finite.
    """
    K, scale_NxKxK = scale_NxKxK.shape[1], np.float64(scale_NxKxK)
    # A singular S has no inverse.
    used_N = np.isfinite(scale_NxKxK).all(axis=(1, 2)) & np.isfinite(gap_N)
    used_N[used_N] &= np.isfinite(np.linalg.slogdet(scale_NxKxK[used_N])[1])
    if K < 2 or not used_N.any():
        return None
    pair_NxKxK, whole_N = by_pairs(scale_NxKxK[used_N])
    gap_N, (first, second) = np.float64(gap_N)[used_N], np.triu_indices(K, 1)
    pair_NxM = pair_NxKxK[:, first, second]
    total_N = np.sum(pair_NxM, axis=1)
    order = np.argsort(-np.mean(pair_NxM, axis=0), kind="stable")[:MOST_PAIRS]
    return {
        "beside": name,
        "num_points": len(gap_N),
        "gap": mean_and_stderr(gap_N),
        "pairs": [
            {"latents": [int(first[m]), int(second[m])], **mean_and_stderr(pair_NxM[:, m])} for m in order
        ],
        "pairs_total": mean_and_stderr(total_N),
        "higher_order": mean_and_stderr(whole_N - total_N),
        "not_gaussian": mean_and_stderr(gap_N - whole_N),
    }
