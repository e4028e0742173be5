"""Gaps against closed forms, from the inner loop and from importance sampling."""

import functools
from functools import partial

import jax
import numpy as np
import optax
import pytest

from tests.support import oracles
from tests.support.oracles import EPS, LinearGaussian
from vaelab import evidence, posterior
from vaelab import model as models
from vaelab.inference.solver import natural_gradient, quasi_newton, stochastic_gradient
from vaelab.measure import fit as local_fit
from vaelab.measure import gap
from vaelab.measure.evidence import estimate_log_evidence
from vaelab.objective.draws import estimate_elbo
from vaelab.objective.elbo import elbo_from_draws, stick_the_landing

K, D, N = 3, 6, 24
FAMILIES = {"diagonal": posterior.diagonal(K), "full": posterior.full(K)}
MODEL = models.linear_gaussian(K, (3.0, 1.0, 0.3), 1.0, D)
EXACT = LinearGaussian.random(np.random.default_rng(0), D, (3.0, 1.0, 0.3), 1.0)
THETA = models.LinearGaussianParams(*EXACT.theta)
X_NxD = EXACT.sample(np.random.default_rng(1), N)
INDEX_N = np.arange(100, 100 + N, dtype=np.int32)
KEY = jax.random.key(3)
ACCURACY = 0.005  # nats, of a mean gap


def natural(family, num_steps):
    rate = optax.scale_by_learning_rate(optax.cosine_decay_schedule(0.2, num_steps))
    return optax.chain(natural_gradient(family, max_norm=5.0), rate)


def settings(
    num_steps=200,
    optimizer=None,
    elbo_samples=4000,
    objective=stick_the_landing,
    num_samples=10,
    max_rounds=1,
):

    def solver(family):
        """That of experiments/defaults.py unless told otherwise."""
        if optimizer is None and family.name == "diagonal":
            rate = optax.cosine_decay_schedule(0.5, num_steps)
            return quasi_newton(family, rate, num_samples=num_samples, max_norm=5.0)
        return stochastic_gradient(
            family,
            partial(objective, num_samples=num_samples, antithetic=num_samples > 1),
            optimizer or natural(family, num_steps),
            num_samples=num_samples,
        )

    return local_fit.InferenceSettings(
        solver=solver,
        num_steps=num_steps,
        max_rounds=max_rounds,
        certificate_groups=32,
        elbo_samples=elbo_samples,
        elbo_chunk_size=min(elbo_samples, 1000),
    )


@functools.cache
def encoder_outputs(name):
    """phi for each datapoint, off the optimum as an encoder's would be."""
    rng = np.random.default_rng(2)
    phis = []
    for x_D in X_NxD:
        phi = EXACT.optimum(name, x_D)
        phi[:K] += 0.3 * rng.normal(size=K)
        if name == "diagonal":
            phi[K:] += 0.2 * rng.normal(size=K)
        else:
            phi[K:] = (oracles.mean_and_scale(name, phi)[1] @ oracles.random_scale(rng, K, 2.0)).reshape(-1)
        phis.append(phi)
    return np.float32(phis)


def exact_elbo(name, phi_NxP):
    return np.array(
        [EXACT.elbo(x_D, *oracles.mean_and_scale(name, phi)) for x_D, phi in zip(X_NxD, phi_NxP, strict=True)]
    )


def exact_optimum(name):
    return exact_elbo(name, [EXACT.optimum(name, x_D) for x_D in X_NxD])


LOG_EVIDENCE_N = np.array([EXACT.log_evidence(x_D) for x_D in X_NxD])
ROUNDING = 100 * EPS * np.abs(LOG_EVIDENCE_N).max()  # of float32 sums of D squares and K x K products


def fit(name, chosen, *, rows=slice(None), starts=("encoder",), chunk_size=16, progress=lambda count: None):
    return local_fit.fit_locally(
        MODEL,
        FAMILIES[name],
        chosen,
        THETA,
        (X_NxD[rows], INDEX_N[rows]),
        encoder_outputs(name)[rows],
        jax.random.key(3),
        starts=starts,
        chunk_size=chunk_size,
        progress=progress,
    )


