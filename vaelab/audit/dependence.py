"""A normalised density g of several dimensions, fitted to draws; those that depend on each other together."""

from typing import NamedTuple

import numpy as np

from vaelab.audit.marginals import ATOM, MAX_VALUES, log_table, marginal

LINK = 5.0  # standard errors of a rank correlation of independent dimensions
STRONG = 8.0  # a group of such a one that no joint density explains better is not independent
MOST = 1000  # dimensions of which pairs are looked at; of more each stands by itself
CHANCE = 3e4  # numbers of which a few are equal by chance: of 2^23 that a uniform draw may be
THIN = 0.5  # an eigenvalue of the correlations below this part of what independent draws have


class Fitted(NamedTuple):
    """log g at the tested draws; the fields of `Marginal`, and whether p has dependences that g has not."""

    inside_S: np.ndarray
    wide_S: np.ndarray
    cell: float
    dependent: bool


def joint(fit_SxD: np.ndarray, test_SxD: np.ndarray) -> Fitted:
    """g of all dimensions at the second draws, fitted to the first ones.

    A table of whole x where few values come back; otherwise a product over groups of dimensions whose ranks
    are correlated, each a joint table or a Gaussian where that explains the second draws better than the
    product of its dimensions.
    """
    S, D = fit_SxD.shape
    if D == 0:
        return Fitted(np.zeros(len(test_SxD)), np.zeros(len(test_SxD)), 0.0, False)
    whole = _table(fit_SxD, test_SxD)
    if whole is not None and D > 1:
        return Fitted(whole, whole, 0.0, False)
    known = _atoms(np.concatenate([fit_SxD, test_SxD]))
    parts = [
        marginal(np.float64(fit_S), np.float64(test_S), known)
        for fit_S, test_S in zip(fit_SxD.T, test_SxD.T, strict=True)
    ]
    inside_SxD = np.stack([part.inside_S for part in parts], axis=1)
    wide_SxD = np.stack([part.wide_S for part in parts], axis=1)
    cell, dependent, alone_D = sum(part.cell for part in parts), False, np.ones(D, bool)
    if 1 < D <= MOST:
        correlation_DxD = _rank_correlation(np.concatenate([fit_SxD, test_SxD]))
        error = 1.0 / np.sqrt(S + len(test_SxD))
        for group in _groups(np.abs(correlation_DxD) > LINK * error):
            discrete = [parts[d].discrete for d in group]
            log_g_S = (_table if all(discrete) else _gaussian)(fit_SxD[:, group], test_SxD[:, group])
            if any(discrete) and not all(discrete):
                log_g_S = None
            product_S = wide_SxD[:, group].sum(axis=1)
            if log_g_S is not None and np.mean(log_g_S) > np.mean(product_S):
                inside_SxD[:, group], wide_SxD[:, group] = 0.0, 0.0
                inside_SxD[:, group[0]] = wide_SxD[:, group[0]] = log_g_S
                alone_D[group] = False
            else:
                between = correlation_DxD[np.ix_(group, group)] - np.eye(len(group))
                dependent |= bool(np.abs(between).max() > STRONG * error)
        dependent |= _constrained(correlation_DxD[np.ix_(alone_D, alone_D)], S + len(test_SxD))
    return Fitted(inside_SxD.sum(axis=1), wide_SxD.sum(axis=1), cell, dependent)


def _atoms(x_SxD: np.ndarray) -> np.ndarray:
    """The values that come back more often than float32 makes numbers equal, in all dimensions together."""
    values, count = np.unique(x_SxD, return_counts=True)
    return values[count >= max(ATOM, x_SxD.size / CHANCE)]


def _table(fit_SxD: np.ndarray, test_SxD: np.ndarray) -> np.ndarray | None:
    """log of the shares of joint values; None where there are many, or most are seen once."""
    _, which, count = np.unique(
        np.concatenate([fit_SxD, test_SxD]), axis=0, return_inverse=True, return_counts=True
    )
    if len(count) > MAX_VALUES or np.sum(count == 1) > 0.02 * len(which):
        return None
    which = np.float64(which.reshape(-1))
    return log_table(which[: len(fit_SxD)], which[len(fit_SxD) :], np.arange(len(count)))


def _gaussian(fit_SxD: np.ndarray, test_SxD: np.ndarray) -> np.ndarray | None:
    """log of the Gaussian of the first draws' mean and covariance; None where that is singular."""
    fit_SxD, test_SxD = np.float64(fit_SxD), np.float64(test_SxD)
    mean_D, deviation_D = fit_SxD.mean(axis=0), fit_SxD.std(axis=0)
    if not np.isfinite(deviation_D).all() or not (deviation_D > 0.0).all():
        return None
    unit_SxD, unit_test_SxD = (fit_SxD - mean_D) / deviation_D, (test_SxD - mean_D) / deviation_D
    values, vectors = np.linalg.eigh(unit_SxD.T @ unit_SxD / (len(fit_SxD) - 1))
    if values[0] <= 1e-6 * values[-1]:
        return None
    squares_S = np.sum((unit_test_SxD @ vectors) ** 2 / values, axis=1)
    size = len(values) * np.log(2.0 * np.pi) + np.sum(np.log(values)) + 2.0 * np.sum(np.log(deviation_D))
    return -0.5 * (squares_S + size)


def _rank_correlation(x_SxD: np.ndarray) -> np.ndarray:
    """Spearman's, of which no heavy tail makes one by chance; equal values have the mean of their ranks."""
    from scipy import stats

    rank_SxD = stats.rankdata(x_SxD, axis=0)
    unit_SxD = (rank_SxD - rank_SxD.mean(axis=0)) / rank_SxD.std(axis=0)
    return unit_SxD.T @ unit_SxD / len(x_SxD)


def _groups(linked_DxD: np.ndarray) -> list[np.ndarray]:
    """The connected components of more than one dimension."""
    from scipy.sparse import csgraph, csr_matrix

    count, label_D = csgraph.connected_components(csr_matrix(linked_DxD), directed=False)
    return [d for d in (np.flatnonzero(label_D == label) for label in range(count)) if len(d) > 1]


def _constrained(correlation_DxD: np.ndarray, num_draws: int) -> bool:
    """Whether a sum of dimensions varies far less than independent ones do: one of n, or counts of a total.

    The eigenvalues of the correlations of S independent draws lie above (1 - sqrt(D / S))^2 (Marchenko &
    Pastur 1967).
    """
    ratio = len(correlation_DxD) / num_draws
    if len(correlation_DxD) < 2 or ratio > 0.5:
        return False
    return bool(np.linalg.eigvalsh(correlation_DxD)[0] < THIN * (1.0 - np.sqrt(ratio)) ** 2)
