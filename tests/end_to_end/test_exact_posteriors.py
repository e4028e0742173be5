"""What the benchmark of coverage calls exact, by another route: quadrature where K <= 2, draws elsewhere."""

import itertools
from functools import lru_cache

import jax
import numpy as np
import pytest
from scipy import special, stats

from benchmarks.coverage import cases, summary
from benchmarks.posteriors import GROUPS
from benchmarks.posteriors.record import single, with_best_diagonal
from tests.support import oracles

DRAWS = 20_000
INFLATED = 1.05  # the standard deviations of a proposal, in those of the posterior: its weights are bounded


@lru_cache
def group(name):
    return GROUPS[name]()


@lru_cache
def compiled(name):
    return jax.jit(jax.vmap(group(name).log_joint, (None, 0)))


def log_joint(name, row, z_SxK):
    """log p(x, z) of the density that is audited, in float64."""
    with jax.enable_x64(True):
        return np.asarray(compiled(name)(single(group(name).x, row), np.asarray(z_SxK, np.float64)))


def rows(name):
    return range(len(group(name).log_evidence_N))


def segments(edges, nodes=40):
    """(z_S, weight_S) of Gauss-Legendre in every interval between sorted edges."""
    node_S, weight_S = np.polynomial.legendre.leggauss(nodes)
    edges = np.unique(edges)
    half = 0.5 * np.diff(edges)[:, None]
    return (edges[:-1, None] + half * (node_S + 1.0)).ravel(), (half * weight_S).ravel()


def around(points, widths, low, high):
    """Edges at 0, 2, 4, 8, 16 and 40 widths from every point, and at the ends."""
    far = np.array([-40.0, -16.0, -8.0, -4.0, -2.0, 0.0, 2.0, 4.0, 8.0, 16.0, 40.0])
    edges = (np.ravel(points)[:, None] + np.ravel(widths)[:, None] * far).ravel()
    return np.r_[low, edges[(edges > low) & (edges < high)], high]


def tensor(name, row, axes):
    """log of the integral over the product of (z_S, weight_S) along each axis."""
    z_SxK = np.stack(np.meshgrid(*[z for z, _ in axes], indexing="ij"), axis=-1).reshape(-1, len(axes))
    weight_S = np.prod(np.meshgrid(*[w for _, w in axes], indexing="ij"), axis=0).ravel()
    return special.logsumexp(log_joint(name, row, z_SxK), b=weight_S)


def by_mixture(name, row):
    """Where a grid over all components resolves the narrowest; None elsewhere."""
    x = single(group(name).x, row)
    sds = np.stack([np.sqrt(np.diag(np.linalg.inv(R.T @ R))) for R in x["root_CxKxK"]])
    if sds.shape[1] == 1:
        low, high = x["mean_CxK"].min() - 40 * sds.max(), x["mean_CxK"].max() + 40 * sds.max()
        return tensor(name, row, [segments(around(x["mean_CxK"], sds, low, high))])
    low, high = (x["mean_CxK"] - 9 * sds).min(axis=0), (x["mean_CxK"] + 9 * sds).max(axis=0)
    # Conditional standard deviations: what the trapezium rule must resolve along an axis.
    thin = min(1.0 / np.linalg.norm(R, axis=0).max() for R in x["root_CxKxK"])
    counts = np.ceil((high - low) / (0.7 * thin)).astype(int)
    if np.prod(counts) > 300_000:
        return None
    axes = [np.linspace(a, b, n, retstep=True) for a, b, n in zip(low, high, counts, strict=True)]
    return tensor(name, row, [(z, np.full(z.size, step)) for z, step in axes])