def weigh(names, phis, *, rows=slice(None), chunk_size=16):
    families = tuple(FAMILIES[name] for name in names)
    return estimate_log_evidence(
        MODEL,
        evidence.by_importance(families, num_samples=2000, chunk_size=500),
        THETA,
        (X_NxD[rows], INDEX_N[rows]),
        tuple(phi_NxP[rows] for phi_NxP in phis),
        jax.random.key(4),
        chunk_size=chunk_size,
    )


@functools.cache
def fitted(name, starts=("encoder",)):
    return fit(name, settings(), starts=starts)


@functools.cache
def weighed():
    """From the optima of both families: the diagonal one alone would give weights of infinite variance."""
    return weigh(tuple(FAMILIES), [fitted(name).inference.phi_P for name in FAMILIES])


def measured(name, starts=("encoder",)):
    bounds = fitted(name, starts)
    return gap.Gap(bounds.elbo_start.value, bounds.elbo_optimal.value, weighed().log_evidence)


@functools.cache
def unmoved(name):
    """The outcome of a loop that moves nothing."""
    return fit(name, settings(num_steps=1, optimizer=optax.sgd(0.0), elbo_samples=20))


@pytest.fixture(params=FAMILIES)
def name(request):
    return request.param


@pytest.mark.parametrize("starts", [("encoder",), ("prior",)], ids=["from the encoder", "from the prior"])
def test_gaps_equal_their_closed_forms(name, starts):
    bounds, found = fitted(name, starts), measured(name, starts)
    exact = gap.Gap(exact_elbo(name, encoder_outputs(name)), exact_optimum(name), LOG_EVIDENCE_N)
    # q* is scored exactly first: what is lost there is the inner loop's, and nobody's noise.
    lost_N = exact_optimum(name) - exact_elbo(name, bounds.inference.phi_P)
    assert np.all(lost_N >= -1e-9)
    assert lost_N.max() <= ACCURACY
    assert np.all(bounds.inference.converged)
    for quantity in (*gap.Gap._fields, "amortization", "approximation", "inference"):
        error_N = np.float64(getattr(found, quantity)) - getattr(exact, quantity)
        oracles.assert_mean(error_N, 0.0, rounding=np.mean(lost_N) + ROUNDING)
        assert abs(np.mean(error_N)) <= ACCURACY
    np.testing.assert_array_equal(bounds.phi_start, encoder_outputs(name))
    assert np.mean(exact.amortization) > 0.2
    assert np.mean(exact.approximation) > 0.2 or name == "full"


def test_every_estimate_is_within_five_of_its_own_standard_errors(name):
    bounds, evidence = fitted(name), weighed()
    exact_start_N = exact_elbo(name, encoder_outputs(name))
    exact_best_N = exact_elbo(name, bounds.inference.phi_P)
    for value_N, stderr_N, exact_N in [
        (*bounds.elbo_start, exact_start_N),
        (*bounds.elbo_optimal, exact_best_N),
        (*bounds.gain, exact_best_N - exact_start_N),
        (evidence.log_evidence, evidence.stderr, LOG_EVIDENCE_N),
    ]:
        assert np.all(np.abs(value_N - exact_N) <= 5.0 * stderr_N + ROUNDING)
        assert np.all(stderr_N < 0.2)


def test_exact_gap_equals_float64_algebra(name):
    found = gap.exact_gap(MODEL, FAMILIES[name], THETA, X_NxD, encoder_outputs(name))
    np.testing.assert_allclose(found.elbo_amortized, exact_elbo(name, encoder_outputs(name)), atol=ROUNDING)
    np.testing.assert_allclose(found.elbo_optimal, exact_optimum(name), atol=ROUNDING)
    np.testing.assert_allclose(found.log_evidence, LOG_EVIDENCE_N, atol=ROUNDING)
    approximation = EXACT.mean_field_gap() if name == "diagonal" else 0.0
    np.testing.assert_allclose(found.approximation, approximation, atol=ROUNDING)


