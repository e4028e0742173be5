"""The inner loop and its certificate against the exact optimum of linear-Gaussian models."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.support import oracles
from tests.support.oracles import EPS, LinearGaussian
from vaelab import model as models
from vaelab import posterior
from vaelab.inference.certificate import LEAST_CURVATURE, estimate_excess
from vaelab.inference.curvature import difference_draws
from vaelab.inference.loop import evaluations, infer
from vaelab.inference.solver import natural_gradient, quasi_newton, stochastic_gradient
from vaelab.objective.elbo import elbo_from_draws, stick_the_landing

K, D = 3, 6
FAMILIES = {"diagonal": posterior.diagonal(K), "full": posterior.full(K)}
MODEL = models.linear_gaussian(K, (1.0,) * K, 1.0, D)
# Condition numbers of the posterior precision: 4, 10 and 101. Scaled to a unit diagonal, that of the last has
# the eigenvalues 0.027, 0.18 and 2.8: a diagonal q sees little of the first direction.
EXACTS = [
    LinearGaussian.random(np.random.default_rng(seed), D, singular_values, 1.0)
    for seed, singular_values in [(1, (2.0, 1.0, 0.5)), (2, (3.0, 1.0, 0.3)), (0, (10.0, 1.0, 0.1))]
]
TOLERANCE = 0.05  # nats
GROUPS = 32


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def adam(family, num_steps):
    return optax.adam(optax.cosine_decay_schedule(3e-2, num_steps), b2=0.9)


def natural(family, num_steps):
    """The inner loop of experiments/defaults.py for the families with correlations."""
    rate = optax.scale_by_learning_rate(optax.cosine_decay_schedule(0.2, num_steps))
    return optax.chain(natural_gradient(family, max_norm=5.0), rate)


def newton(family, num_steps):
    """That for the diagonal family."""
    return quasi_newton(family, optax.cosine_decay_schedule(0.5, num_steps), num_samples=10, max_norm=5.0)


def still(family, num_steps):
    return optax.sgd(0.0)


def solver_of(family, num_steps, make, objective=None):
    """By an optax transformation, with 10 antithetic draws unless told otherwise, or the solver made."""
    made = make(family, num_steps)
    if not isinstance(made, optax.GradientTransformation):
        return made
    objective = objective or partial(stick_the_landing, num_samples=10, antithetic=True)
    return stochastic_gradient(family, objective, made, num_samples=10)


@functools.cache
def inner_loop(family, num_steps, optimizer=natural, objective=None):
    """(theta, x_D, phi_P, key) -> Inference, vmapped."""
    solver = solver_of(family, num_steps, optimizer, objective)

    def one(theta, x_D, phi_P, key):
        return infer(
            solver,
            models.bind(MODEL, models.LinearGaussianParams(*theta), x_D),
            family,
            phi_P,
            key,
            num_steps=num_steps,
            certificate_groups=GROUPS,
            tolerance=TOLERANCE,
        )

    return jax.jit(jax.vmap(one))


def problems(family, count=8, starts=("prior", "bad")):
    """[(exact, x_D, phi_P)]: datapoints of each model, from the prior and from a bad start."""
    rows = []
    for number, exact in enumerate(EXACTS):
        rng = np.random.default_rng(number)
        for x_D in exact.sample(rng, count):
            for start in starts:
                phi_P = np.array(family.init())
                if start == "bad":
                    phi_P[:K] += 1.5 * rng.choice([-1.0, 1.0], K)
                    phi_P[K:] = oracles.random_phi(family.name, rng, K, 4.0)[K:]
                rows.append((exact, x_D, phi_P))
    return rows


def run(loop, rows, seed=0):
    theta = [np.stack(leaves) for leaves in zip(*(exact.theta for exact, *_ in rows), strict=True)]
    x_NxD, phi_NxP = (np.stack([row[i] for row in rows]) for i in (1, 2))
    fitted = loop(theta, x_NxD, phi_NxP, jax.random.split(jax.random.key(seed), len(rows)))
    return jax.tree.map(np.asarray, fitted)


def true_excess(family, rows, phi_NxP):
    """L[q*] - L[q_phi], exactly."""
    excess = []
    for (exact, x_D, _), phi_P in zip(rows, phi_NxP, strict=True):
        best = exact.elbo(x_D, *oracles.mean_and_scale(family.name, exact.optimum(family.name, x_D)))
        excess.append(best - exact.elbo(x_D, *oracles.mean_and_scale(family.name, phi_P)))
    return np.array(excess)


LOOPS = {"natural gradient": (natural, 200), "quasi-Newton": (newton, 100), "Adam": (adam, 300)}


@functools.cache
def outcome(name, loop):
    """(excess at the start, excess at the end, converged), each [model, datapoint, start]."""
    family, (optimizer, num_steps) = FAMILIES[name], LOOPS[loop]
    rows = problems(family)
    fitted = run(inner_loop(family, num_steps, optimizer), rows)
    starts_N = true_excess(family, rows, [row[2] for row in rows])
    shape = len(EXACTS), -1, 2
    parts = starts_N, true_excess(family, rows, fitted.phi_P), fitted.converged
    return tuple(part.reshape(shape) for part in parts)


@pytest.mark.long
@pytest.mark.parametrize("loop", LOOPS)
def test_inner_loop_reaches_the_exact_optimum(family, loop):
    start, excess, converged = outcome(family.name, loop)
    assert start.min() > 0.1
    assert start.max() > 100.0
    # 0.005 nats is the accuracy asked of a gap; the bound itself is exact, so there is no error to allow.
    assert np.all(excess >= -1e-9)
    assert excess[:2].max() <= 0.005
    assert np.all(converged[:2])
    if family.name == "full" and loop == "natural gradient":
        assert excess.max() <= 1e-4  # the metric is the curvature: the condition number does not matter
    if loop == "quasi-Newton":
        # Neither the condition number nor the start matter, and there is no noise to wait for.
        assert excess.max() <= 1e-3
        assert np.all(converged)
    if loop == "Adam":
        assert excess[2, :, 0].max() <= 0.005


@pytest.mark.long
@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_called_converged_is_converged(family, loop):
    """At condition number 101 and from a bad start too: where the steps were too few, the loop says so."""
    _, excess, converged = outcome(family.name, loop)
    assert excess[converged].max() <= TOLERANCE
    assert excess[~converged].size > 0 or excess.max() <= TOLERANCE


@pytest.mark.long
def test_certificate_of_a_wrong_mean_is_the_true_excess(family):
    """However correlated the posterior is, and although a diagonal q knows nothing of that."""
    rng, rows = np.random.default_rng(0), []
    for exact in EXACTS:
        x_D = exact.sample(rng, 1)[0]
        phi_P = exact.optimum(family.name, x_D)
        phi_P[:K] += np.linalg.solve(np.linalg.cholesky(exact.precision()).T, rng.normal(size=K))
        rows.append((exact, x_D, np.float32(phi_P)))
    fitted = run(inner_loop(family, 1, still), rows)
    error_N = fitted.excess.value - true_excess(family, rows, fitted.phi_P)
    assert np.all(true_excess(family, rows, fitted.phi_P) > 0.2)
    np.testing.assert_array_equal(fitted.phi_P, [row[2] for row in rows])
    assert np.all(np.abs(error_N) <= 5.0 * fitted.excess.stderr + 1e-3)


def exact_bound(log_joint, family, phi_P, key):
    """The ELBO of EXACTS[2] at X_D in closed form, so that the certificate has no noise."""
    del log_joint, key
    theta = models.LinearGaussianParams(*EXACTS[2].theta)
    return models.linear_gaussian_elbo(theta, X_D, *family.gaussian.location_scale(phi_P))


X_D = EXACTS[2].sample(np.random.default_rng(5), 1)[0]


def test_certificate_sees_the_directions_that_a_diagonal_q_leaves_out():
    """In the metric of q's Fisher information these one-nat errors would count 0.027 to 2.8 nats."""
    family, precision = FAMILIES["diagonal"], EXACTS[2].precision()
    root = np.sqrt(np.diag(precision))
    ratio_K, vector_KxK = np.linalg.eigh(precision / np.outer(root, root))
    optimum_P, rows = EXACTS[2].optimum("diagonal", X_D), []
    for ratio, vector in zip(ratio_K, vector_KxK.T, strict=True):
        shift = np.sqrt(2.0 / ratio) * vector / root  # one nat
        rows.append((EXACTS[2], X_D, np.float32(optimum_P + np.concatenate([shift, np.zeros(K)]))))
    fitted = run(inner_loop(family, 1, still, exact_bound), rows)
    np.testing.assert_allclose(true_excess(family, rows, fitted.phi_P), 1.0, rtol=1e-3)
    np.testing.assert_allclose(fitted.excess.value, 1.0, rtol=1e-2)  # of float32 at condition number 101
    assert ratio_K[0] < 0.03