def by_curve(name, row):
    x = single(group(name).x, row)
    u_S, of_u = segments(x["a"] * np.linspace(-9.0, 9.0, 37))
    t_S, of_t = segments(np.linspace(-9.0, 9.0, 7))
    curve = x["bend"] * u_S**2 + x["sway"] * np.sin(x["frequency"] * u_S)
    g = x["width"] * np.exp(x["slope"] * x["cap"] * np.tanh(u_S / x["cap"]))
    z_SxK = np.stack([np.repeat(u_S, t_S.size), (curve[:, None] + g[:, None] * t_S).ravel()], axis=1)
    weight_S = (of_u[:, None] * g[:, None] * of_t).ravel()
    return special.logsumexp(log_joint(name, row, z_SxK), b=weight_S)


def by_sign(name, row):
    x = single(group(name).x, row)
    root_K = np.sqrt(x["value_K"])
    edges = [around([-r, r], [0.5 * x["noise"] / r] * 2, -8.0, 8.0) for r in root_K]
    return tensor(name, row, [segments(e, 20) for e in edges])


def by_label(name, row):
    z, step = np.linspace(-5.0, 5.0, 501, retstep=True)
    return tensor(name, row, [(z, np.full(z.size, step))] * 2)


def by_shell(name, row):
    x = single(group(name).x, row)
    radius = np.sqrt(x["value"])
    r_S, of_r = segments(around([radius], [0.5 * x["noise"] / radius], 0.0, 2.0 * radius))
    angle_T = 2.0 * np.pi * np.arange(7) / 7
    circle_Tx2 = np.stack([np.cos(angle_T), np.sin(angle_T)], axis=1)
    z_SxK = (r_S[:, None, None] * circle_Tx2).reshape(-1, 2)
    weight_S = np.repeat(r_S * of_r * 2.0 * np.pi / 7, 7)
    return special.logsumexp(log_joint(name, row, z_SxK), b=weight_S)


def by_student(name, row):
    """In polar coordinates of the whitened z, r = tan(angle)^2: the tails are integrated to infinity."""
    x = single(group(name).x, row)
    t_S, of_t = segments(np.linspace(0.0, 0.5 * np.pi, 41), 20)
    r_S, of_r = np.tan(t_S) ** 2, of_t * 2.0 * np.tan(t_S) / np.cos(t_S) ** 2
    angle_T = 2.0 * np.pi * np.arange(8) / 8
    white_SxK = (r_S[:, None, None] * np.stack([np.cos(angle_T), np.sin(angle_T)], axis=1)).reshape(-1, 2)
    z_SxK = x["mean_K"] + np.linalg.solve(x["root_KxK"], white_SxK.T).T
    weight_S = np.repeat(r_S * of_r * 2.0 * np.pi / 8, 8) / np.linalg.det(x["root_KxK"])
    return special.logsumexp(log_joint(name, row, z_SxK), b=weight_S)


def by_log_gamma(name, row):
    x = single(group(name).x, row)
    u_S, of_u = segments(np.r_[np.linspace(-40.0 / x["shape"], -4.0, 12), np.linspace(-3.0, 6.0, 10)], 20)
    axes = [(m + s * u_S, s * of_u) for m, s in zip(x["mean_K"], x["scale_K"], strict=True)]
    return tensor(name, row, axes)


QUADRATURE = {
    "mixture-k1": by_mixture,
    "mixture-k2": by_mixture,
    "mixture-k2-no-encoder": by_mixture,
    "scale-k2": by_mixture,
    "far-start-k2": by_mixture,
    "curve-k2": by_curve,
    "sign-k1": by_sign,
    "sign-k2": by_sign,
    "sign-k2-no-encoder": by_sign,
    "label-2-blocks": by_label,
    "shell-k2": by_shell,
    "student-k2": by_student,
    "skewed-k2": by_log_gamma,
}


@pytest.mark.parametrize("name", QUADRATURE)
def test_log_evidence_is_that_of_quadrature(name):
    values = [QUADRATURE[name](name, row) for row in rows(name)]
    known = [
        (value, group(name).log_evidence_N[row]) for row, value in enumerate(values) if value is not None
    ]
    assert len(known) >= 4
    value_N, exact_N = np.array(known).T
    np.testing.assert_allclose(value_N, exact_N, rtol=0.0, atol=1e-6)


