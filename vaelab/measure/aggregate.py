"""The aggregate posterior q(z) = E_x[q(z given x)] against the prior, from the q of N datapoints; nats.

With m any density of z, I(x; z) = E_x KL(q(z given x) || m) - KL(q(z) || m), so that three quantities are
bounded by what stands for log q(z) at draws of each q_n = q(z given x_n):

    I(x; z)                  E log q_n - E log m
    KL(q(z) || p(z))         E log m - E log p
    total correlation        E log m - sum_k E log m_k

(Hoffman & Johnson 2016; Chen et al. 2018; the bounds: Poole et al. 2019.) In expectation over datapoints

    m = 1/N sum_n q_n            is too high: it knows the draw's own q. I is too low, and at most log N
    m = 1/(N - 1) sum_m!=n q_m   is too low, as is any density that does not know the draw: the prior, or a
                                 Gaussian with the moments of the other half of the datapoints

and the highest of the last three is the closest. The first two quantities add up to the mean KL(q_n || p)
(ELBO surgery), a lower bound of the one with the upper bound of the other.
"""

from typing import Any, NamedTuple

import numpy as np

from vaelab.measure.gap import mean_and_stderr
from vaelab.measure.units import has_correlations
from vaelab.model.likelihood import LOG_2PI

NUMBERS_AT_ONCE = 2**18  # of an array over draws, datapoints and dimensions: what a CPU's cache holds


class Members(NamedTuple):
    """Gaussian distributions, N(mean, S S'), of N datapoints."""

    mean_NxK: np.ndarray
    scale_NxKxK: np.ndarray


class Draws(NamedTuple):
    """S draws of the q of each of N datapoints.

    u_NxSxK: those of the Gaussian members; z_NxSxK: those of q, which are the same but for a flow z = T(u)
    with one T for all datapoints
    log_det_NxS: log|det dT/du|, 0 where z is u
    """

    u_NxSxK: np.ndarray
    z_NxSxK: np.ndarray
    log_det_NxS: np.ndarray

    @property
    def is_transformed(self) -> bool:
        return self.z_NxSxK is not self.u_NxSxK


class Densities(NamedTuple):
    """Log densities at the draws of each datapoint, their means over its draws; nats.

    own: of its q; whole, others: of the mean of all q, and of all but its own; gaussian: of the moments of
    the other half of the datapoints; prior: of N(0, I), or of a learned prior in its place. `[N]` each
    whole_NxK, others_NxK: of the marginals of the two means; None where these have no closed form
    """

    own: np.ndarray
    whole: np.ndarray
    others: np.ndarray
    gaussian: np.ndarray
    prior: np.ndarray
    whole_NxK: np.ndarray | None
    others_NxK: np.ndarray | None


