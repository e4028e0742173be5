"""Is p(x given z) normalised? A check by draws from it, whatever the density is made of.

With x_s ~ p(x given z) and g any normalised density whose mass lies where p's does,

    E[g(x) / p(x given z)] = 1,                so that of an unnormalised f = c p    E[g(x) / f(x)] = 1 / c.

g is a product over dimensions, each fitted to other draws: it is close to p where p is such a product. Where
p has bounded support g must have none beyond it, or the mean is too small: where the draws are not
Gaussian a histogram between themselves is taken.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from vaelab.types import Array, Key

MAX_VALUES = 300  # a dimension of more different values is a continuous one
DRAWS = 1000  # for the fit, and again for the test
BINS = 25
CLEARLY = 0.05  # nats a dimension: more than a histogram gains on its own draws where they are Gaussian


class LogConstant(NamedTuple):
    """log c with the standard error of its draws, nats, and the number of dimensions of x."""

    value: float
    stderr: float
    dims: int

    def looks_wrong(self) -> bool:
        """Beyond its error and beyond what g, no better than its fit, makes of it; or no number at all."""
        return not abs(self.value) <= 5.0 * self.stderr + 0.1 * self.dims + 0.1


def log_constant(sample: Callable[[Key], Any], log_density: Callable[[Any], Array], key: Key) -> LogConstant:
    """log c of f = exp(log_density), of a pytree x = sample(key), at one z.

    Where the dimensions of x are not independent given z, g is far from p, and log c comes out too large.
    """
    from scipy import special

    draws = jax.jit(jax.vmap(sample))(jax.random.split(key, 2 * DRAWS))
    flat_SxD = np.concatenate(
        [np.asarray(a, np.float64).reshape(2 * DRAWS, -1) for a in jax.tree.leaves(draws)], axis=1
    )
    log_g_SxD = np.stack([_log_g(column[:DRAWS], column[DRAWS:]) for column in flat_SxD.T], axis=1)
    tested = jax.tree.map(lambda a: a[DRAWS:], draws)
    log_f_S = np.asarray(jax.jit(jax.vmap(log_density))(tested), np.float64)
    with np.errstate(invalid="ignore"):  # where f is 0 at a draw the constant is no number
        ratio_S = np.sum(log_g_SxD, axis=1) - log_f_S
        log_mean = special.logsumexp(ratio_S) - np.log(DRAWS)
        weight_S = np.exp(ratio_S - log_mean)
    return LogConstant(-log_mean, float(np.std(weight_S) / np.sqrt(DRAWS)), flat_SxD.shape[1])


def _log_g(fit_S: np.ndarray, test_S: np.ndarray) -> np.ndarray:
    """log g of one dimension at the second draws, fitted to the first: a table, a Gaussian or a histogram."""
    values = np.unique(np.concatenate([fit_S, test_S]))
    if len(values) <= MAX_VALUES and len(values) < 0.9 * len(fit_S):
        # Half a count more for each: a value that only the second draws have is not impossible.
        counts = 0.5 + np.bincount(np.searchsorted(values, fit_S), minlength=len(values))
        return np.log(counts / np.sum(counts))[np.searchsorted(values, test_S)]
    lead = np.mean(_log_histogram(fit_S, fit_S)) - np.mean(_log_gaussian(fit_S, fit_S))
    return (_log_histogram if lead > CLEARLY else _log_gaussian)(fit_S, test_S)


def _log_gaussian(fit_S: np.ndarray, x_S: np.ndarray) -> np.ndarray:
    mean, deviation = np.mean(fit_S), np.std(fit_S, ddof=1)
    return -0.5 * (((x_S - mean) / deviation) ** 2 + np.log(2.0 * np.pi)) - np.log(deviation)


def _log_histogram(fit_S: np.ndarray, x_S: np.ndarray) -> np.ndarray:
    """Between quantiles of the first draws, each bin with the same share; -inf beyond them."""
    edges = np.unique(np.quantile(fit_S, np.linspace(0.0, 1.0, BINS + 1)))
    share = np.histogram(fit_S, edges)[0] / len(fit_S)
    place_S = np.clip(np.searchsorted(edges, x_S, side="right") - 1, 0, len(share) - 1)
    inside_S = (x_S >= edges[0]) & (x_S <= edges[-1])
    return np.where(inside_S, np.log(share / np.diff(edges))[place_S], -np.inf)