def mixture_draws(x, rng):
    """Draws of the mixture with all covariances inflated, and their log density by SciPy."""
    present = x["weight_C"] > 0
    share = x["weight_C"][present] / x["weight_C"].sum()
    parts = [
        stats.multivariate_normal(m, INFLATED**2 * np.linalg.inv(R.T @ R), allow_singular=True)
        for m, R in zip(x["mean_CxK"][present], x["root_CxKxK"][present], strict=True)
    ]
    counts = rng.multinomial(DRAWS, share)
    drawn = [np.atleast_2d(p.rvs(n, rng)) for p, n in zip(parts, counts, strict=True) if n]
    z_SxK = np.concatenate(drawn)
    log_prob = [np.log(s) + part.logpdf(z_SxK) for s, part in zip(share, parts, strict=True)]
    return z_SxK, special.logsumexp(log_prob, axis=0)


def curve_draws(x, rng, K):
    u_S = INFLATED * x["a"] * rng.normal(size=DRAWS)
    g_S = x["width"] * np.exp(x["slope"] * x["cap"] * np.tanh(u_S / x["cap"]))
    mean_SxK = np.zeros((DRAWS, K - 1))
    mean_SxK[:, 0] = x["bend"] * u_S**2 + x["sway"] * np.sin(x["frequency"] * u_S)
    rest = mean_SxK + INFLATED * g_S[:, None] * rng.normal(size=(DRAWS, K - 1))
    log_prob = stats.norm.logpdf(u_S, 0.0, INFLATED * x["a"])
    log_prob += stats.norm.logpdf(rest, mean_SxK, INFLATED * g_S[:, None]).sum(axis=1)
    return np.column_stack([u_S, rest]), log_prob


def sign_draws(x, rng, K):
    """Draws from a mixture in each dimension: at both roots, and between them, where noise joins the two."""
    root_K = np.sqrt(x["value_K"])
    sd_K = 1.2 * 0.5 * x["noise"] / root_K
    share = {-1: 0.475, 0: 0.05, 1: 0.475}
    sign_SxK = rng.choice(list(share), p=list(share.values()), size=(DRAWS, K))
    scale_SxK = np.where(sign_SxK == 0, 0.5 * root_K, sd_K)
    z_SxK = sign_SxK * root_K + scale_SxK * rng.normal(size=(DRAWS, K))
    parts = [
        np.log(weight) + stats.norm.logpdf(z_SxK, sign * root_K, sd_K if sign else 0.5 * root_K)
        for sign, weight in share.items()
    ]
    return z_SxK, special.logsumexp(parts, axis=0).sum(axis=1)


def shell_draws(x, rng, K):
    radius = np.sqrt(x["value"])
    proposal = stats.norm(radius, 1.2 * 0.5 * x["noise"] / radius)
    r_S, way_SxK = proposal.rvs(DRAWS, rng), rng.normal(size=(DRAWS, K))
    way_SxK /= np.linalg.norm(way_SxK, axis=1, keepdims=True)
    log_area = np.log(2.0) + 0.5 * K * np.log(np.pi) - special.gammaln(0.5 * K)
    return r_S[:, None] * way_SxK, proposal.logpdf(r_S) - log_area - (K - 1) * np.log(r_S)


def student_draws(x, rng, K):
    shape = INFLATED**2 * np.linalg.inv(x["root_KxK"].T @ x["root_KxK"])
    proposal = stats.multivariate_t(x["mean_K"], shape, df=0.9 * float(x["nu"]))
    z_SxK = proposal.rvs(DRAWS, rng)
    return z_SxK, proposal.logpdf(z_SxK)