def densities(members: Members, draws: Draws) -> Densities:
    """Every density at every draw, in portions: N^2 S K numbers in all, N^2 S K^2 for dense scales."""
    count, num_draws, K = draws.u_NxSxK.shape
    u_BxK, owner_B = draws.u_NxSxK.reshape(-1, K), np.repeat(np.arange(count), num_draws)
    mixture = _Mixture(members)
    size = max(1, NUMBERS_AT_ONCE // (count * K))
    # Correlated members are weighed for many draws by one product of matrices, in whole portions.
    whole = size * max(1, NUMBERS_AT_ONCE // (count * size))
    parts = []
    for start in range(0, len(u_BxK), whole):
        log_BxN = mixture.correlated(u_BxK[start : start + whole])
        for at in range(start, min(start + whole, len(u_BxK)), size):
            part = slice(at, at + size)
            given = None if log_BxN is None else log_BxN[at - start : at - start + size]
            parts.append(mixture.at(u_BxK[part], owner_B[part], given, marginals=not draws.is_transformed))
    own, whole, others, *marginal = (np.concatenate(part) for part in zip(*parts, strict=True))
    log_det_B = draws.log_det_NxS.reshape(-1)

    def averaged(values: np.ndarray) -> np.ndarray:
        return np.mean(values.reshape(count, num_draws, *values.shape[1:]), axis=1)

    z_NxSxK = np.float64(draws.z_NxSxK)
    return Densities(
        averaged(own - log_det_B),
        averaged(whole - log_det_B),
        averaged(others - log_det_B),
        np.mean(gaussian_of_others(z_NxSxK), axis=1),
        np.mean(-0.5 * np.sum(z_NxSxK**2 + LOG_2PI, axis=2), axis=1),
        *([averaged(part) for part in marginal] or [None, None]),
    )


class _Mixture:
    """The mean of Gaussian members, with and without the one that a draw is of."""

    def __init__(self, members: Members):
        scale_NxKxK = np.float64(members.scale_NxKxK)
        count, K, _ = scale_NxKxK.shape
        self._mean_NxK, self._count = np.float64(members.mean_NxK), count
        variance_NxK = np.sum(scale_NxKxK**2, axis=2)
        self._precision_sd_NxK = 1.0 / np.sqrt(variance_NxK)
        self._log_sd_NxK = 0.5 * (np.log(variance_NxK) + LOG_2PI)
        self._quadratic = None
        if has_correlations(scale_NxKxK):
            self._quadratic = _Quadratic(self._mean_NxK, np.linalg.inv(scale_NxKxK))
        self._log_norm_N = np.linalg.slogdet(scale_NxKxK)[1] + 0.5 * K * LOG_2PI

    def correlated(self, u_BxK: np.ndarray) -> np.ndarray | None:
        """log q_n(u) of every member, `[B, N]`; None where no member is correlated."""
        if self._quadratic is None:
            return None
        return -0.5 * self._quadratic.at(u_BxK) - self._log_norm_N[None]

    def at(
        self, u_BxK: np.ndarray, owner_B: np.ndarray, log_BxN: np.ndarray | None, *, marginals: bool
    ) -> list[np.ndarray]:
        """[own_B, whole_B, others_B] and, of the marginals, whole_BxK and others_BxK.

        log_BxN: what `correlated` returns of these draws; overwritten
        """
        log_BxNxK = None
        if marginals or log_BxN is None:
            delta_BxNxK = np.float64(u_BxK)[:, None] - self._mean_NxK[None]
            # float32 is off by 1e-6 where a density is not far below the highest, and takes half the time.
            log_BxNxK = np.float32(delta_BxNxK) * np.float32(self._precision_sd_NxK)
            log_BxNxK *= log_BxNxK
            log_BxNxK *= np.float32(-0.5)
            log_BxNxK -= np.float32(self._log_sd_NxK)
        if log_BxN is None:
            log_BxN = np.sum(log_BxNxK, axis=2, dtype=np.float64)
        own_B = log_BxN[np.arange(len(owner_B)), owner_B]
        results = [own_B, *self._means(log_BxN, owner_B)]
        return results + list(self._means(log_BxNxK, owner_B)) if marginals else results

    def _means(self, log_BxN: np.ndarray, owner_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log of the mean over the members, of all and of all but the owner; overwrites its argument."""
        rows_B = np.arange(len(owner_B))
        own = log_BxN[rows_B, owner_B].copy()
        log_BxN[rows_B, owner_B] = -np.inf
        top = np.max(log_BxN, axis=1)
        log_BxN -= top[:, None]
        sums = top + np.log(np.sum(np.exp(log_BxN, out=log_BxN), axis=1))
        return np.logaddexp(sums, own) - np.log(self._count), sums - np.log(self._count - 1)


MOST_EXPANDED = 64  # dimensions, of whose squares a product of matrices is made
DIGITS_LOST = 1e10  # the largest term of a square: float64 has it to 1e-6


class _Quadratic:
    """|S_n^-1 (u - mu_n)|^2 of many u and N members, float64.

    As one product of matrices, u'L u - 2 u'L mu + mu'L mu with L = (S S')^-1 and u and mu about their common
    mean, where its terms are not so large that their difference loses digits.
    """

    def __init__(self, mean_NxK: np.ndarray, inverse_NxKxK: np.ndarray):
        K = mean_NxK.shape[1]
        self._mean_NxK, self._inverse_NxKxK, self._center_K = mean_NxK, inverse_NxKxK, mean_NxK.mean(axis=0)
        self._row, self._column = np.triu_indices(K)
        self._weight_NxR = None
        if K > MOST_EXPANDED:
            return
        precision_NxKxK = np.matmul(inverse_NxKxK.transpose(0, 2, 1), inverse_NxKxK)
        mean_NxK = mean_NxK - self._center_K
        linear_NxK = np.einsum("nij,nj->ni", precision_NxKxK, mean_NxK)
        twice_R = np.where(self._row == self._column, 1.0, 2.0)
        square_NxR = precision_NxKxK[:, self._row, self._column] * twice_R
        constant_N = np.sum(linear_NxK * mean_NxK, axis=1)
        self._weight_NxR = np.concatenate([square_NxR, -2.0 * linear_NxK, constant_N[:, None]], axis=1)
        self._largest_N = np.max(np.abs(self._weight_NxR), axis=1)

    def at(self, u_BxK: np.ndarray) -> np.ndarray:
        """The squares `[B, N]`."""
        u_BxK = np.float64(u_BxK)
        if self._weight_NxR is None:
            return self._one_by_one(u_BxK, slice(None))
        about_BxK = u_BxK - self._center_K
        squares_BxR = about_BxK[:, self._row] * about_BxK[:, self._column]
        terms_BxR = np.concatenate([squares_BxR, about_BxK, np.ones((len(u_BxK), 1))], axis=1)
        result_BxN = terms_BxR @ self._weight_NxR.T
        lossy_N = self._largest_N * max(1.0, np.max(about_BxK**2)) >= DIGITS_LOST
        if lossy_N.any():
            result_BxN[:, lossy_N] = self._one_by_one(u_BxK, lossy_N)
        return result_BxN

    def _one_by_one(self, u_BxK: np.ndarray, members: np.ndarray | slice) -> np.ndarray:
        """The squares of these members, without an expansion."""
        pairs = zip(self._mean_NxK[members], self._inverse_NxKxK[members], strict=True)
        return np.stack(
            [np.sum(((u_BxK - mean_K) @ inverse_KxK.T) ** 2, axis=1) for mean_K, inverse_KxK in pairs], axis=1
        )


def gaussian_of_others(z_NxSxK: np.ndarray) -> np.ndarray:
    """log N(z; moments of the draws of the other half of the datapoints), `[N, S]`.

    Every other datapoint is of one half. -inf where a half has too few datapoints for a covariance, or draws
    in a plane.
    """
    count, num_draws, K = z_NxSxK.shape
    log_NxS = np.full((count, num_draws), -np.inf)
    for half in (0, 1):
        others_MxK = z_NxSxK[1 - half :: 2].reshape(-1, K)
        if len(others_MxK) // num_draws <= K + 1:
            continue
        mean_K = np.mean(others_MxK, axis=0)
        try:
            lower_KxK = np.linalg.cholesky(np.atleast_2d(np.cov(others_MxK.T)))
        except np.linalg.LinAlgError:
            continue
        white = np.linalg.solve(lower_KxK, (z_NxSxK[half::2] - mean_K).reshape(-1, K).T)
        log_B = -0.5 * np.sum(white**2 + LOG_2PI, axis=0) - np.sum(np.log(np.diag(lower_KxK)))
        log_NxS[half::2] = log_B.reshape(-1, num_draws)
    return log_NxS


def against_prior(
    values: Densities, rate_N: np.ndarray, *, known_prior: bool, of_marginals: bool = True
) -> dict[str, Any]:
    """The bounds of the three quantities, {mean, stderr} each over datapoints, as gap.json has them.

    rate_N: KL(q_n || p), the mean of own - prior with less of the noise of the draws
    known_prior: whether values.prior is that of p(z); without it the KL to the prior is left out.
    of_marginals: whether it is the sum of those of its marginals, as of N(0, I); else dimension_wise_kl is.

    Returns: num_points, log_num_points (what the lower bound of I is at most); mutual_information,
    marginal_kl, total_correlation, dimension_wise_kl: lower and upper of each; unknown_marginal: what stood
    for q(z) in the bounds that must not know the draw. A divergence whose lower bound is below 0 has 0.
    """
    count = len(values.own)
    outside = {"leave-one-out": values.others, "Gaussian": values.gaussian, "prior": values.prior}
    finite = {name: log_N for name, log_N in outside.items() if np.isfinite(log_N).all()}
    best = max(finite, key=lambda name: np.mean(finite[name]))
    low_N, high_N = finite[best], values.whole
    result: dict[str, Any] = {
        "num_points": count,
        "log_num_points": float(np.log(count)),
        "unknown_marginal": best,
        "mutual_information": _between(
            values.own - high_N, rate_N if best == "prior" else values.own - low_N
        ),
    }
    if known_prior:
        result["marginal_kl"] = _between(low_N - values.prior, high_N - values.prior)
    if values.whole_NxK is not None:
        product_high_N, product_low_N = (
            np.sum(part, axis=1) for part in (values.whole_NxK, values.others_NxK)
        )
        result["total_correlation"] = _between(low_N - product_high_N, high_N - product_low_N)
        if known_prior and of_marginals:
            wise = product_low_N - values.prior, product_high_N - values.prior
            result["dimension_wise_kl"] = _between(*wise)
    return result


def _between(lower_N: np.ndarray, upper_N: np.ndarray) -> dict[str, dict[str, float]]:
    lower = mean_and_stderr(lower_N)
    return {
        "lower": lower if lower["mean"] > 0.0 else {"mean": 0.0, "stderr": 0.0},
        "upper": mean_and_stderr(upper_N),
    }