@pytest.mark.parametrize("starts", [("encoder",), ("prior",)], ids=["encoder", "prior"])
@pytest.mark.parametrize(
    "rich", [posterior.cholesky(K), posterior.low_rank(K, rank=K - 1)], ids=lambda f: f.name
)
@pytest.mark.slow
def test_families_that_hold_every_gaussian_close_the_gap_on_a_correlated_posterior(rich, starts):
    """The distribution that the loop ends at, scored by float64 algebra: within 0.003 nats of log p(x)."""
    start_P = np.array(rich.init())
    start_P[:K] += 0.5
    found = local_fit.fit_locally(
        MODEL,
        rich,
        settings(400, elbo_samples=4, num_samples=20),
        THETA,
        (X_NxD, INDEX_N),
        np.tile(start_P, (N, 1)),
        jax.random.key(3),
        starts=starts,
        chunk_size=N,
    )
    mean_NxK, scale_NxKxK = jax.vmap(rich.gaussian.location_scale)(found.inference.phi_P)
    elbo_N = [
        EXACT.elbo(x_D, *law)
        for x_D, *law in zip(X_NxD, np.float64(mean_NxK), np.float64(scale_NxKxK), strict=True)
    ]
    excess_N = LOG_EVIDENCE_N - elbo_N
    assert np.mean(excess_N) < 0.003
    assert EXACT.mean_field_gap() > 0.1  # what the diagonal family cannot close
    assert found.inference.converged.all()


def test_a_family_without_a_natural_gradient_is_certified_by_what_another_round_gains():
    flow = posterior.real_nvp(K, num_layers=2, hidden=8)
    solver = optax.adam(optax.cosine_decay_schedule(2e-2, 300))
    found = local_fit.fit_locally(
        MODEL,
        flow,
        settings(300, solver, elbo_samples=400, objective=elbo_from_draws, max_rounds=4),
        THETA,
        (X_NxD, INDEX_N),
        np.tile(np.asarray(flow.init()), (N, 1)),
        jax.random.key(3),
        chunk_size=N,
    )
    converged = found.inference.converged
    assert converged.sum() > N // 2
    assert np.all(found.rounds[~converged] == 4)
    assert np.abs(found.inference.excess.value[converged]).max() < 0.05
    assert np.mean(found.elbo_optimal.value - found.elbo_start.value) > 0.5
    # One flow for all datapoints would end below the best diagonal q of each.
    assert np.mean(found.elbo_optimal.value) > exact_optimum("diagonal").mean()
    assert np.std(found.inference.phi_P[:, 2 * K :], axis=0).max() > 0.1
    assert np.mean(found.elbo_optimal.value) <= LOG_EVIDENCE_N.mean()


def test_a_proposal_that_is_not_finite_spoils_nothing():
    diagonal, full = (fitted(name).inference.phi_P for name in FAMILIES)
    broken = diagonal.copy()
    broken[0] = np.nan
    found = weigh(tuple(FAMILIES), (broken, full))
    assert np.isfinite(found.log_evidence).all()
    assert np.all(np.abs(found.log_evidence - LOG_EVIDENCE_N) <= 5.0 * found.stderr + ROUNDING)


def test_orders_hold_where_they_must():
    diagonal, full = (measured(name) for name in FAMILIES)
    assert not gap.broken_orders(
        [
            ("L[q_phi]", diagonal.elbo_amortized),
            ("L[q*_diagonal]", diagonal.elbo_optimal),
            ("L[q*_full]", full.elbo_optimal),
            ("log p(x)", full.log_evidence),
        ]
    )
    (problem,) = gap.broken_orders([("high", full.elbo_optimal), ("low", diagonal.elbo_optimal)])
    assert problem.startswith("high exceeds low by ")


def test_amortized_and_optimal_bound_share_their_draws(name):
    """A loop that moves nothing leaves a gap of exactly 0, though each bound has an error of its own."""
    found = unmoved(name)
    np.testing.assert_array_equal(found.inference.phi_P, encoder_outputs(name))
    np.testing.assert_array_equal(found.elbo_start.value, found.elbo_optimal.value)
    assert np.all(found.elbo_start.stderr > 0.0)
    np.testing.assert_array_equal(found.gain, np.zeros((2, N)))