@pytest.mark.long
def test_converged_asks_for_two_standard_errors_below_the_tolerance():
    family, log_joint = FAMILIES["diagonal"], lambda z_K: -0.6 * jnp.sum(z_K**2)

    def certify(tolerance):
        settings = {"num_steps": 1, "certificate_groups": 8, "tolerance": tolerance}
        objective = partial(stick_the_landing, num_samples=2)
        solver = stochastic_gradient(family, objective, optax.sgd(0.0), num_samples=2)
        return infer(solver, log_joint, family, family.init(), jax.random.key(0), **settings)

    value, stderr = certify(1.0).excess
    assert stderr > 1e-3
    assert not certify(float(value + 1.9 * stderr)).converged
    assert certify(float(value + 2.1 * stderr)).converged


def test_a_curvature_that_is_not_positive_is_raised_to_its_floor(family):
    phi_P = oracles.random_phi(family.name, np.random.default_rng(3), K, 4.0)
    grads = jnp.tile(jnp.concatenate([jnp.ones(K), jnp.zeros(family.param_size - K)]), (GROUPS, 1))
    excess = estimate_excess(family, phi_P, grads, -jnp.eye(K))
    _, scale_KxK = oracles.mean_and_scale(family.name, phi_P)
    variance = np.trace(scale_KxK @ scale_KxK.T)
    np.testing.assert_allclose(excess.value, 0.5 * variance / LEAST_CURVATURE, rtol=1e-4)


