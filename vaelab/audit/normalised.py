"""Is p(x given z) normalised? A check by draws from it, whatever the density is made of.

With x_s ~ p(x given z) and g any normalised density, of an f = c p

    E[log f(x) - log g(x)] = log c + KL(p || g)  >=  log c,              whatever the mass of g lies on;
    E[g(x) / f(x)]         = 1 / c               where g has its mass where p has.

The first is a bound of little variance that tells of constants that are too small, the second an estimate
that tells of those that are too large. g is a product over groups of dimensions, fitted to other draws: of
each dimension a table of its atoms beside a smooth density, of dimensions that depend on each other a joint
table or a Gaussian. Only draws of p are looked at: beyond its support a density need not make sense.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from vaelab.audit.dependence import joint
from vaelab.types import Array, Key

DRAWS = 1000  # for the test
FITTED = 2000  # draws that g is fitted to
MISPLACED = 0.01  # of the draws
ROOM = 0.1  # nats, and a dimension: what g may be off by


class LogConstant(NamedTuple):
    """log c, nats, and the number of dimensions of x that vary.

    value, stderr: -log of the mean of g / f, with the error of its draws.
    upper, upper_stderr: log c + KL(p || g), and its error.
    spread: the variance of log g / f, which is about 2 KL(p || g) where g is near.
    dependent: whether dimensions depend on each other in a way that g has not.
    impossible, no_number: draws of p at which f is 0, and at which it is NaN; a few there may be, as where
    rounding takes a draw to the end of its support. Where f is infinite there, the draw is left out.
    """

    value: float
    stderr: float
    dims: int
    upper: float
    upper_stderr: float
    spread: float
    dependent: bool
    impossible: int
    no_number: int

    def looks_wrong(self) -> bool:
        """Whether c is not 1, beyond the errors of the draws and what g is off by."""
        return self.misplaced() or self.too_small() or self.too_large()

    def misplaced(self) -> bool:
        """f is 0, or no number, where p is not: at more draws than rounding takes to the end of a support."""
        return max(self.impossible, self.no_number) > MISPLACED * DRAWS

    def too_small(self) -> bool:
        """c < 1: the bound from above is below it, which no g brings about."""
        return self.upper < -(5.0 * self.upper_stderr + ROOM)

    def too_large(self) -> bool:
        """c > 1, where g has what p has: a group of dimensions that it lacks makes the value too large."""
        return not self.dependent and self.beyond()

    def beyond(self) -> bool:
        """The value is above what g's own distance from p, by its spread, accounts for."""
        return self.value > 5.0 * self.stderr + ROOM + min(ROOM * self.dims, self.spread)


def log_constant(sample: Callable[[Key], Any], log_density: Callable[[Any], Array], key: Key) -> LogConstant:
    """log c of f = exp(log_density), of a pytree x = sample(key), at one z.

    A density of numbers that `sample` rounds may be a mass or one per unit of x: the better of both is taken.
    """
    draws = jax.device_get(jax.jit(jax.vmap(sample))(jax.random.split(key, FITTED + DRAWS)))
    flat_SxD = np.concatenate(
        [np.asarray(a, np.float32).reshape(FITTED + DRAWS, -1) for a in jax.tree.leaves(draws)], axis=1
    )
    tested = jax.tree.map(lambda a: a[FITTED:], draws)
    log_f_S = np.asarray(jax.jit(jax.vmap(log_density))(tested), np.float64)
    impossible, no_number = int(np.sum(log_f_S == -np.inf)), int(np.sum(np.isnan(log_f_S)))
    # A dimension that does not vary, as a covariate, is given and not drawn.
    flat_SxD = flat_SxD[:, np.ptp(flat_SxD, axis=0) > 0.0]
    g = joint(flat_SxD[:FITTED], flat_SxD[FITTED:])
    usual = log_f_S > -np.inf
    usual &= log_f_S < np.inf
    constants = [
        _constant(g.inside_S[usual] - cell, g.wide_S[usual] - cell, log_f_S[usual])
        for cell in ((0.0, g.cell) if g.cell else (0.0,))
    ]
    value, stderr, upper, upper_stderr, spread = min(constants, key=lambda c: max(c[0], -c[2]))
    dims = flat_SxD.shape[1]
    return LogConstant(value, stderr, dims, upper, upper_stderr, spread, g.dependent, impossible, no_number)


def _constant(inside_S: np.ndarray, wide_S: np.ndarray, log_f_S: np.ndarray) -> tuple[float, ...]:
    """(log c, its error, log c + KL(p || g), its error, the variance of log g / f)."""
    from scipy import special

    if not len(log_f_S):
        return 0.0, 0.0, 0.0, 0.0, 0.0
    ratio_S, bound_S = inside_S - log_f_S, log_f_S - wide_S
    log_mean = special.logsumexp(ratio_S) - np.log(len(ratio_S))
    root = np.sqrt(len(ratio_S))
    # Where no draw has g > 0, the value is infinite and its error too: nothing is told.
    weight_S = np.exp(ratio_S - log_mean) if np.isfinite(log_mean) else np.full(len(ratio_S), np.nan)
    stderr = float(np.std(weight_S) / root) if np.isfinite(log_mean) else np.inf
    value = float(-log_mean) if np.isfinite(log_mean) else 0.0
    return value, stderr, float(np.mean(bound_S)), float(np.std(bound_S) / root), float(np.var(bound_S))
