"""Exact answers in float64 NumPy, from the mathematics alone: nothing here uses vaelab."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

EPS = float(np.finfo(np.float32).eps)
LOG_2PI = float(np.log(2.0 * np.pi))
FIVE = 5.0  # standard errors


def assert_mean(draws_SxM: np.ndarray, truth_M: np.ndarray, *, rounding: float = 0.0) -> None:
    """The mean over the first axis is `truth` within 5 of its standard errors, and `rounding`."""
    draws_SxM = np.asarray(draws_SxM, np.float64)
    stderr_M = np.std(draws_SxM, axis=0, ddof=1) / np.sqrt(draws_SxM.shape[0])
    error_M = np.abs(np.mean(draws_SxM, axis=0) - truth_M)
    assert np.all(error_M <= FIVE * stderr_M + rounding), (error_M, stderr_M)


def assert_calibrated(values_N: np.ndarray, truth: np.ndarray, stderr_N: np.ndarray) -> None:
    """The z-scores have mean square 1 within 5 of its standard errors, sqrt(2 / N)."""
    mean_square = np.mean(((np.asarray(values_N, np.float64) - truth) / stderr_N) ** 2)
    assert abs(mean_square - 1.0) <= FIVE * np.sqrt(2.0 / np.size(values_N)), mean_square


def random_scale(rng: np.random.Generator, K: int, condition: float) -> np.ndarray:
    """U diag(s) V' with singular values 0.7 condition^-1/2 to 0.7 condition^1/2; det of either sign."""
    left, right = (np.linalg.qr(rng.normal(size=(K, K)))[0] for _ in range(2))
    left[:, 0] *= rng.choice([-1.0, 1.0])
    return 0.7 * (left * np.geomspace(condition**-0.5, condition**0.5, K)) @ right.T


def random_phi(name: str, rng: np.random.Generator, K: int, condition: float) -> np.ndarray:
    """A member of the family with mean ~ N(0, I) and a scale of that condition number."""
    log_sigma = np.log(0.7) + rng.permutation(np.linspace(-0.5, 0.5, K) * np.log(condition))
    if name == "diagonal":
        scale = log_sigma
    elif name == "full":
        scale = random_scale(rng, K, condition).reshape(-1)
    elif name == "cholesky":
        root = random_scale(rng, K, condition)
        lower = np.linalg.cholesky(root @ root.T)
        under = [lower[i + 1, j] for i, j in triangle_order(K - 1)]
        scale = np.concatenate([np.log(np.diag(lower)), under])
    elif name == "low_rank":
        # D of the root of the condition number; a V of about unit length for the rest.
        scale = np.concatenate([0.5 * log_sigma, rng.normal(size=K * RANK) * np.sqrt(condition / K)])
    elif name == "householder":
        scale = np.concatenate([log_sigma, rng.normal(size=K * REFLECTIONS)])
    else:
        raise ValueError(name)
    return np.concatenate([rng.normal(size=K), scale]).astype(np.float32)


RANK, REFLECTIONS = 2, 3


def triangle_order(m: int) -> list[tuple[int, int]]:
    """Where each of the m(m+1)/2 numbers of a filled triangle stands, by following the fill on paper.

    The flat m x m array holds x_m, x_m+1, ..., x_last, then all of x backwards; the lower triangle is kept.
    """
    size = m * (m + 1) // 2
    flat = [*range(m, size), *reversed(range(size))]
    place = {flat[i * m + j]: (i, j) for i in range(m) for j in range(i + 1)}
    return [place[number] for number in range(size)]