@pytest.mark.long
def test_certificate_of_exact_gradients_is_its_two_quadratic_forms(family):
    rng, rows = np.random.default_rng(6), []
    for _ in range(4):
        rows.append((EXACTS[2], X_D, oracles.random_phi(family.name, rng, K, 4.0)))
    fitted = run(inner_loop(family, 1, still, exact_bound), rows)
    for (exact, x_D, phi_P), value, stderr in zip(rows, *fitted.excess, strict=True):
        g = oracles.gradient(
            lambda p, e=exact, x=x_D: e.elbo(x, *oracles.mean_and_scale(family.name, p)), phi_P
        )
        F = oracles.fisher_information(family.name, phi_P)
        mean = 0.5 * g[:K] @ np.linalg.solve(exact.precision(), g[:K])
        scale = 0.5 * g[K:] @ np.linalg.pinv(F[K:, K:], rcond=1e-4) @ g[K:]
        np.testing.assert_allclose(value, mean + scale, rtol=1e-4)
        assert stderr <= 1e-4 * value  # equal gradients differ by nothing but rounding


@pytest.fixture(scope="module")
def noisy_certificates():
    """{(family, size of the true gradient): (values, standard errors, truth, variance of its two parts)}."""
    fitted = {}
    for name, family in FAMILIES.items():
        rng = np.random.default_rng(7)
        phi_P = oracles.random_phi(name, rng, K, 4.0)
        F = oracles.fisher_information(name, phi_P)
        natural = jax.vmap(family.gaussian.natural_gradient, (None, 0))
        metric = np.float64(natural(phi_P, jnp.eye(family.param_size)))
        noise = rng.normal(size=(family.param_size, family.param_size)) / np.sqrt(family.param_size)
        # With the Fisher information of the mean for its curvature the certificate is one quadratic form.
        curvature = np.float32(F[:K, :K])
        run_all = jax.jit(jax.vmap(lambda g, f=family, p=phi_P, c=curvature: estimate_excess(f, p, g, c)))
        for size in (0.0, 3.0):
            g = size * F @ rng.normal(size=family.param_size)
            g = g / max(np.sqrt(g @ metric @ g), 1.0) * size
            draws = rng.normal(size=(4000, GROUPS, family.param_size)) @ noise.T
            value, stderr = run_all(np.float32(g + draws))
            truth = 0.5 * g @ np.linalg.pinv(F, rcond=1e-4) @ g
            moved = metric @ noise @ noise.T
            parts = 0.25 * g @ moved @ metric @ g, 0.25 * np.trace(moved @ moved)
            fitted[name, size] = np.float64(value), np.float64(stderr), truth, parts
    return fitted