def log_gamma_draws(x, rng, K):
    proposal = stats.loggamma(0.95 * float(x["shape"]), loc=x["mean_K"], scale=x["scale_K"])
    z_SxK = proposal.rvs((DRAWS, K), rng)
    return z_SxK, proposal.logpdf(z_SxK).sum(axis=1)


BY_DRAWS = {
    "mixture-k10": lambda x, rng, K: mixture_draws(x, rng),
    "mixture-k10-no-encoder": lambda x, rng, K: mixture_draws(x, rng),
    "mixture-k50": lambda x, rng, K: mixture_draws(x, rng),
    "scale-k10": lambda x, rng, K: mixture_draws(x, rng),
    "far-start-k10": lambda x, rng, K: mixture_draws(x, rng),
    "curve-k10": curve_draws,
    "sign-k3": sign_draws,
    "sign-k10": sign_draws,
    "shell-k10": shell_draws,
    "student-k10": student_draws,
    "skewed-k10": log_gamma_draws,
}


@pytest.mark.parametrize("name", BY_DRAWS)
def test_log_evidence_is_that_of_importance_sampling(name):
    """From a wider distribution of the same shape, its draws and density by SciPy: 5 standard errors."""
    rng = np.random.default_rng(0)
    for row in rows(name):
        x, exact = single(group(name).x, row), group(name).log_evidence_N[row]
        z_SxK, log_prob_S = BY_DRAWS[name](x, rng, group(name).latent_dim)
        ratio_S = np.exp(log_joint(name, row, z_SxK) - log_prob_S - exact)
        stderr = np.std(ratio_S) / np.sqrt(DRAWS)
        assert stderr < 0.03
        assert abs(np.mean(ratio_S) - 1.0) <= 5.0 * stderr + 1e-6, group(name).kind_N[row]


def test_every_group_is_checked_by_another_route():
    assert {*QUADRATURE, *BY_DRAWS, "label-3-blocks"} == set(GROUPS)
    assert sum(len(group(name).log_evidence_N) for name in GROUPS) >= 200


@pytest.mark.parametrize(("name", "blocks"), [("label-2-blocks", 2), ("label-3-blocks", 3)])
def test_relabelled_points_are_a_sum_of_dense_gaussians(name, blocks):
    """Points of one block are N(0, noise^2 I + 1 1') in every coordinate."""
    for row in rows(name):
        x = single(group(name).x, row)
        points_JxD, noise = x["points_JxD"], float(x["noise"])
        J = len(points_JxD)
        terms = []
        for assigned in itertools.product(range(blocks), repeat=J):
            same_JxJ = np.equal.outer(assigned, assigned).astype(float)
            covariance = noise**2 * np.eye(J) + same_JxJ
            terms.append(sum(oracles.log_normal(p, np.zeros(J), covariance) for p in points_JxD.T))
        exact = special.logsumexp(terms) - J * np.log(blocks)
        np.testing.assert_allclose(group(name).log_evidence_N[row], exact, rtol=0.0, atol=1e-8)