def test_shared_draws_make_the_error_of_the_gap_smaller_than_that_of_its_parts():
    """And the reported optimum is scored on draws that the loop has not seen: it is unbiased at phi*.

    A loop of one large step on one draw fits that draw; scored on it, it would look far too good.
    """
    chosen = settings(1, optax.sgd(0.05), elbo_samples=4, objective=elbo_from_draws, num_samples=1)
    rows = np.tile(np.arange(N), 40)
    found = local_fit.fit_locally(
        MODEL,
        FAMILIES["diagonal"],
        chosen,
        THETA,
        (X_NxD[rows], np.arange(rows.size, dtype=np.int32)),
        encoder_outputs("diagonal")[rows],
        jax.random.key(5),
        chunk_size=rows.size,
    )
    exact_start_N = exact_elbo("diagonal", encoder_outputs("diagonal"))[rows]
    exact_best_N = np.array(
        [
            EXACT.elbo(X_NxD[row], *oracles.mean_and_scale("diagonal", phi))
            for row, phi in zip(rows, found.inference.phi_P, strict=True)
        ]
    )
    start_error_N, best_error_N = (
        np.float64(estimate.value) - exact_N
        for estimate, exact_N in [(found.elbo_start, exact_start_N), (found.elbo_optimal, exact_best_N)]
    )
    oracles.assert_mean(start_error_N, 0.0)
    oracles.assert_mean(best_error_N, 0.0)
    assert np.corrcoef(start_error_N, best_error_N)[0, 1] > 0.3


def test_chunk_order_and_neighbours_change_nothing():
    name = "full"
    chosen, counts = settings(num_steps=20, elbo_samples=20), []
    whole = fit(name, chosen, chunk_size=100, progress=counts.append)
    assert counts == [N]
    rows = np.array([20, 3, 11, 4, 23, 0, 7])
    part = fit(name, chosen, rows=rows, chunk_size=3, progress=counts.append)
    assert counts[1:] == [3, 3, 1]
    # A batch of another size rounds otherwise; 20 steps of 0.2 times at most 5 carry that on.
    tolerance = 20 * 0.2 * 5 * 10 * EPS
    np.testing.assert_allclose(part.inference.phi_P, whole.inference.phi_P[rows], atol=tolerance)
    for one, other in [(part.elbo_start, whole.elbo_start), (part.elbo_optimal, whole.elbo_optimal)]:
        np.testing.assert_allclose(one.value, other.value[rows], rtol=1e-4)
        np.testing.assert_allclose(one.stderr, other.stderr[rows], rtol=1e-3)
    np.testing.assert_array_equal(part.phi_start, whole.phi_start[rows])


def test_runs_fitted_together_are_fitted_alone():
    """With models, data, starts, keys and tolerances of their own; some need rounds that others do not."""
    chosen, family = settings(num_steps=20, max_rounds=3), FAMILIES["full"]
    thetas = [jax.tree.map(lambda a, by=by: a * by, THETA) for by in (1.0, 0.9, 1.1)]
    keys, tolerances = [jax.random.key(seed) for seed in range(3)], [0.08, 1e3, 0.06]
    data = [(np.roll(X_NxD, by, axis=0), INDEX_N + 100 * by) for by in range(3)]
    starts = [np.roll(encoder_outputs("full"), by, axis=0) for by in range(3)]
    both = {"starts": ("encoder", "prior"), "chunk_size": 4}
    problems = list(map(local_fit.Problem, thetas, data, starts, keys, tolerances))
    together = local_fit.fit_runs(MODEL, family, chosen, problems, **both)
    for run, (problem, fit) in enumerate(zip(problems, together, strict=True)):
        (alone,) = local_fit.fit_runs(MODEL, family, chosen, [problem], **both)
        for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(fit), strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3)
        assert len(set(alone.rounds)) == 1 if run == 1 else len(set(alone.rounds)) > 1


def test_cholesky_finds_the_law_of_the_full_family():
    """Fitted in the coordinates of the full family, it comes back in its own, with the same bound."""
    family, start_NxP = posterior.cholesky(K), encoder_outputs("full")
    full = FAMILIES["full"].gaussian
    own_NxP = np.stack([family.gaussian.project(*full.location_scale(phi_P)) for phi_P in start_NxP])
    key, chosen = jax.random.key(3), settings(num_steps=100, elbo_samples=2000)
    found = local_fit.fit_locally(MODEL, family, chosen, THETA, (X_NxD, INDEX_N), own_NxP, key, chunk_size=N)
    full = fit("full", chosen, chunk_size=N)
    for phi_P, other_P in zip(found.inference.phi_P, full.inference.phi_P, strict=True):
        (mean, scale), (other_mean, other_scale) = (
            oracles.mean_and_scale("cholesky", phi_P),
            oracles.mean_and_scale("full", other_P),
        )
        np.testing.assert_allclose(mean, other_mean, atol=0.05)
        np.testing.assert_allclose(scale @ scale.T, other_scale @ other_scale.T, atol=0.05)
    assert (exact_optimum("full") - exact_elbo("cholesky", found.inference.phi_P)).max() < ACCURACY
    np.testing.assert_allclose(found.elbo_start.value, full.elbo_start.value, atol=0.5)


