"""Mixtures of correlated Gaussians of unequal widths; scale extremes and far starts of a single one.

log p(x, z) = offset + log sum_c w_c N(z; m_c, (R_c' R_c)^-1),    log p(x) = offset + log sum_c w_c
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.posteriors.record import Posteriors, float32
from vaelab.types import Array

COMPONENTS = 8  # every datapoint has room for this many; those of weight 0 are not there
WIDTHS = (0.05, 3.0)
NUMBERS = (2, 1, 3, 2, 4, 2, 8, 3, 1, 5, 2, 6, 4, 7)
APART = (8.0, 20.0, 5.0, 12.0, 3.0, 100.0, 2.0, 40.0, 6.0)
FIRST_WEIGHTS = (0.5, 0.99, 0.7, 0.05, 0.9, 0.3, 0.01)
ENCODERS = ("right", "lesser", "right", "average", "lesser")
SEPARATE, ALONE = 5.0, 12.0  # Mahalanobis distances: modes are distinct; no q gains from two


def log_joint(x: dict[str, Array], z_K: Array) -> Array:
    """log p(x, z) of one datapoint, nats; a component of weight 0 adds nothing."""
    root_CxKxK = x["root_CxKxK"]
    white_CxK = jnp.einsum("ckl,cl->ck", root_CxKxK, z_K[None] - x["mean_CxK"])
    log_det_C = jnp.sum(jnp.log(jnp.diagonal(root_CxKxK, axis1=1, axis2=2)), axis=1)
    log_norm_C = log_det_C - 0.5 * jnp.sum(white_CxK**2, axis=1) - 0.5 * z_K.size * jnp.log(2.0 * jnp.pi)
    return x["offset"] + jax.nn.logsumexp(log_norm_C, b=x["weight_C"])


def mixtures(K: int, count: int, *, has_encoder: bool = True) -> Posteriors:
    """1 to 8 components, 2 to 100 sd apart, weights 0.01 to 0.99, widths 0.05 to 3."""
    rng = np.random.default_rng(1000 + 10 * K + has_encoder)
    rows, encoders, kinds = [], [], []
    for row in range(count):
        number, apart = NUMBERS[row % len(NUMBERS)], APART[row % len(APART)]
        weight_C = _weights(rng, number, FIRST_WEIGHTS[row % len(FIRST_WEIGHTS)])
        roots, means = _components(rng, K, number, apart)
        rows.append((weight_C, means, roots))
        kind = ENCODERS[row % len(ENCODERS)] if number > 1 else "right"
        encoders.append(_encoder(kind, weight_C, means, roots))
        kinds.append(f"{number} parts" + (f", encoder {kind}" if has_encoder else ""))
    return _group(K, rows, rng, kinds, encoders if has_encoder else None)


def scales(K: int) -> Posteriors:
    """One correlated Gaussian whose standard deviations are 1e-4 to 1e4; the encoder is right."""
    rng = np.random.default_rng(2000 + K)
    rows, encoders, kinds = [], [], []
    for scale in (1e-4, 1e-3, 1e-2, 1e-1, 10.0, 100.0, 1e3, 1e4):
        root = _root(rng, K, np.full(K, 1.0)) / scale
        mean = rng.normal(size=K) * max(1.0, scale)
        rows.append((np.ones(1), mean[None], root[None]))
        encoders.append(_encoder("right", *rows[-1]))
        kinds.append(f"sd {scale:g}")
    return _group(K, rows, rng, kinds, encoders)


def far_starts(K: int) -> Posteriors:
    """One or two Gaussians, and an encoder 1e2 to 1e4 standard deviations off."""
    rng = np.random.default_rng(3000 + K)
    rows, encoders, kinds = [], [], []
    for number, far in itertools.product((1, 2), (1e2, 3e2, 1e3, 1e4)):
        roots, means = _components(rng, K, number, 8.0)
        rows.append((_weights(rng, number, 0.5), means, roots))
        mean, sd = _encoder("right", *rows[-1])
        direction = rng.normal(size=K)
        encoders.append((mean + far * sd * direction / np.linalg.norm(direction), sd))
        kinds.append(f"{number} parts, encoder {far:g} sd off")
    return _group(K, rows, rng, kinds, encoders)


def _weights(rng: np.random.Generator, number: int, first: float) -> np.ndarray:
    """Weights of 0.01 or more; of two, `first` and the rest."""
    if number <= 2:
        return np.array([1.0] if number == 1 else [first, 1.0 - first])
    weight_C = np.maximum(rng.dirichlet(np.full(number, 0.7)), 0.012)
    return weight_C / weight_C.sum()


def _root(rng: np.random.Generator, K: int, sd_K: np.ndarray) -> np.ndarray:
    """Lower-triangular R with a positive diagonal, (R'R)^-1 a covariance of these axes, rotated."""
    axes = np.linalg.qr(rng.normal(size=(K, K)))[0] * (sd_K * np.exp(rng.uniform(-0.5, 0.5, size=K)))
    precision = np.linalg.inv(axes @ axes.T)
    # R'R of a lower-triangular R: the Cholesky factor of the reversed matrix, reversed.
    return np.linalg.cholesky(precision[::-1, ::-1])[::-1, ::-1].T


def _components(rng: np.random.Generator, K: int, number: int, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """(roots, means); each mean is `apart` from that of an earlier one."""
    width = np.exp(rng.uniform(*np.log(WIDTHS)))
    sds = np.clip(width * np.exp(rng.uniform(-1.1, 1.1, size=number)), *WIDTHS)
    roots = np.stack([_root(rng, K, np.full(K, sd)) for sd in sds])
    means = [rng.normal(size=K)]
    for c in range(1, number):
        near, direction = int(rng.integers(c)), rng.normal(size=K)
        pooled = 0.5 * (_covariance(roots[near]) + _covariance(roots[c]))
        means.append(means[near] + apart * direction / _mahalanobis(direction, pooled))
    return roots, np.stack(means)


def _covariance(root: np.ndarray) -> np.ndarray:
    return np.linalg.inv(root.T @ root)


def _mahalanobis(difference: np.ndarray, covariance: np.ndarray) -> float:
    return float(np.sqrt(difference @ np.linalg.solve(covariance, difference)))


def _encoder(
    kind: str, weight_C: np.ndarray, means: np.ndarray, roots: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(mu, sigma): at the heaviest component, the lightest, or the moments of all."""
    variances = np.stack([np.diag(_covariance(root)) for root in roots])
    if kind == "average":
        mean = weight_C @ means
        return mean, np.sqrt(weight_C @ (variances + (means - mean) ** 2))
    c = int(np.argmin(weight_C) if kind == "lesser" else np.argmax(weight_C))
    return means[c], np.sqrt(variances[c])


def _group(
    K: int,
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    rng: np.random.Generator,
    kinds: list[str],
    encoders: list[tuple[np.ndarray, np.ndarray]] | None,
) -> Posteriors:
    def padded(array: np.ndarray, size: int = COMPONENTS) -> np.ndarray:
        # The absent stand where the first does: their weight is 0, and nothing of them overflows.
        return np.concatenate([array, np.repeat(array[:1], size - len(array), axis=0)])

    x = float32(
        offset=3.0 * rng.normal(size=len(rows)),
        weight_C=[np.pad(weight_C, (0, COMPONENTS - len(weight_C))) for weight_C, _, _ in rows],
        mean_CxK=[padded(means) for _, means, _ in rows],
        root_CxKxK=[padded(roots) for _, _, roots in rows],
    )
    offset_N, weight_NxC = (x[name].astype(np.float64) for name in ("offset", "weight_C"))
    alone_N = offset_N + np.array([_alone(*row) for row in rows])
    nearest_N, farthest_N = np.array([_distances(*row[1:]) for row in rows]).T
    heavy_N = np.sum(weight_NxC >= 0.01 * weight_NxC.max(axis=1, keepdims=True), axis=1)
    return Posteriors(
        latent_dim=K,
        density=log_joint,
        is_likelihood=False,
        x=x,
        encode=None if encoders is None else tuple(np.float32(a) for a in zip(*encoders, strict=True)),
        log_evidence_N=offset_N + np.log(weight_NxC.sum(axis=1)),
        best_diagonal_N=np.where(nearest_N >= ALONE, alone_N, np.nan),
        attained_N=alone_N,
        num_parts_N=np.array([len(weight_C) for weight_C, _, _ in rows]),
        num_modes_N=np.where(nearest_N >= SEPARATE, heavy_N, 0),
        apart_N=farthest_N,
        kind_N=np.array(kinds),
        starts_NxSx2K=np.array([padded(_starts(*row), COMPONENTS + 1) for row in rows]) if K <= 2 else None,
    )


def _alone(weight_C: np.ndarray, means: np.ndarray, roots: np.ndarray) -> float:
    """The best bound of a diagonal q at one component of a normalised mixture, without the others.

    log w_c minus its mean-field loss 1/2 (sum_i log P_ii - log |P|), P its precision. The others only add to
    log p(x, z); where they are far they add nothing, and this is the best there is.
    """
    precisions = [root.T @ root for root in roots]
    losses = [0.5 * (np.sum(np.log(np.diag(P))) - np.linalg.slogdet(P)[1]) for P in precisions]
    return float(np.max(np.log(weight_C) - losses))


def _distances(means: np.ndarray, roots: np.ndarray) -> tuple[float, float]:
    """(the smallest, the largest) Mahalanobis distance of two components; infinity and 0 of one alone."""
    covariances = [_covariance(root) for root in roots]
    apart = [
        _mahalanobis(means[a] - means[b], 0.5 * (covariances[a] + covariances[b]))
        for a, b in itertools.combinations(range(len(means)), 2)
    ]
    return min(apart, default=np.inf), max(apart, default=0.0)


def _starts(weight_C: np.ndarray, means: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """(mean, log sd) of every component's best diagonal q, and at the moments of all."""
    at_each = [
        np.concatenate([mean, -0.5 * np.log(np.diag(root.T @ root))])
        for mean, root in zip(means, roots, strict=True)
    ]
    mean, sd = _encoder("average", weight_C, means, roots)
    return np.stack([np.concatenate([mean, np.log(sd)]), *at_each])
