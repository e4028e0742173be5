"""What each latent dimension carries: the KL by dimension, and which units are active; nats."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vaelab.measure.gap import mean_and_stderr

THRESHOLD = 0.01  # of the variance of means, and of the KL in nats, above which a unit is active
UNDECIDED = 2.0  # standard errors from the threshold, within which the count is not sure


def kl_by_dimension(mean_NxK: np.ndarray, sd_NxK: np.ndarray) -> np.ndarray:
    """KL(q(z_k) || N(0, 1)) of the marginals of Gaussian q, `[N, K]` nats.

    The sum over k is KL(q || N(0, I)) where the dimensions are independent under q; else it is less, by the
    total correlation within q.
    """
    log_sd_NxK = np.log(np.float64(sd_NxK))
    return 0.5 * (np.expm1(2.0 * log_sd_NxK) + np.float64(mean_NxK) ** 2) - log_sd_NxK


def variance_of_means(mean_NxK: np.ndarray, noise_NxK: np.ndarray | None = None) -> list[dict[str, float]]:
    """Var_x(E_q[z_k]) of each dimension, as {mean, stderr} of N / (N - 1) (mean_n - mean)^2 over datapoints.

    noise_NxK: the variance of each mean that is itself estimated, which is taken off. The error has no normal
    distribution of means in it. (Burda, Grosse & Salakhutdinov 2016, section 5.2, without the error.)
    """
    mean_NxK = np.float64(mean_NxK)
    count = len(mean_NxK)
    squares_NxK = (mean_NxK - np.mean(mean_NxK, axis=0)) ** 2 * (count / max(count - 1, 1))
    if noise_NxK is not None:
        squares_NxK = squares_NxK - noise_NxK
    return [mean_and_stderr(squares_N) for squares_N in squares_NxK.T]


def active(statistics: Sequence[dict[str, float]], *, threshold: float = THRESHOLD) -> dict[str, Any]:
    """How many units have a mean above the threshold, and which are too near to it to be sure of.

    Returns: count, of, units (those above, from 0 on), undecided (those within UNDECIDED of their standard
    errors of the threshold, on either side, or without an error), threshold.
    """
    means_K = np.array([s["mean"] for s in statistics])
    errors_K = np.array([s["stderr"] for s in statistics])
    near_K = ~(np.abs(means_K - threshold) > UNDECIDED * errors_K)
    return {
        "count": int(np.sum(means_K > threshold)),
        "of": len(means_K),
        "units": np.flatnonzero(means_K > threshold).tolist(),
        "undecided": np.flatnonzero(near_K).tolist(),
        "threshold": threshold,
    }


def has_correlations(scale_NxKxK: np.ndarray) -> bool:
    """Whether some S of N(mu, S S') is not diagonal."""
    return bool((scale_NxKxK * (1.0 - np.eye(scale_NxKxK.shape[1]))).any())