@pytest.mark.long
@pytest.mark.parametrize("size", [0.0, 3.0], ids=["at the optimum", "away from it"])
def test_excess_is_unbiased_with_the_variance_of_its_kind(family, size, noisy_certificates):
    """For a U-statistic of order 2: its parts of first and second order are uncorrelated."""
    value_N, _, truth, (first, second) = noisy_certificates[family.name, size]
    assert truth == pytest.approx(0.5 * size**2, abs=1e-4)
    oracles.assert_mean(value_N, truth, rounding=1e-4)
    variance = 4.0 * first / GROUPS + 2.0 * second / (GROUPS * (GROUPS - 1))
    oracles.assert_mean((value_N - truth) ** 2, variance, rounding=1e-4 * variance)
    # The plug-in of the mean gradient would be too large by the trace of its noise.
    assert abs(np.mean(value_N) - truth) < 0.1 * np.sqrt(second)


@pytest.mark.parametrize("size", [0.0, 3.0], ids=["at the optimum", "away from it"])
def test_jackknife_error_is_right_away_from_the_optimum_and_too_large_at_it(family, size, noisy_certificates):
    """It counts the second-order part 2 (G - 1) / (G - 2) times: its error at the optimum is 1.46 fold."""
    value_N, stderr_N, _, (first, second) = noisy_certificates[family.name, size]
    expected = 4.0 * first / GROUPS + 4.0 * second / (GROUPS * (GROUPS - 2))
    oracles.assert_mean(stderr_N**2, expected, rounding=1e-4 * expected)
    ratio = np.mean(stderr_N**2) / np.var(value_N, ddof=1)
    low, high = (0.8, 1.4) if size else (1.6, 2.7)  # 1 to 1.1 and 2.14, with 4000 values
    assert low < ratio < high


@pytest.mark.long
def test_too_few_steps_from_a_far_start_are_not_called_converged(family):
    """A start 5 nats off along the direction that the certificate sees least, and starts far in all."""
    rows = problems(family, count=4, starts=("bad",))
    for exact in EXACTS:
        x_D = exact.sample(np.random.default_rng(8), 1)[0]
        phi_P, precision = exact.optimum(family.name, x_D), exact.precision()
        root = np.sqrt(np.diag(precision))
        ratio_K, vector_KxK = np.linalg.eigh(precision / np.outer(root, root))
        phi_P[:K] += np.sqrt(10.0 / ratio_K[0]) * vector_KxK[:, 0] / root
        rows.append((exact, x_D, np.float32(phi_P)))
    fitted = run(inner_loop(family, 5), rows)
    assert true_excess(family, rows, fitted.phi_P).min() > TOLERANCE
    assert not np.any(fitted.converged)


@pytest.mark.long
def test_a_bad_start_is_not_converged_and_spoils_no_neighbour(family):
    rows = problems(family, count=2)
    loop = inner_loop(family, 20)
    clean = run(loop, rows)
    bad = {1: np.nan, 4: np.inf, 7: 1e30}
    spoilt_rows = [
        (exact, x_D, np.full_like(phi_P, bad[i]) if i in bad else phi_P)
        for i, (exact, x_D, phi_P) in enumerate(rows)
    ]
    spoilt = run(loop, spoilt_rows)
    kept = [i for i in range(len(rows)) if i not in bad]
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[kept], b[kept]), clean, spoilt)
    assert not np.any(spoilt.converged[list(bad)])
    assert not np.any(np.isfinite(spoilt.excess.value[list(bad)]))


def test_every_step_and_every_group_of_the_certificate_has_its_own_draws():
    seen = []

    def objective(log_joint, family, phi_P, key):
        jax.debug.callback(lambda data: seen.append(tuple(data.tolist())), jax.random.key_data(key))
        return -jnp.sum(phi_P**2)

    family = FAMILIES["diagonal"]
    settings = {"num_steps": 7, "certificate_groups": 5, "tolerance": 1.0}
    solver = stochastic_gradient(family, objective, optax.sgd(0.1), num_samples=1)
    jax.block_until_ready(
        infer(solver, lambda z_K: -jnp.sum(z_K**2), family, family.init(), jax.random.key(0), **settings)
    )
    jax.effects_barrier()
    assert len(seen) == len(set(seen)) == 12


@pytest.mark.long
def test_no_key_is_used_twice():
    family = FAMILIES["full"]
    theta = models.LinearGaussianParams(*EXACTS[0].theta)
    objective = partial(stick_the_landing, num_samples=2, antithetic=True)
    with jax.debug_key_reuse(True):
        fitted = infer(
            stochastic_gradient(family, objective, optax.sgd(0.1), num_samples=2),
            models.bind(MODEL, theta, X_D),
            family,
            family.init(),
            jax.random.key(0),
            num_steps=3,
            certificate_groups=3,
            tolerance=TOLERANCE,
        )
    assert fitted.phi_P.shape == (family.param_size,)