def mean_and_scale(name: str, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean, scale) of the member phi: q = N(mean, scale scale')."""
    phi = np.asarray(phi, np.float64)
    P = phi.size
    K = {
        "diagonal": lambda: P // 2,
        "full": lambda: int((np.sqrt(1 + 4 * P) - 1) / 2),
        "cholesky": lambda: int((np.sqrt(9 + 8 * P) - 3) / 2),
        "low_rank": lambda: P // (2 + RANK),
        "householder": lambda: P // (2 + REFLECTIONS),
    }[name]()
    mean, rest = phi[:K], phi[K:]
    if name == "full":
        return mean, rest.reshape(K, K)
    scale = np.diag(np.exp(rest[:K]))
    if name == "cholesky":
        for number, (i, j) in enumerate(triangle_order(K - 1)):
            scale[i + 1, j] = rest[K + number]
    elif name == "low_rank":
        factor = scale @ rest[K:].reshape(K, RANK)
        # Some square root of D^2 + U U'; the family's own is compared with it by the covariance.
        scale = np.linalg.cholesky(scale**2 + factor @ factor.T)
    elif name == "householder":
        rotation = np.eye(K)
        for v in rest[K:].reshape(REFLECTIONS, K):
            rotation = rotation @ (np.eye(K) - 2.0 * np.outer(v, v) / (v @ v))
        scale = rotation @ scale
    return mean, scale


def log_abs_det(matrix: np.ndarray) -> float:
    return float(np.sum(np.log(np.linalg.svd(matrix, compute_uv=False))))


def gaussian_kl(
    mean: np.ndarray, covariance: np.ndarray, other_mean: np.ndarray, other_covariance: np.ndarray
) -> float:
    delta = other_mean - mean
    trace = np.trace(np.linalg.solve(other_covariance, covariance))
    square = delta @ np.linalg.solve(other_covariance, delta)
    return 0.5 * (trace + square - delta.size + log_abs_det(other_covariance) - log_abs_det(covariance))


def kl_to_prior(mean: np.ndarray, scale: np.ndarray) -> float:
    """KL(N(mean, scale scale') || N(0, I)) from the singular values of the scale."""
    s = np.linalg.svd(scale, compute_uv=False)
    return float(np.sum(0.5 * (s - 1.0) * (s + 1.0) - np.log(s)) + 0.5 * mean @ mean)


def log_normal(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    residual = x - mean
    square = residual @ np.linalg.solve(covariance, residual)
    return -0.5 * (x.size * LOG_2PI + log_abs_det(covariance) + square)


def gradient(function: Callable[[np.ndarray], float], point: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences; their error is about step^2 = 1e-10."""
    point = np.asarray(point, np.float64)
    steps = step * np.eye(point.size)
    return np.array([(function(point + d) - function(point - d)) / (2.0 * step) for d in steps])


def standard_normal_grid(K: int, size: int = 81) -> tuple[np.ndarray, np.ndarray]:
    """(z_SxK, weight_S) of the trapezium rule for E[f(z)], z ~ N(0, I); its error is far below 1e-9."""
    axis = np.linspace(-8.0, 8.0, size)
    z_SxK = np.stack(np.meshgrid(*[axis] * K, indexing="ij"), axis=-1).reshape(-1, K)
    weight_S = np.exp(-0.5 * np.sum(z_SxK**2, axis=1))
    return z_SxK.astype(np.float32), weight_S / np.sum(weight_S)


def fisher_information(name: str, phi: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """Hessian of KL(q_phi || q_other) at other = phi, by central differences; their error is about step^2."""
    phi = np.asarray(phi, np.float64)
    mean, scale = mean_and_scale(name, phi)

    def kl(other: np.ndarray) -> float:
        other_mean, other_scale = mean_and_scale(name, phi + other)
        return gaussian_kl(mean, scale @ scale.T, other_mean, other_scale @ other_scale.T)

    steps = step * np.eye(phi.size)
    hessian = np.array([[kl(a + b) - kl(a - b) - kl(b - a) + kl(-a - b) for a in steps] for b in steps])
    return hessian / (4.0 * step**2)


class LinearGaussian(NamedTuple):
    """x given z ~ N(W z + b, diag(variance)), z ~ N(0, I), by dense algebra of x and z together."""

    weight: np.ndarray
    bias: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, theta) -> "LinearGaussian":
        weight, bias, log_variance = (np.asarray(leaf, np.float64) for leaf in theta)
        return cls(weight, bias, np.exp(log_variance))

    @classmethod
    def random(cls, rng: np.random.Generator, D: int, singular_values, noise: float) -> "LinearGaussian":
        """W = U diag(singular_values) V' with U, V random, b ~ N(0, I); of float32 numbers."""
        K = len(singular_values)
        left, right = np.linalg.qr(rng.normal(size=(D, K)))[0], np.linalg.qr(rng.normal(size=(K, K)))[0]
        weight = (left * np.asarray(singular_values)) @ right.T
        leaves = weight, rng.normal(size=D), np.full(D, 2.0 * np.log(noise))
        return cls.of(leaf.astype(np.float32) for leaf in leaves)

    @property
    def theta(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(W, b, log variance) in float32."""
        return tuple(np.float32(leaf) for leaf in (self.weight, self.bias, np.log(self.variance)))

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """x_NxD from the model, in float32."""
        z = rng.normal(size=(count, self.weight.shape[1]))
        noise = np.sqrt(self.variance) * rng.normal(size=(count, self.bias.size))
        return np.float32(z @ self.weight.T + self.bias + noise)

    @property
    def evidence_covariance(self) -> np.ndarray:
        return self.weight @ self.weight.T + np.diag(self.variance)

    def log_evidence(self, x: np.ndarray) -> float:
        return log_normal(np.asarray(x, np.float64), self.bias, self.evidence_covariance)

    def posterior(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(mean, covariance) of z given x, by conditioning the joint Gaussian."""
        gain = np.linalg.solve(self.evidence_covariance, self.weight).T
        covariance = np.eye(self.weight.shape[1]) - gain @ self.weight
        return gain @ (x - self.bias), 0.5 * (covariance + covariance.T)

    def elbo(self, x: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> float:
        """E_q[log p(x given z)] - KL(q || prior)."""
        residual = x - self.bias - self.weight @ mean
        spread = np.sum((self.weight @ scale) ** 2, axis=1)
        log_likelihood = -0.5 * np.sum(
            LOG_2PI + np.log(self.variance) + (residual**2 + spread) / self.variance
        )
        return log_likelihood - kl_to_prior(mean, scale)

    def precision(self) -> np.ndarray:
        return np.linalg.inv(self.posterior(self.bias)[1])

    def mean_field_gap(self) -> float:
        """1/2 (sum_i log Lam_ii - log|Lam|)."""
        precision = self.precision()
        return 0.5 * float(np.sum(np.log(np.diag(precision))) - log_abs_det(precision))

    def optimum(self, name: str, x: np.ndarray) -> np.ndarray:
        """phi of the family's best q: the posterior, or its mean with variances 1 / Lam_ii."""
        mean, covariance = self.posterior(x)
        if name == "diagonal":
            return np.concatenate([mean, -0.5 * np.log(np.diag(np.linalg.inv(covariance)))])
        return np.concatenate([mean, np.linalg.cholesky(covariance).reshape(-1)])


class LinearHierarchy(NamedTuple):
    """z of linear-Gaussian levels, and x: one Gaussian distribution, by moving noise from the top down."""

    mean: np.ndarray
    covariance: np.ndarray
    latent_dim: int

    @classmethod
    def of(cls, theta, sizes: tuple[int, ...]) -> "LinearHierarchy":
        """From the top down: each part is affine in the one before, plus independent noise."""
        likelihood = LinearGaussian.of(theta["likelihood"])
        mean, root = [np.zeros(sizes[-1])], [np.eye(sizes[-1])]  # of each part, in the noise so far
        for number in range(len(sizes) - 1, 0, -1):
            level = theta["prior"][f"level_{number}"]
            weight, bias, log_scale = (
                np.asarray(level[name], np.float64) for name in ("weight_JxK", "bias_K", "log_scale_K")
            )
            _append(mean, root, weight.T, bias, np.exp(log_scale))
        _append(mean, root, likelihood.weight, likelihood.bias, np.sqrt(likelihood.variance))
        width = root[-1].shape[1]
        padded = [np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in root]
        *levels, x = range(len(padded))
        order = [*reversed(levels), x]
        whole = np.concatenate([padded[i] for i in order])
        return cls(np.concatenate([mean[i] for i in order]), whole @ whole.T, sum(sizes))

    def log_evidence(self, x: np.ndarray) -> float:
        K = self.latent_dim
        return log_normal(np.asarray(x, np.float64), self.mean[K:], self.covariance[K:, K:])

    def posterior(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(mean, covariance) of z given x, by conditioning."""
        K = self.latent_dim
        gain = np.linalg.solve(self.covariance[K:, K:], self.covariance[K:, :K]).T
        covariance = self.covariance[:K, :K] - gain @ self.covariance[K:, :K]
        return self.mean[:K] + gain @ (x - self.mean[K:]), 0.5 * (covariance + covariance.T)


def _append(mean: list, root: list, weight: np.ndarray, bias: np.ndarray, sd: np.ndarray) -> None:
    """Puts weight times the last part, plus bias and independent noise, after it."""
    mean.append(weight @ mean[-1] + bias)
    root.append(np.concatenate([weight @ root[-1], np.diag(sd)], axis=1))
