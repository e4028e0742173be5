"""Why the fit of a datapoint ended: `ended`."""

import numpy as np

from vaelab.measure.fit import LocalFit

CONVERGED, ROUNDS_SPENT, NOT_FINITE, LEFT_SUPPORT = ENDS = (
    "converged",
    "rounds spent",
    "not finite",
    "left the support",
)


def ended(fit: LocalFit) -> np.ndarray:
    """One of ENDS for each datapoint, as strings in the shape of `fit.rounds`.

    converged: the excess plus two standard errors is within the tolerance, and phi, the bound and the excess
        are finite.
    rounds spent: all of them are finite, and the excess is not within the tolerance.
    left the support: phi is finite and L[q*] is -inf: the density is 0 somewhere in the reach of q*, as for
        every q of the family where z is confined and q is not.
    not finite: everything else, as a phi or a bound that is NaN.
    """
    bound = fit.elbo_optimal
    finite_phi = np.isfinite(fit.inference.phi_P).all(axis=-1)
    numbers = (bound.value, bound.stderr, fit.inference.excess.value, fit.inference.excess.stderr)
    finite = finite_phi & np.logical_and.reduce([np.isfinite(number) for number in numbers])
    return np.select(
        [finite & fit.inference.converged, finite, finite_phi & (bound.value == -np.inf)],
        [CONVERGED, ROUNDS_SPENT, LEFT_SUPPORT],
        NOT_FINITE,
    )


def codes(ends_N: np.ndarray) -> np.ndarray:
    """The place in ENDS of each, as whole numbers: what `per_datapoint` holds, which is numbers alone."""
    return np.select([ends_N == end for end in ENDS], range(len(ENDS)), -1)


def counts(ends_N: np.ndarray) -> dict[str, int]:
    """How many datapoints ended in each way, in the order of ENDS."""
    return {end: int(np.sum(ends_N == end)) for end in ENDS}
