"""Normalised densities g of one dimension, fitted to draws: a table, a smooth density, or both.

A value that keeps coming back is an atom; what no value does is a smooth part. Draws that lie on a lattice
(counts, rounded numbers) of more values than a table has room for get the mass of a smooth density in the
cell of each.
"""

from typing import NamedTuple

import numpy as np

MAX_VALUES = 300  # a table of more has too few draws for each
ATOM = 4  # draws of one value: by chance float32 numbers are equal in pairs, four once in 30,000 dimensions
PLAIN = 0.05  # share of the draws of an atom where float32 makes others equal too
FEW = 12  # draws that a smooth part is not fitted to
SPAN = 1e5  # cells of a lattice, at most this, and this to a value: more would fit any numbers
CELLS_A_VALUE = 1000
BINS = 25
TAILS = 0.5 ** np.arange(3, 10)  # the outer bins are halves of halves: a heavy tail spans decades
RIM = 2e-3  # share of the Cauchy distribution that stands in for draws beyond a histogram, in `wide`


class Marginal(NamedTuple):
    """log g of one dimension at the tested draws.

    inside_S: of a g that has no mass where no draw was seen, -inf beyond the draws it was fitted to.
    wide_S: of a g that is above 0 at each of them, whether p has mass all around or not.
    discrete: whether g is a table.
    cell: log of the lattice's spacing where there is one and more than a few values, else 0: what a density
        in the place of a mass differs by.
    """

    inside_S: np.ndarray
    wide_S: np.ndarray
    discrete: bool
    cell: float


def marginal(fit_S: np.ndarray, test_S: np.ndarray, known: np.ndarray) -> Marginal:
    """g of one dimension at the second draws, fitted to the first ones; atoms are those of both together.

    known: atoms of other dimensions, which a value that comes once here may be too.
    """
    values, count = np.unique(np.concatenate([fit_S, test_S]), return_counts=True)
    ends = np.isin(np.arange(len(values)), (0, len(values) - 1))
    atom = (count >= ATOM) | (count > 1) & ends | np.isin(values, known)
    spacing = lattice(values)
    if _at_resolution(values):
        atom = count > PLAIN * np.sum(count)
    others = count[~atom]
    # Counts and the like: what is no atom comes twice and three times, or lies where the lattice has it.
    rare = not len(others) or np.sum(others[others > 1]) > 0.05 * np.sum(others)
    rare &= not _at_resolution(values)
    if (rare or spacing) and len(values) <= MAX_VALUES and atom.any():
        log_g_S = log_table(fit_S, test_S)
        few = len(values) < 20 or not spacing
        return Marginal(log_g_S, log_g_S, True, 0.0 if few else float(np.log(spacing)))
    if spacing:
        return _on_a_lattice(fit_S, test_S, spacing)
    if rare and atom.any():
        log_g_S = log_table(fit_S, test_S)
        return Marginal(log_g_S, log_g_S, True, 0.0)
    return _mixed(fit_S, test_S, values[atom])


def _mixed(fit_S: np.ndarray, test_S: np.ndarray, atoms: np.ndarray) -> Marginal:
    """A table over the atoms beside a smooth density: hurdles, zero or lognormal, clipped numbers."""
    loose_S, tested_S = ~np.isin(fit_S, atoms), ~np.isin(test_S, atoms)
    share = (np.sum(loose_S) + 0.5) / (len(fit_S) + 0.5 * (1 + len(atoms)))
    inside_S, wide_S = np.full(len(test_S), -np.inf), np.full(len(test_S), -np.inf)
    if len(atoms):
        table_S = log_table(fit_S[~loose_S], test_S[~tested_S], atoms)
        inside_S[~tested_S] = wide_S[~tested_S] = table_S + np.log1p(-share)
    if tested_S.any():
        if np.sum(loose_S) >= FEW:
            smooth, wide = log_smooth(fit_S[loose_S], test_S[tested_S])
            inside_S[tested_S] = np.log(share) + smooth
        else:
            both = np.concatenate([fit_S[loose_S], test_S[tested_S]])
            wide = _log_cauchy(both, test_S[tested_S])
        wide_S[tested_S] = np.log(share) + wide
    if np.sum(loose_S) < FEW and len(atoms):
        inside_S = inside_S - np.log1p(-share)  # this g is the table alone
    return Marginal(inside_S, wide_S, False, 0.0)


def _on_a_lattice(fit_S: np.ndarray, test_S: np.ndarray, spacing: float) -> Marginal:
    """The mass of a histogram in the cell of each value; for its fit the draws are spread over theirs."""
    spread_S = fit_S + spacing * np.random.default_rng(0).uniform(-0.5, 0.5, len(fit_S))
    edges, share = histogram(spread_S)
    mass = np.concatenate([[0.0], np.cumsum(share)])
    cell_S = np.interp(test_S + 0.5 * spacing, edges, mass) - np.interp(test_S - 0.5 * spacing, edges, mass)
    with np.errstate(divide="ignore"):
        inside_S = np.log(np.maximum(cell_S, 0.0))
    wide_S = _with_rim(inside_S, _log_cauchy(fit_S, test_S) + np.log(spacing))
    return Marginal(inside_S, wide_S, False, float(np.log(spacing)))


