"""What is expected of an estimate on the model of the page, in NumPy and without the package."""

import functools

import numpy as np

from benchmarks.packages.model import log_mean_exp, log_weights
from benchmarks.packages.record import Exact


@functools.cache
def _log_weights(samples: int) -> np.ndarray:
    from benchmarks.packages.model import shared

    model = shared()
    return log_weights(model, model.x_NxD, samples, np.random.default_rng(0))


def importance_bound(exact: Exact, samples: int, repeats: int = 4000) -> tuple[float, float]:
    """E[log 1/S sum_s p(x, z_s) / q(z_s)] - log p(x), mean over the datapoints, and its standard error."""
    log_w = _log_weights(samples * repeats).reshape(len(exact.model.x_NxD), repeats, samples)
    value_R = log_mean_exp(log_w, 2).mean(0) - exact.log_evidence
    return float(value_R.mean()), float(value_R.std(ddof=1) / np.sqrt(repeats))


def joint_importance_bound(exact: Exact, samples: int, repeats: int = 20_000) -> tuple[float, float]:
    """The same of all datapoints as one: E[log 1/S sum_s prod_n p(x_n, z_ns) / q(z_ns)] / N - log p(x)."""
    log_w = _log_weights(samples * repeats).sum(0).reshape(repeats, samples)
    value_R = log_mean_exp(log_w, 1) / len(exact.model.x_NxD) - exact.log_evidence
    return float(value_R.mean()), float(value_R.std(ddof=1) / np.sqrt(repeats))
