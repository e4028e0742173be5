"""Posteriors of several modes, or of a whole shell, by a symmetry of the likelihood; the prior is N(0, I)."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.posteriors.record import Posteriors, float32, moments_start, single
from vaelab.types import Array

SIGN_NOISES = (0.3, 0.1, 0.4, 0.03, 0.5, 0.01, 0.2, 0.05, 0.25, 0.02)
SHELL_NOISES = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.03, 0.003)
LABEL_NOISES = (0.3, 0.2, 0.1, 0.4, 0.15, 0.25, 0.3, 0.2)
POINTS = 6  # of a datapoint of `labels`
CLEAR = 0.99  # of the mass in the modes that are counted


def normal_log_prob(x: Array, mean: Array, sd: Array) -> Array:
    """log N(x; mean, sd^2) of each number, nats."""
    return -0.5 * ((x - mean) / sd) ** 2 - jnp.log(sd) - 0.5 * jnp.log(2.0 * jnp.pi)


def sign_log_likelihood(x: dict[str, Array], z_K: Array) -> Array:
    """log p(x given z), x_k = z_k^2 + noise, of one datapoint, nats."""
    return jnp.sum(normal_log_prob(x["value_K"], z_K**2, x["noise"]))


def signs(K: int, count: int, *, has_encoder: bool = True) -> Posteriors:
    """x_k = z_k^2 + noise: 2^K modes of equal mass; the encoder is at one of them."""
    rng = np.random.default_rng(7000 + K)
    noise_N = np.array([SIGN_NOISES[row % len(SIGN_NOISES)] for row in range(count)])
    z_NxK = np.sign(rng.normal(size=(count, K))) * rng.uniform(0.8, 1.4, size=(count, K))
    x = float32(value_K=z_NxK**2 + noise_N[:, None] * rng.normal(size=(count, K)), noise=noise_N)
    x["value_K"] = np.maximum(x["value_K"], np.float32(0.3))
    ends = [[sign_exact(v, noise) for v in row] for row, noise in _float64(x["value_K"], x["noise"])]
    exact_NxKx2 = np.array(ends)
    root_NxK = np.sign(z_NxK) * np.sqrt(x["value_K"])
    sd_NxK = noise_N[:, None] / (2.0 * np.abs(root_NxK))
    apart_NxK = 2.0 * np.abs(root_NxK) / sd_NxK
    return Posteriors(
        latent_dim=K,
        density=sign_log_likelihood,
        is_likelihood=True,
        x=x,
        encode=(np.float32(root_NxK), np.float32(sd_NxK)) if has_encoder else None,
        log_evidence_N=exact_NxKx2[:, :, 0].sum(axis=1),
        best_diagonal_N=exact_NxKx2[:, :, 1].sum(axis=1),
        attained_N=exact_NxKx2[:, :, 1].sum(axis=1),
        num_parts_N=np.full(count, 2**K),
        num_modes_N=np.where(apart_NxK.min(axis=1) >= 5.0, 2**K, 0),
        apart_N=np.sqrt(np.sum(apart_NxK**2, axis=1)),
        kind_N=np.array([f"{2**K} signs, noise {noise:g}" for noise in noise_N]),
        starts_NxSx2K=None,
    )


def sign_exact(value: float, noise: float) -> tuple[float, float]:
    """(log p(x), the best bound of a Gaussian q) of one dimension of `signs`.

    log p(x) by quadrature over z > 0, twice. With q = N(m, u) E (x - z^2)^2 is the polynomial
    x^2 - 2 x (m^2 + u) + m^4 + 6 m^2 u + 3 u^2.
    """
    from scipy import integrate, optimize, stats

    root = np.sqrt(value)
    turns = root + np.array([-30.0, -8.0, -2.0, 0.0, 2.0, 8.0, 30.0]) * noise / (2.0 * root)
    turns = turns[(turns > 0.0) & (turns < 8.0)]

    def joint(z: float) -> float:
        return stats.norm.pdf(value, z * z, noise) * stats.norm.pdf(z)

    mass, _ = integrate.quad(joint, 0.0, 8.0, points=turns, limit=400, epsabs=0.0, epsrel=1e-11)

    def loss(phi: np.ndarray) -> float:
        m, u = phi[0], np.exp(phi[1])
        square = value**2 - 2.0 * value * (m * m + u) + m**4 + 6.0 * m * m * u + 3.0 * u * u
        log_likelihood = -0.5 * square / noise**2 - np.log(noise) - 0.5 * np.log(2.0 * np.pi)
        return 0.5 * (m * m + u - 1.0 - phi[1]) - log_likelihood

    options = {"xatol": 1e-10, "fatol": 1e-12, "maxiter": 5000, "maxfev": 5000}
    starts = [(root, 2.0 * np.log(0.5 * noise / root)), (0.0, np.log(value))]
    ends = [optimize.minimize(loss, s, method="Nelder-Mead", options=options).fun for s in starts]
    return float(np.log(2.0 * mass)), -float(min(ends))


def shell_log_likelihood(x: dict[str, Array], z_K: Array) -> Array:
    """log p(x given z), x = |z|^2 + noise, of one datapoint, nats."""
    return normal_log_prob(x["value"], jnp.sum(z_K**2), x["noise"])


def shells(K: int, count: int) -> Posteriors:
    """x = |z|^2 + noise: a thin shell, its radius sqrt(x); the encoder is at one point of it."""
    rng = np.random.default_rng(8000 + K)
    noise_N = np.array([SHELL_NOISES[row % len(SHELL_NOISES)] for row in range(count)])
    x = float32(value=K * rng.uniform(0.5, 1.5, size=count), noise=noise_N)
    radius_N = np.sqrt(x["value"])
    mean_NxK = np.stack([radius_N, *[np.zeros(count)] * (K - 1)], axis=1)
    across_N = noise_N / (2.0 * radius_N)
    sd_NxK = np.repeat(across_N[:, None], K, axis=1)
    # The best q along the shell is far wider than across it.
    wide_NxK = np.stack([across_N, *[np.sqrt(across_N * radius_N)] * (K - 1)], axis=1)
    starts = [moments_start(mean_NxK, wide_NxK * factor) for factor in (1.0, 0.25)]
    return Posteriors(
        latent_dim=K,
        density=shell_log_likelihood,
        is_likelihood=True,
        x=x,
        encode=(np.float32(mean_NxK), np.float32(sd_NxK)),
        log_evidence_N=np.array([shell_exact(K, *row) for row in _float64(x["value"], x["noise"])]),
        best_diagonal_N=np.full(count, np.nan),
        attained_N=np.full(count, np.nan),
        num_parts_N=np.ones(count, int),
        num_modes_N=np.zeros(count, int),
        apart_N=np.zeros(count),
        kind_N=np.array([f"shell, noise {noise:g}" for noise in noise_N]),
        starts_NxSx2K=np.concatenate(starts, axis=1) if K <= 2 else None,
    )


def shell_exact(K: int, value: float, noise: float) -> float:
    """log int chi2_K(t) N(x; t, noise^2) dt by quadrature, nats."""
    from scipy import integrate, stats

    low, high = max(0.0, value - 40.0 * noise), value + 40.0 * noise

    def joint(t: float) -> float:
        return stats.chi2.pdf(t, K) * stats.norm.pdf(value, t, noise)

    turns = value + noise * np.array([-8.0, -2.0, 0.0, 2.0, 8.0])
    turns = turns[turns > low]
    return float(np.log(integrate.quad(joint, low, high, points=turns, limit=400, epsabs=0.0)[0]))


def label_log_likelihood(x: dict[str, Array], z_K: Array) -> Array:
    """log p(x given z): each point of x is near one of the blocks of z, no matter which; nats."""
    points_JxD = x["points_JxD"]
    blocks_BxD = z_K.reshape(-1, points_JxD.shape[1])
    log_prob_JxB = jnp.sum(normal_log_prob(points_JxD[:, None], blocks_BxD[None], x["noise"]), axis=2)
    return jnp.sum(jax.nn.logsumexp(log_prob_JxB, axis=1) - jnp.log(float(blocks_BxD.shape[0])))


def labels(blocks: int, D: int, count: int) -> Posteriors:
    """POINTS points from a mixture whose means are the blocks of z: modes that are relabellings of one."""
    rng, K = np.random.default_rng(9000 + blocks), blocks * D
    noise_N = np.array(LABEL_NOISES[:count])
    turns = 2.0 * np.pi * np.arange(blocks) / blocks
    centres = 1.2 * np.stack([np.cos(turns), np.sin(turns)], axis=1)[:, :D]
    centres_NxBxD = centres + 0.2 * rng.normal(size=(count, blocks, D))
    label_J = np.arange(POINTS) % blocks
    noise = noise_N[:, None, None] * rng.normal(size=(count, POINTS, D))
    x = float32(points_JxD=centres_NxBxD[:, label_J] + noise, noise=noise_N)
    facts = [label_exact(single(x, row), blocks) for row in range(count)]
    log_evidence_N, attained_N, mean_NxK, sd_NxK = map(np.array, zip(*facts, strict=True))
    # The relabellings of the heaviest assignment have the same mass.
    clear_N = math.factorial(blocks) * np.exp(attained_N - log_evidence_N)
    blocks_NxBxD, sd_NxBxD = (a.reshape(count, blocks, D) for a in (mean_NxK, sd_NxK))
    order = list(itertools.permutations(range(blocks)))
    swapped = [(blocks_NxBxD[:, list(o)] - blocks_NxBxD) / sd_NxBxD for o in order]
    starts = [moments_start(blocks_NxBxD[:, list(o)].reshape(count, K), sd_NxK) for o in order]
    return Posteriors(
        latent_dim=K,
        density=label_log_likelihood,
        is_likelihood=True,
        x=x,
        encode=(np.float32(mean_NxK), np.float32(sd_NxK)),
        log_evidence_N=log_evidence_N,
        best_diagonal_N=np.full(count, np.nan),
        attained_N=attained_N,
        num_parts_N=np.full(count, math.factorial(blocks)),
        num_modes_N=np.where(clear_N >= CLEAR, math.factorial(blocks), 0),
        apart_N=np.max([np.sqrt(np.sum(s**2, axis=(1, 2))) for s in swapped], axis=0),
        kind_N=np.array([f"{blocks} labels, noise {noise:g}" for noise in noise_N]),
        starts_NxSx2K=np.concatenate(starts, axis=1) if K <= 2 else None,
    )


def label_exact(x: dict[str, np.ndarray], blocks: int) -> tuple[float, float, np.ndarray, np.ndarray]:
    """(log p(x), log of the part of the heaviest assignment, and the posterior mean and sd given it).

    Given which block each point belongs to, every coordinate of a block is Gaussian; log p(x) is the sum over
    all blocks^J assignments, each of them as likely. The posterior given the heaviest is a diagonal Gaussian,
    whose L[q] is at least that part.
    """
    points_JxD, noise = x["points_JxD"], float(x["noise"])
    (J, D), K = points_JxD.shape, blocks * points_JxD.shape[1]
    assigned = np.array(list(itertools.product(range(blocks), repeat=J)))
    member_AxBxJ = (assigned[:, None, :] == np.arange(blocks)[None, :, None]).astype(float)
    precision_AxB = 1.0 + member_AxBxJ.sum(axis=2) / noise**2
    sum_AxBxD = member_AxBxJ @ points_JxD / noise**2
    constant = -0.5 * J * D * np.log(2.0 * np.pi * noise**2) - 0.5 * np.sum(points_JxD**2) / noise**2
    gained_AxB = 0.5 * np.sum(sum_AxBxD**2, axis=2) / precision_AxB - 0.5 * D * np.log(precision_AxB)
    log_mass_A = constant + gained_AxB.sum(axis=1) - J * np.log(blocks)
    total = float(np.logaddexp.reduce(log_mass_A))
    best = int(np.argmax(log_mass_A))
    mean_BxD = sum_AxBxD[best] / precision_AxB[best][:, None]
    sd_BxD = np.repeat(1.0 / np.sqrt(precision_AxB[best])[:, None], D, axis=1)
    return total, float(log_mass_A[best]), mean_BxD.reshape(K), sd_BxD.reshape(K)


def _float64(*arrays: np.ndarray) -> zip:
    return zip(*(array.astype(np.float64) for array in arrays), strict=True)