def log_table(fit_S: np.ndarray, test_S: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
    """log of the shares of values, each half a count more: what only the second draws have is possible."""
    if values is None:
        values = np.unique(np.concatenate([fit_S, test_S]))
    counts = 0.5 + np.bincount(np.searchsorted(values, fit_S), minlength=len(values))
    return np.log(counts / np.sum(counts))[np.searchsorted(values, test_S)]


def _at_resolution(values: np.ndarray) -> bool:
    """Whether neighbours differ by about what float32 resolves, and numbers are equal for no other reason."""
    if len(values) < FEW:
        return False
    size = np.maximum(np.abs(values[1:]), np.abs(values[:-1]))
    return bool(np.median(np.diff(values) / size) < 16.0 * np.finfo(np.float32).eps)


def lattice(values: np.ndarray) -> float:
    """The spacing of the lattice that sorted values lie on, 0 where there is none."""
    if len(values) < 2 or not np.isfinite(values).all():
        return 0.0
    spacing = _common(np.diff(values), float(np.max(np.abs(values))))
    cells = (values[-1] - values[0]) / spacing if spacing else np.inf
    return spacing if cells <= min(SPAN, CELLS_A_VALUE * len(values)) else 0.0


def _common(steps: np.ndarray, size: float) -> float:
    """The greatest number that all steps are multiples of, up to the rounding of float32; 0 if there is none.

    Euclid's algorithm on all of them at once.
    """
    rounding = np.finfo(np.float32).eps * size  # of a difference of two
    spacing = float(steps.min())
    while spacing > 8.0 * rounding:
        times = np.round(steps / spacing)
        # The least step is off by a rounding, which many times it multiplies.
        fitted = float(np.sum(steps * times) / np.sum(times**2))
        if np.abs(steps - times * fitted).max() <= 2.0 * rounding:
            return fitted
        rest = np.abs(steps - times * spacing)
        rest = rest[rest > rounding * (1.0 + times)]
        if not len(rest):
            return 0.0
        spacing = float(rest.min())
    return 0.0


def log_smooth(fit_S: np.ndarray, test_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(log g, log of a wide g) of the smooth density that explains the first draws best.

    A Gaussian, a Gaussian of the logarithm, or a histogram, by their likelihoods less one for each number
    that was fitted (Akaike 1974).
    """
    sign = 1.0 if np.min(fit_S) > 0.0 else -1.0
    fits = {"gaussian": (_log_gaussian, 2), "histogram": (_log_histogram, len(histogram(fit_S)[1]))}
    if np.min(sign * fit_S) > 0.0:
        fits["lognormal"] = (_log_lognormal, 2)
    score = {name: np.mean(log_g(fit_S, fit_S)) - size / len(fit_S) for name, (log_g, size) in fits.items()}
    log_g_S = fits[max(score, key=score.__getitem__)][0](fit_S, test_S)
    return log_g_S, _with_rim(log_g_S, _log_cauchy(fit_S, test_S))


def _with_rim(log_g_S: np.ndarray, log_rim_S: np.ndarray) -> np.ndarray:
    return np.logaddexp(np.log1p(-RIM) + log_g_S, np.log(RIM) + log_rim_S)


def _log_gaussian(fit_S: np.ndarray, x_S: np.ndarray) -> np.ndarray:
    mean, deviation = np.mean(fit_S), np.std(fit_S, ddof=1)
    return -0.5 * (((x_S - mean) / deviation) ** 2 + np.log(2.0 * np.pi)) - np.log(deviation)


def _log_cauchy(fit_S: np.ndarray, x_S: np.ndarray) -> np.ndarray:
    """By the quartiles of the draws: above 0 everywhere, and not by much less where a tail is heavy."""
    low, middle, high = np.quantile(fit_S, (0.25, 0.5, 0.75))
    scale = 0.5 * (high - low) or np.std(fit_S) or abs(middle) or 1.0
    return -np.log(np.pi * scale * (1.0 + ((x_S - middle) / scale) ** 2))


def _log_lognormal(fit_S: np.ndarray, x_S: np.ndarray) -> np.ndarray:
    """The Gaussian of log |x|, as a density of x, where x has the sign of the draws; -inf at the other."""
    same_S = x_S * fit_S[0] > 0.0
    log_S = np.log(np.abs(np.where(same_S, x_S, 1.0)))
    return np.where(same_S, _log_gaussian(np.log(np.abs(fit_S)), log_S) - log_S, -np.inf)


def histogram(fit_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(edges, share of the draws between them): bins of equal shares, at both ends of ever smaller ones."""
    within = np.arange(1, BINS) / BINS
    outer = TAILS[(within[0] > TAILS) & (TAILS * len(fit_S) >= 2.0)]
    edges = np.unique(np.quantile(fit_S, np.sort(np.concatenate([[0.0], outer, within, 1.0 - outer, [1.0]]))))
    return edges, np.histogram(fit_S, edges)[0] / len(fit_S)


def _log_histogram(fit_S: np.ndarray, x_S: np.ndarray) -> np.ndarray:
    edges, share = histogram(fit_S)
    place_S = np.clip(np.searchsorted(edges, x_S, side="right") - 1, 0, len(share) - 1)
    inside_S = (x_S >= edges[0]) & (x_S <= edges[-1])
    with np.errstate(divide="ignore"):
        return np.where(inside_S, np.log(share / np.diff(edges))[place_S], -np.inf)