def test_a_shell_of_two_dimensions_has_a_closed_form():
    """|z|^2 is exponential of mean 2: p(x) = 1/2 exp(-x / 2 + s^2 / 8) Phi(x / s - s / 2)."""
    value, noise = (group("shell-k2").x[name].astype(np.float64) for name in ("value", "noise"))
    exact = np.log(0.5) - 0.5 * value + noise**2 / 8.0 + stats.norm.logcdf(value / noise - 0.5 * noise)
    np.testing.assert_allclose(group("shell-k2").log_evidence_N, exact, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("name", ["mixture-k1", "mixture-k2", "skewed-k2", "sign-k1"])
def test_closed_forms_of_the_best_diagonal_bound_are_the_optima_of_quadrature(name):
    known = group(name)
    kept = np.flatnonzero(np.isfinite(known.best_diagonal_N))[:6]
    starts = known.starts_NxSx2K
    if starts is None:
        mu, sigma = (np.asarray(a, np.float64) for a in known.encode)
        starts = np.concatenate([mu, np.log(sigma)], axis=1)[:, None]
    unknown = known.first(int(kept[-1]) + 1)
    blank = np.where(np.isin(np.arange(kept[-1] + 1), kept), np.nan, 0.0)
    filled = with_best_diagonal(
        unknown._replace(best_diagonal_N=blank, starts_NxSx2K=starts[: kept[-1] + 1])
    ).best_diagonal_N
    np.testing.assert_allclose(filled[kept], known.best_diagonal_N[kept], rtol=0.0, atol=1e-5)


def test_no_gaussian_of_a_grid_beats_the_best_bound():
    """Overlapping components in one dimension: L[N(m, s^2)] by Gauss-Hermite on a grid of (m, log s)."""
    name = "mixture-k1"
    overlapping = np.flatnonzero(np.isnan(group(name).best_diagonal_N))[:4]
    filled = with_best_diagonal(group(name).first(int(overlapping[-1]) + 1))
    node_S, weight_S = np.polynomial.hermite_e.hermegauss(60)
    weight_S = weight_S / weight_S.sum()
    for row in overlapping:
        means, log_sds = group(name).starts_NxSx2K[row].T
        mean_A = np.linspace(means.min() - 1.0, means.max() + 1.0, 300)
        sd_B = np.exp(np.linspace(log_sds.min() - 1.0, log_sds.max() + 1.0, 60))
        z_AxBxS = mean_A[:, None, None] + sd_B[:, None] * node_S
        joint_AxBxS = log_joint(name, row, z_AxBxS.reshape(-1, 1)).reshape(z_AxBxS.shape)
        bound_AxB = joint_AxBxS @ weight_S + np.log(sd_B) + 0.5 * np.log(2.0 * np.pi * np.e)
        best = filled.best_diagonal_N[row]
        assert -0.1 < bound_AxB.max() - best < 1e-3  # the grid's spacing below, the rule's error above
        assert best <= filled.log_evidence_N[row] + 1e-9


def test_a_case_is_judged_by_what_the_audit_says_of_it():
    """Right, wrong by 0.2 nats and unflagged, wrong and flagged, not a number."""
    four = group("sign-k1").first(4)
    off_N = np.array([0.001, 0.2, 0.2, np.nan])
    per_datapoint = {
        "log_evidence": four.log_evidence_N + off_N,
        "log_evidence_stderr": np.array([0.001, 0.05, 0.05, 0.01]),
        "pareto_k": np.array([0.1, 0.1, 0.9, 0.1]),
        "diagonal/elbo_optimal": four.best_diagonal_N + np.array([0.0, -0.3, 0.0, 0.2]),
        "diagonal/elbo_optimal_stderr": np.full(4, 0.001),
        "diagonal/ended": np.zeros(4, int),
        "full/ended": np.zeros(4, int),
    }
    given = {f"given/{key}": value for key, value in per_datapoint.items()}
    every = cases("sign-k1", four, given, ["a note about the model"])
    assert [case["flags"] for case in every] == [[], [], ["Pareto k"], []]
    counted = summary(every)
    assert (counted["flagged"], counted["misses"], counted["optimum_misses"]) == (1, 2, 2)
    assert counted["covered"] == pytest.approx(1 / 3)
    aimed = [case["aimed_at"] for case in every]
    assert counted["misses_aimed_at"] == aimed[1] + aimed[3]
    noted = cases("sign-k1", four, given, ["a second mode at 1 of 4 datapoints"])
    assert all("note" in case["flags"] for case in noted)
    told = given | {"given/num_modes": np.array([1, 2, 2, 2]), "given/modes_missed": np.array([0, 0, 1, 0])}
    with_modes = cases("sign-k1", four, told, ["a second mode at 1 of 4 datapoints"])
    assert [case["flags"] for case in with_modes] == [[], [], ["Pareto k", "modes missed"], []]
    assert summary(with_modes)["called_one_mode"] == 1
