"""What is expected of an estimate on the model of the page, in NumPy and without the package."""

import functools

import numpy as np

from benchmarks.packages.model import Array, log_mean_exp, log_normal, log_weights, posterior_samples, shared
from benchmarks.packages.record import Exact


def importance_bound(exact: Exact, samples: int, repeats: int = 4000) -> tuple[float, float]:
    """E[log 1/S sum_s p(x, z_s) / q(z_s)] - log p(x), mean over the datapoints, and its standard error."""
    value, error = _bound(samples, repeats, joint=False)
    return value - exact.log_evidence, error


def joint_importance_bound(exact: Exact, samples: int, repeats: int = 20_000) -> tuple[float, float]:
    """The same of all datapoints as one: E[log 1/S sum_s prod_n p(x_n, z_ns) / q(z_ns)] / N - log p(x)."""
    value, error = _bound(samples, repeats, joint=True)
    return value - exact.log_evidence, error


@functools.cache
def _bound(samples: int, repeats: int, *, joint: bool) -> tuple[float, float]:
    model = shared()
    log_w = log_weights(model, model.x_NxD, samples * repeats, np.random.default_rng(0))
    log_w = log_w.reshape(len(log_w), repeats, samples)
    value_R = log_mean_exp(log_w.sum(0), 1) / len(log_w) if joint else log_mean_exp(log_w, 2).mean(0)
    return float(value_R.mean()), float(value_R.std(ddof=1) / np.sqrt(repeats))


def annealed_bound(
    exact: Exact, steps: int, step_size: float, damping: float, repeats: int = 4000
) -> tuple[float, float]:
    """E[log w] - log p(x) of annealing from q(z given x) to p(x, z) without rejection, and its error.

    A step is half a drift, a kick by the gradient of (1 - b) log q + b log p at b = k / steps, and half a
    drift; the momentum v ~ N(0, I) is then mixed with fresh noise, and w has the ratio of its densities after
    and before each kick (Geffner & Domke 2021; Zhang, Hsu, Li, Finn & Grosse 2021).
    """
    rng, model = np.random.default_rng(2), exact.model
    mu, log_var = (part[:, None] for part in model.encode(model.x_NxD))
    z = mu + np.exp(0.5 * log_var) * rng.standard_normal((len(model.x_NxD), repeats, mu.shape[-1]))
    log_w = -log_normal(z, mu, log_var)
    v = rng.standard_normal(z.shape)
    for power in np.arange(1, steps + 1) / steps:
        half = z + 0.5 * step_size * v
        slope = power * _slope(model.x_NxD[:, None], half) - (1.0 - power) * (half - mu) / np.exp(log_var)
        kicked = v + step_size * slope
        z = half + 0.5 * step_size * kicked
        log_w += log_normal(kicked) - log_normal(v)
        v = damping * kicked + np.sqrt(1.0 - damping**2) * rng.standard_normal(z.shape)
    log_w += model.log_likelihood(model.x_NxD[:, None], z) + log_normal(z)
    value_R = log_w.mean(0)
    return float(value_R.mean()) - exact.log_evidence, float(value_R.std(ddof=1) / np.sqrt(repeats))


def _slope(x: Array, z: Array) -> Array:
    """The gradient of log p(x, z) in z, [..., K]."""
    model = shared()
    hidden = np.tanh(z @ model.w1_HxK.T + model.b1_H)
    residual = x - 1.0 / (1.0 + np.exp(-model.logits(z)))
    return ((residual @ model.w2_DxH) * (1.0 - hidden**2)) @ model.w1_HxK - z


def smoothed_harmonic_mean(exact: Exact, samples: int, repeats: int = 10) -> tuple[float, float]:
    """Leave-one-out by Pareto-smoothed weights 1 / p(x given z) at samples of the posterior, less log p(x).

    The 3 sqrt(S) largest weights are replaced by the quantiles of a generalised Pareto distribution fitted to
    them, and cut at the largest (Vehtari, Simpson, Gelman, Yao & Gabry 2024, section 3).
    """
    rng, model = np.random.default_rng(1), exact.model
    value_R = []
    for _ in range(repeats):
        z_NxSxK = posterior_samples(model, model.x_NxD, samples, rng)
        log_p_NxS = model.log_likelihood(model.x_NxD[:, None], z_NxSxK)
        value_R.append(np.mean([_left_out(log_p_S) for log_p_S in log_p_NxS]) - exact.log_evidence)
    return float(np.mean(value_R)), float(np.std(value_R, ddof=1) / np.sqrt(repeats))


def _left_out(log_p_S: np.ndarray) -> float:
    order = np.argsort(-log_p_S)
    log_p_S = log_p_S[order]
    log_w_S = -log_p_S + log_p_S.min()
    size = int(np.ceil(min(0.2 * len(log_w_S), 3.0 * np.sqrt(len(log_w_S)))))
    cut = np.exp(log_w_S[-size - 1])
    k, scale = _pareto(np.exp(log_w_S[-size:]) - cut)
    part = (np.arange(size) + 0.5) / size
    log_w_S[-size:] = np.minimum(np.log(cut + scale * np.expm1(-k * np.log1p(-part)) / k), 0.0)
    top = np.max(log_w_S + log_p_S)
    return top + np.log(np.sum(np.exp(log_w_S + log_p_S - top)) / np.sum(np.exp(log_w_S)))


def _pareto(tail_M: np.ndarray) -> tuple[float, float]:
    """(k, scale) of a generalised Pareto distribution by Zhang & Stephens 2009, k with ten values of 1/2."""
    size = len(tail_M)
    grid = 30 + int(np.sqrt(size))
    b_J = 1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    b_J = b_J / (3.0 * tail_M[int(size / 4 + 0.5) - 1]) + 1.0 / tail_M[-1]
    k_J = np.mean(np.log1p(-b_J[:, None] * tail_M), 1)
    log_J = size * (np.log(-b_J / k_J) - k_J - 1.0)
    weight_J = np.exp(log_J - log_J.max())
    b = np.sum(b_J * weight_J) / weight_J.sum()
    k = np.mean(np.log1p(-b * tail_M))
    scale = -k / b
    return float((k * size + 5.0) / (size + 10.0)), float(scale)