def test_only_what_has_not_converged_goes_on_and_it_knows_nothing_of_the_rest():
    """Few steps from the prior: some datapoints arrive in the first round, the others later."""
    name, few = "diagonal", {"num_steps": 8, "elbo_samples": 20}
    once = fit(name, settings(**few), starts=("prior",))
    later = fit(name, settings(**few, max_rounds=6), starts=("prior",))
    first = once.inference.converged
    assert 0 < first.sum() < N
    assert np.all(later.inference.converged)
    assert np.all(later.rounds[first] == 1)
    assert np.all((later.rounds[~first] > 1) & (later.rounds[~first] <= 6))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[first], b[first]), once, later)
    lost_N = exact_optimum(name) - exact_elbo(name, later.inference.phi_P)
    # The estimate is of second order; where so few steps leave a scale 30% off, the third is a quarter of it.
    assert lost_N.max() <= 1.25 * 0.05
    rows = np.flatnonzero(~first)[::-1]
    alone = fit(name, settings(**few, max_rounds=6), rows=rows, starts=("prior",), chunk_size=5)
    np.testing.assert_array_equal(alone.rounds, later.rounds[rows])
    np.testing.assert_allclose(alone.inference.phi_P, later.inference.phi_P[rows], atol=1e-3)


def test_each_round_has_draws_of_its_own():
    """A loop that moves nothing is certified anew in each round, from other draws."""
    chosen = settings(1, optax.sgd(0.0), elbo_samples=4, objective=elbo_from_draws)
    once, twice = (fit("diagonal", chosen._replace(max_rounds=rounds)) for rounds in (1, 2))
    again = twice.rounds == 2
    assert again.any()
    np.testing.assert_array_equal(once.inference.phi_P, twice.inference.phi_P)
    assert np.all(once.inference.excess.value[again] != twice.inference.excess.value[again])


def test_draws_that_choose_are_others_than_those_that_report(monkeypatch):
    """The bounds of two starts are compared under one key, and what is reported is scored under another."""
    purposes, original = [], local_fit.score_runs

    def spied(static, problems, chunk_size, purpose, phis):
        purposes.append(purpose)
        return original(static, problems, chunk_size, purpose, phis)

    monkeypatch.setattr(local_fit, "score_runs", spied)
    fit("diagonal", settings(num_steps=2, elbo_samples=4), rows=slice(3), starts=("encoder", "prior"))
    assert purposes == ["select", "score"]
    keys = [jax.random.key_data(key) for key in local_fit._keys(jax.random.key(3), INDEX_N[0])]
    assert len({tuple(map(int, key)) for key in keys}) == 3


def test_of_two_starts_the_better_is_kept_by_draws_that_nothing_reports():
    """One step from the encoder's phi or the prior; some of the former are far worse than the latter."""
    name, chosen = "diagonal", settings(num_steps=1, elbo_samples=200)
    phi_NxP, spoilt = encoder_outputs(name).copy(), np.arange(N) % 3 == 0
    phi_NxP[spoilt, :K] += 30.0
    phi_NxP[1] = np.nan
    spoilt[1] = True
    found = {
        starts: local_fit.fit_locally(
            MODEL, FAMILIES[name], chosen, THETA, (X_NxD, INDEX_N), phi_NxP, KEY, starts=starts, chunk_size=N
        )
        for starts in (("encoder",), ("prior",), ("encoder", "prior"))
    }
    alone, prior, both = found.values()
    np.testing.assert_array_equal(both.from_prior[spoilt], True)
    assert not both.from_prior.all()
    kept = ~both.from_prior
    np.testing.assert_array_equal(both.inference.phi_P[kept], alone.inference.phi_P[kept])
    # The bounds are those of the draws that report, of the encoder's phi and of the optimum alike.
    np.testing.assert_allclose(both.elbo_optimal.value[kept], alone.elbo_optimal.value[kept], rtol=40 * EPS)
    np.testing.assert_array_equal(both.elbo_start.value, alone.elbo_start.value)
    np.testing.assert_array_equal(both.rounds, 2)
    np.testing.assert_array_equal(prior.from_prior, True)
    # Where the two bounds differ by less than their noise either may be kept: the choice saw other draws.
    lost_N = np.nan_to_num(alone.elbo_optimal.value, nan=-np.inf) - both.elbo_optimal.value
    noise_N = np.hypot(np.nan_to_num(alone.elbo_optimal.stderr), both.elbo_optimal.stderr)
    assert np.all(lost_N <= 2.0 * 5.0 * noise_N)