@pytest.mark.long
def test_jit_and_batch_change_nothing():
    family = FAMILIES["full"]
    rows = problems(family, count=1)
    together = run(inner_loop(family, 20), rows)
    keys = jax.random.split(jax.random.key(0), len(rows))
    for i, (exact, x_D, phi_P) in enumerate(rows[:1]):
        alone = infer(
            solver_of(family, 20, natural),
            models.bind(MODEL, models.LinearGaussianParams(*exact.theta), x_D),
            family,
            jnp.asarray(phi_P),
            keys[i],
            num_steps=20,
            certificate_groups=GROUPS,
            tolerance=TOLERANCE,
        )
        # 20 steps of 0.2, each off by the rounding of its gradient relative to its length, at most 5.
        np.testing.assert_allclose(alone.phi_P, together.phi_P[i], atol=20 * 0.2 * 5 * 10 * EPS)
        np.testing.assert_allclose(alone.excess.value, together.excess.value[i], rtol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("make", [natural, newton])
def test_evaluations_are_those_that_are_made(make, family):
    """Counted where they happen: each gradient of log p(x, z) in z."""
    counts = []

    @jax.custom_vjp
    def counted(z_K):
        return -0.5 * jnp.sum(z_K**2)

    def backward(z_K, cotangent):
        jax.debug.callback(lambda _: counts.append(1), z_K)
        return (-cotangent * z_K,)

    counted.defvjp(lambda z_K: (counted(z_K), z_K), backward)
    settings = {"num_steps": 4, "certificate_groups": 3}
    solver = solver_of(family, 4, make)
    jax.block_until_ready(
        infer(solver, counted, family, family.init(), jax.random.key(0), tolerance=TOLERANCE, **settings)
    )
    jax.effects_barrier()
    assert len(counts) == evaluations(solver, family, **settings) == 7 * 10 + (K + 1) * difference_draws(K)


@pytest.mark.long
def test_the_mean_of_the_last_iterates_is_less_noisy_than_the_last_one():
    """At a constant rate the iterates wander about the optimum; the result is their mean, exactly."""
    family, iterates = FAMILIES["diagonal"], []
    exact = EXACTS[0]
    theta, x_D = models.LinearGaussianParams(*exact.theta), exact.sample(np.random.default_rng(0), 1)[0]
    objective = partial(elbo_from_draws, num_samples=2)
    solver = stochastic_gradient(family, objective, optax.sgd(0.02), num_samples=2)
    optimum_P = jnp.float32(exact.optimum("diagonal", x_D))

    def result(average_last, num_steps, key):
        settings = {"num_steps": num_steps, "certificate_groups": 3, "tolerance": 1.0}
        log_joint = models.bind(MODEL, theta, x_D)
        return infer(solver, log_joint, family, optimum_P, key, average_last=average_last, **settings).phi_P

    key = jax.random.key(0)
    iterates = [result(0, num_steps, key) for num_steps in (38, 39, 40)]
    np.testing.assert_allclose(result(3, 40, key), np.mean(iterates, axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(result(1, 40, key), iterates[-1])
    keys = jax.random.split(key, 100)
    last, mean = (
        jax.jit(jax.vmap(partial(result, count, 200)))(keys) - optimum_P[None, :] for count in (0, 150)
    )
    assert np.mean(mean**2) < 0.5 * np.mean(last**2)


@pytest.mark.long
def test_the_curvature_of_the_certificate_has_draws_of_its_own(monkeypatch):
    """All keys that the gradients of the certificate and its curvature are given differ."""
    family, keys = FAMILIES["diagonal"], []

    def gradient(log_joint, phi_P, state, key):
        jax.debug.callback(lambda data: keys.append(tuple(data.tolist())), jax.random.key_data(key))
        return jnp.zeros_like(phi_P), state

    def curvature(log_joint, family, phi_P, key):
        jax.debug.callback(lambda data: keys.append(tuple(data.tolist())), jax.random.key_data(key))
        return jnp.eye(K)

    monkeypatch.setattr("vaelab.inference.loop.expected_curvature", curvature)
    solver = stochastic_gradient(family, stick_the_landing, optax.sgd(0.0), num_samples=2)
    infer(
        solver._replace(gradient=gradient),
        lambda z_K: -jnp.sum(z_K**2),
        family,
        family.init(),
        jax.random.key(0),
        num_steps=2,
        certificate_groups=4,
        tolerance=1.0,
    )
    jax.effects_barrier()
    assert len(keys) == 2 + 4 + 1
    assert len(set(keys)) == len(keys)