def test_the_choice_between_equals_does_not_flatter_what_is_reported():
    """From the prior twice, one noisy step each: unbiased, though the larger bound was kept."""
    chosen = settings(1, optax.sgd(0.02), elbo_samples=4, objective=elbo_from_draws, num_samples=1)
    rows = np.tile(np.arange(N), 40)
    found = local_fit.fit_locally(
        MODEL,
        FAMILIES["full"],
        chosen,
        THETA,
        (X_NxD[rows], np.arange(rows.size, dtype=np.int32)),
        np.tile(np.asarray(FAMILIES["full"].init()), (rows.size, 1)),
        KEY,
        starts=("encoder", "prior"),
        chunk_size=rows.size,
    )
    laws = [oracles.mean_and_scale("full", phi_P) for phi_P in found.inference.phi_P]
    exact_N = np.array([EXACT.elbo(X_NxD[row], *law) for row, law in zip(rows, laws, strict=True)])
    assert 0.2 < found.from_prior.mean() < 0.8
    oracles.assert_mean(np.float64(found.elbo_optimal.value) - exact_N, 0.0)


def test_evidence_does_not_depend_on_chunk_order_or_neighbours():
    phis, rows = (encoder_outputs("diagonal"), encoder_outputs("full")), np.array([20, 3, 11, 4])
    whole = weigh(tuple(FAMILIES), phis, chunk_size=100)
    part = weigh(tuple(FAMILIES), phis, rows=rows, chunk_size=3)
    np.testing.assert_allclose(part.log_evidence, whole.log_evidence[rows], rtol=40 * EPS)
    np.testing.assert_allclose(part.effective_sample_size, whole.effective_sample_size[rows], rtol=1e-3)


def test_a_row_is_the_per_datapoint_function_without_jit():
    """What `fit_locally` reports is `estimate_elbo` of one datapoint at fold_in(key, index)."""
    found = unmoved("full")
    key = jax.random.split(jax.random.fold_in(jax.random.key(3), INDEX_N[5]))[1]
    alone = estimate_elbo(
        models.bind(MODEL, THETA, X_NxD[5]),
        FAMILIES["full"],
        encoder_outputs("full")[5],
        key,
        num_samples=20,
        chunk_size=20,
    )
    np.testing.assert_allclose(found.elbo_start.value[5], alone.value, rtol=40 * EPS)
    np.testing.assert_allclose(found.elbo_start.stderr[5], alone.stderr, rtol=1e-3)


def test_everything_runs_at_the_highest_matmul_precision():
    seen = []

    def log_likelihood(theta, x_D, z_K):
        seen.append(jax.config.jax_default_matmul_precision)
        return MODEL.log_likelihood(theta, x_D, z_K)

    exact = MODEL.exact._replace(
        posterior=lambda theta, x_D: (
            seen.append(jax.config.jax_default_matmul_precision),
            models.linear_gaussian_posterior(theta, x_D),
        )[1]
    )
    watched = MODEL._replace(log_likelihood=log_likelihood, exact=exact)
    family, data, phi_NxP = FAMILIES["diagonal"], (X_NxD[:2], INDEX_N[:2]), encoder_outputs("diagonal")[:2]
    chosen, key = settings(num_steps=1, elbo_samples=4), jax.random.key(0)
    local_fit.fit_locally(watched, family, chosen, THETA, data, phi_NxP, key, chunk_size=2)
    number = len(seen)
    estimator = evidence.by_importance((family,), num_samples=4, chunk_size=4)
    estimate_log_evidence(watched, estimator, THETA, data, (phi_NxP,), key, chunk_size=2)
    assert len(seen) > number
    number = len(seen)
    gap.exact_gap(watched, family, THETA, X_NxD[:2], phi_NxP)
    assert len(seen) > number
    assert set(seen) == {"highest"}


def test_template_has_the_structure_of_a_fit():
    assert jax.tree.structure(local_fit.LocalFit.template()) == jax.tree.structure(unmoved("diagonal"))
