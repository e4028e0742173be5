"""Learning regimes: each against the maximum likelihood, and the parts that they are made of."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from experiments import linear_gaussian
from tests.support import training
from tests.support.oracles import LOG_2PI
from vaelab import model, objective, posterior
from vaelab.config.experiment import build
from vaelab.inference.loop import Loop, ascend, infer
from vaelab.inference.solver import natural_gradient, quasi_newton, stochastic_gradient
from vaelab.measure.gap import exact_gap, mean_and_stderr
from vaelab.model import likelihood, networks
from vaelab.model.latent import bind
from vaelab.posterior.project import same_distribution, searched_as
from vaelab.runs import trained
from vaelab.training import regime
from vaelab.training import step as train
from vaelab.training.skipped import NonFiniteError

K, D, N, BATCH = 2, 6, 300, 50
MODEL = model.linear_gaussian(K, (1.0,) * K, 1.0, D, one_variance=True)
INDEX = np.arange(1000, 1000 + N, dtype=np.int32)
REGIMES = ("amortized", "mean_field", "mean_field_at_once", "unrolled", "stopped")
FAMILIES = {"diagonal": posterior.diagonal, "full": posterior.full, "cholesky": posterior.cholesky}


# Its posterior is correlated, and the best diagonal q below it.
CORRELATED = model.linear_gaussian(K, (3.0, 1.5), 0.7, D)


def draw_data() -> np.ndarray:
    """Draws from a model of one variance whose two directions are well apart."""
    truth = CORRELATED
    theta = truth.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), N)
    return np.asarray(
        jax.vmap(lambda k: truth.sample(theta, k, jax.random.normal(jax.random.fold_in(k, 1), (K,))))(keys)
    )


X = draw_data()


def maximum_log_likelihood(x_NxD: np.ndarray) -> float:
    """Of probabilistic PCA, nats a datapoint (Tipping & Bishop 1999, eq. 3.8 to 3.10), in float64.

    With eigenvalues l_1 >= .. >= l_D of the covariance: variance = mean(l_K+1 .. l_D), and at the maximum
    log p = -1/2 (D log 2 pi + sum_i<=K log l_i + (D - K) log variance + D).
    """
    l_D = np.sort(np.linalg.eigvalsh(np.cov(np.float64(x_NxD).T, bias=True)))[::-1]
    log_det = np.sum(np.log(l_D[:K])) + (D - K) * np.log(np.mean(l_D[K:]))
    return -0.5 * (D * LOG_2PI + log_det + D)


def make_loop(family, num_steps, *, rate=0.3, num_samples=2, solver="natural_gradient", total=None):
    """total: steps over which the rate falls to 0; without it the rate stays."""
    searched = searched_as(family)
    schedule = optax.cosine_decay_schedule(rate, total) if total else optax.constant_schedule(rate)
    if solver == "quasi_newton":
        steps = quasi_newton(searched, schedule, num_samples=num_samples, max_norm=5.0)
    else:
        transformation = {
            "natural_gradient": lambda: optax.chain(
                natural_gradient(searched, max_norm=5.0), optax.scale_by_learning_rate(schedule)
            ),
            # Its steps jump where a gradient changes sign, but for an eps of a gradient's size.
            "adam": lambda: optax.adam(rate, eps=0.3),
        }[solver]()
        bound = partial(objective.stick_the_landing, num_samples=num_samples, antithetic=True)
        steps = stochastic_gradient(
            searched, bound, transformation, num_samples=num_samples, holds_density=True
        )
    return Loop(searched, steps, num_steps)


def make_system(name, family=None, *, num_points=N, latent_model=MODEL, num_steps=3, total=3000):
    """One regime on the linear-Gaussian model, with an affine encoder, which is enough for the optimum.

    Gradients are clipped: early on those through unrolled steps come to norms of 1e4 and more.
    """
    family = family or posterior.diagonal(K)
    encoder = networks.mlp_encoder(D, (), family.init(), activation=jnp.tanh, output_scale=0.01)
    loop = make_loop(family, num_steps)
    learned = {
        "amortized": lambda: regime.amortized(encoder, family),
        "unrolled": lambda: regime.semi_amortized(encoder, family, latent_model, loop, unrolled=True),
        "stopped": lambda: regime.semi_amortized(encoder, family, latent_model, loop, unrolled=False),
    }
    for at_once in (False, True):
        learned["mean_field_at_once" if at_once else "mean_field"] = partial(
            regime.mean_field,
            family,
            latent_model,
            loop,
            make_loop(family, 50, num_samples=10, total=50),
            num_points=num_points,
            model_steps=1,
            at_once=at_once,
        )
    return train.System(
        model=latent_model,
        family=family,
        regime=learned[name](),
        objective=partial(objective.stick_the_landing, num_samples=2, antithetic=True),
        optimizer=optax.chain(
            optax.clip_by_global_norm(5.0), optax.adam(optax.cosine_decay_schedule(2e-2, total))
        ),
        observe=lambda key, x_D: x_D,
    )


def run_steps(system, num_steps, *, x_NxD=X, chunk_size=50, **settings):
    settings |= {"batch_size": BATCH, "chunk_size": chunk_size}
    return training.run_steps(system, x_NxD, INDEX, num_steps, **settings)[0]


def learned_phi(system, state):
    """phi of every training datapoint as the regime has it, in the coordinates of the family."""
    if isinstance(state.psi, regime.Table):
        return jax.vmap(partial(same_distribution, source=system.regime.family, target=system.family))(
            jnp.asarray(state.psi.phi_NxP)
        )
    keys_N = jax.random.split(jax.random.key(5), N)
    return jax.vmap(system.regime.recognise, (None, None, 0, 0))(state.theta, state.psi, X, keys_N)


def batch_of(rows) -> regime.Batch:
    rows = np.asarray(rows)
    return regime.Batch(jnp.asarray(X[rows]), jnp.asarray(rows), jnp.asarray(INDEX[rows]))


@pytest.mark.parametrize(
    ("family", "name"),
    [("diagonal", name) for name in REGIMES]
    + [(family, "mean_field") for family in ("full", "cholesky")]
    + [
        pytest.param(family, name, marks=pytest.mark.slow)
        for family in ("full", "cholesky")
        for name in ("amortized", "unrolled")
    ],
)
@pytest.mark.slow
def test_every_regime_ends_at_the_maximum_likelihood(name, family):
    """Also with the diagonal family: turning W makes the posterior diagonal (Lucas et al. 2019)."""
    system = make_system(name, FAMILIES[family](K))
    state = run_steps(system, 3000)
    log_evidence_N = jax.vmap(MODEL.exact.log_evidence, (None, 0))(state.theta, X)
    maximum = maximum_log_likelihood(X)
    assert np.mean(np.float64(log_evidence_N)) == pytest.approx(maximum, abs=0.01)
    gaps = exact_gap(MODEL, system.family, state.theta, X, np.asarray(learned_phi(system, state)))
    # The bound itself is there too: no gap of either kind is left.
    assert np.mean(np.float64(gaps.elbo_amortized)) == pytest.approx(maximum, abs=0.01)
    assert np.mean(gaps.approximation) < 0.01


def test_the_table_has_no_amortization_gap():
    """Once the schedule of the rows has ended, on a model held fixed: the rows are q*, point by point."""
    family, theta = posterior.diagonal(K), CORRELATED.init(jax.random.key(6))
    loop = make_loop(family, 10, num_samples=50, total=240)
    learner = regime.mean_field(family, CORRELATED, loop, loop, num_points=N, model_steps=1, at_once=False)
    table, everything = learner.init(jax.random.key(0)), batch_of(range(N))
    for visit in range(24):
        table = learner.expect(theta, table, everything, jax.random.key(visit))
    gaps = exact_gap(CORRELATED, family, theta, X, np.asarray(table.phi_NxP))
    start = exact_gap(CORRELATED, family, theta, X, np.asarray(learner.init(jax.random.key(0)).phi_NxP))
    assert np.mean(start.amortization) > 1.0
    assert np.min(gaps.approximation) > 0.01
    assert np.max(gaps.amortization) < 1e-3


def test_no_encoder_is_above_the_best_table_of_a_fixed_model():
    system = make_system("amortized")
    state = run_steps(system, 200)
    amortized = exact_gap(MODEL, system.family, state.theta, X, np.asarray(learned_phi(system, state)))
    loop = make_loop(system.family, 10, num_samples=20, total=120)
    learner = regime.mean_field(system.family, MODEL, loop, loop, num_points=N, model_steps=1, at_once=False)
    table = learner.init(jax.random.key(0))
    for visit in range(12):
        table = learner.expect(state.theta, table, batch_of(range(N)), jax.random.key(visit))
    tabled = exact_gap(MODEL, system.family, state.theta, X, np.asarray(table.phi_NxP))
    difference = mean_and_stderr(tabled.elbo_amortized - amortized.elbo_amortized)
    assert np.min(tabled.elbo_amortized - amortized.elbo_amortized) > -1e-3
    assert difference["mean"] > 5 * difference["stderr"]


@pytest.mark.parametrize("name", REGIMES)
def test_resumed_is_uninterrupted_bit_for_bit(name):
    system = make_system(name)
    whole = run_steps(system, 12, chunk_size=3)
    half = run_steps(system, 6, chunk_size=3)
    resumed = run_steps(system, 12, chunk_size=3, state=jax.device_put(half))
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)
    moved = jax.tree.map(lambda a, b: np.max(np.abs(a - b)), half.psi, whole.psi)
    assert max(jax.tree.leaves(moved)) > 1e-3


def test_a_row_does_not_depend_on_the_batch_around_it():
    learner = make_system("mean_field").regime
    theta, table = MODEL.init(jax.random.key(6)), learner.init(jax.random.key(0))
    alone = learner.expect(theta, table, batch_of([7]), jax.random.key(1))
    among = learner.expect(theta, table, batch_of([3, 7, 250]), jax.random.key(1))
    twice = learner.expect(theta, table, batch_of([7, 3, 7]), jax.random.key(1))
    # Another batch size is another program: rounding only.
    for other in (among, twice):
        np.testing.assert_allclose(alone.phi_NxP[7], other.phi_NxP[7], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(other.phi_NxP[8], table.phi_NxP[8])
    assert np.max(np.abs(among.phi_NxP[7] - table.phi_NxP[7])) > 0.1
    assert np.max(np.abs(among.phi_NxP[7] - among.phi_NxP[3])) > 1e-3


def test_rows_of_the_same_x_have_draws_of_their_own():
    """An index is a datapoint's, not its x's: two copies in the training set are moved by other draws."""
    learner = make_system("mean_field").regime
    theta, table = MODEL.init(jax.random.key(6)), learner.init(jax.random.key(0))
    batch = batch_of([7, 3])._replace(x_BxD=jnp.asarray(X[[7, 7]]))
    moved = learner.expect(theta, table, batch, jax.random.key(1))
    assert np.max(np.abs(moved.phi_NxP[7] - moved.phi_NxP[3])) > 1e-3


@pytest.mark.parametrize("name", ["mean_field", "mean_field_at_once"])
def test_the_model_steps_from_the_rows_after_the_expectation_or_before(name):
    system = make_system(name)._replace(optimizer=optax.sgd(1e-3))
    state = jax.device_put(run_steps(system, 2, chunk_size=1))
    batch, key = batch_of(range(20)), jax.random.key(9)
    key_expect, key_model = jax.random.split(key)
    moved = system.regime.expect(state.theta, state.psi, batch, key_expect)
    rows = (state.psi if name == "mean_field_at_once" else moved).phi_NxP[:20]

    def bound(theta):
        def one(x_D, phi_P, index):
            key = jax.random.fold_in(jax.random.fold_in(key_model, 0), index)
            return system.objective(bind(MODEL, theta, x_D), system.family, phi_P, key)

        return jnp.mean(jax.vmap(one)(batch.x_BxD, rows, batch.index_B))

    after, metrics = train.train_step(state, batch, key, system=system)
    expected = jax.tree.map(lambda p, g: p + 1e-3 * g, state.theta, jax.grad(bound)(state.theta))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), after.theta, expected)
    np.testing.assert_allclose(metrics.bound, bound(state.theta), rtol=1e-5)
    np.testing.assert_allclose(after.psi.phi_NxP, moved.phi_NxP, rtol=1e-5, atol=1e-6)


def updates(state) -> int:
    return int(optax.tree.get_all_with_path(state.opt_state, "count")[0][1])


def test_model_steps_are_so_many_updates_for_a_batch():
    one = make_system("mean_field")
    three = one._replace(regime=one.regime._replace(model_steps=3))
    state = jax.device_put(run_steps(one, 2, chunk_size=1))
    batch = batch_of(range(20))
    after_one, after_three = (
        train.train_step(state, batch, jax.random.key(9), system=s)[0] for s in (one, three)
    )
    assert updates(after_three) == updates(after_one) + 2
    assert int(after_three.step) == int(after_one.step) == int(state.step) + 1
    jax.tree.map(np.testing.assert_array_equal, after_one.psi, after_three.psi)


def test_a_later_model_step_that_is_not_finite_shows():
    """The bound is that of the first, finite here; at the theta of the second nothing is a number."""
    start = MODEL.init(jax.random.key(6))

    def log_likelihood(theta, x_D, z_K):
        moved = jnp.any(ravel_pytree(theta)[0] != ravel_pytree(start)[0])
        return jnp.where(moved, jnp.nan, MODEL.log_likelihood(theta, x_D, z_K))

    latent_model = MODEL._replace(log_likelihood=log_likelihood)
    for model_steps, finite in ((1, True), (2, False)):
        system = make_system("mean_field", latent_model=latent_model)
        system = system._replace(regime=system.regime._replace(model_steps=model_steps))
        state = train.init_state(system, jax.random.key(3), start)
        _, metrics = train.train_step(state, batch_of([5, 6]), jax.random.key(4), system=system)
        assert np.isfinite(metrics.bound) == finite
        assert metrics.bad_index == (-1 if finite else INDEX[5])


QUICK = (("diagonal", "natural_gradient"),)  # the others are more of the kind


def nonlinear():
    """A model in which the steps' own derivative matters, with a datapoint: a decoder with a tanh layer."""
    decoder = networks.mlp_decoder(K, (8,), D, activation=jnp.tanh)
    latent_model = model.decoder_model(K, decoder, likelihood.bernoulli())
    x_D = jnp.asarray([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    return latent_model, latent_model.init(jax.random.key(2)), x_D


@pytest.mark.parametrize(
    ("family", "solver"),
    [
        pytest.param(family, solver, marks=[] if (family, solver) in QUICK else [pytest.mark.slow])
        for family in FAMILIES
        for solver in ("natural_gradient", "adam")
    ],
)
def test_the_unrolled_gradient_is_that_of_the_whole(family, solver):
    """Against central differences along random directions of theta and of psi; the draws are fixed."""
    latent_model, theta, x_D = nonlinear()
    theta = jax.tree.map(lambda a: 2.0 * a, theta)
    q = FAMILIES[family](K)
    encoder = networks.mlp_encoder(D, (4,), q.init(), activation=jnp.tanh, output_scale=0.5)
    psi = encoder.init(jax.random.key(3))
    loop = make_loop(q, 4, rate=0.2, num_samples=4, solver=solver)
    learner = regime.semi_amortized(encoder, q, latent_model, loop, unrolled=True)

    def bound(parameters):
        theta, psi = parameters
        phi_P = learner.phi(theta, psi, x_D, 0, jax.random.key(4))
        draws = partial(objective.elbo, num_samples=8, antithetic=True)
        return draws(bind(latent_model, theta, x_D), learner.family, phi_P, jax.random.key(5))

    flat, unravel = ravel_pytree((theta, psi))
    gradient = jax.grad(lambda v: bound(unravel(v)))(flat)
    value = jax.jit(lambda v: bound(unravel(v)))
    count, step = ravel_pytree(theta)[0].size, 3e-3
    for seed in range(6):
        # Of theta alone, then of psi alone; half along the gradient, so that there is a slope to be seen.
        part = (jnp.arange(flat.size) < count) == (seed % 2 == 0)
        direction = part * (gradient / jnp.linalg.norm(part * gradient))
        noise = part * jax.random.normal(jax.random.key(10 + seed), flat.shape)
        direction += noise / jnp.linalg.norm(noise)
        direction /= jnp.linalg.norm(direction)
        slope = (value(flat + step * direction) - value(flat - step * direction)) / (2 * step)
        # float32 values near 4 have rounding 2e-6, over a step of 6e-3; differences have a bias of step^2.
        assert float(gradient @ direction) == pytest.approx(float(slope), abs=3e-3, rel=2e-2)
        assert abs(float(slope)) > 0.03


def test_the_unrolled_gradient_is_finite_where_a_step_has_no_length():
    """At the optimum, the prior, whose stick-the-landing gradient is 0 for every draw."""
    latent_model = MODEL._replace(log_likelihood=lambda theta, x_D, z_K: jnp.sum(theta.weight_DxK) * 0.0)
    q = posterior.diagonal(K)
    learner = make_loop(q, 3)

    def bound(phi_P):
        log_joint = bind(latent_model, latent_model.init(jax.random.key(0)), X[0])
        moved_P, _ = ascend(learner, log_joint, phi_P, learner.solver.init(phi_P), jax.random.key(4))
        return objective.elbo(log_joint, q, moved_P, jax.random.key(5), num_samples=2, antithetic=True)

    assert np.all(np.isfinite(jax.grad(bound)(q.init())))


@pytest.mark.slow
def test_stopped_gradients_are_those_of_two_bounds():
    """theta at the refined phi, held fixed; psi at the encoder's own phi, with theta held fixed."""
    system = make_system("stopped")._replace(optimizer=optax.sgd(1.0))
    state = train.init_state(system, jax.random.key(3))
    batch, key = batch_of([5]), jax.random.key(8)
    key_point = jax.random.fold_in(key, batch.index_B[0])
    x_D, learner = batch.x_BxD[0], system.regime
    refined_P = learner.phi(state.theta, state.psi, x_D, 0, jax.random.fold_in(key_point, train.REFINE))

    def bound(theta, phi_P):
        return system.objective(bind(MODEL, theta, x_D), system.family, phi_P, key_point)

    of_theta = jax.grad(bound)(state.theta, refined_P)
    of_psi = jax.grad(lambda psi: bound(state.theta, learner.start(psi, x_D)))(state.psi)
    after, metrics = train.train_step(state, batch, key, system=system)
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, after.theta, jax.tree.map(jnp.add, state.theta, of_theta))
    jax.tree.map(close, after.psi, jax.tree.map(jnp.add, state.psi, of_psi))
    np.testing.assert_allclose(metrics.bound, bound(state.theta, refined_P), rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_refinement_raises_the_bound(family):
    system = make_system("stopped", FAMILIES[family](K), num_steps=5)
    state = jax.device_get(train.init_state(system, jax.random.key(3)))
    start_NxP = jax.vmap(
        lambda x: same_distribution(system.regime.start(state.psi, x), system.regime.family, system.family)
    )(X)
    refined_NxP = learned_phi(system, state)
    bounds = [
        exact_gap(MODEL, system.family, state.theta, X, np.asarray(phi)).elbo_amortized
        for phi in (start_NxP, refined_NxP)
    ]
    gained = mean_and_stderr(bounds[1] - bounds[0])
    assert gained["mean"] > 5 * gained["stderr"]


def test_a_row_that_is_not_finite_is_named_and_harms_no_other():
    """The likelihood of one datapoint is not a number: its row stays, the others move as without it."""
    bad = 11
    latent_model = MODEL._replace(
        log_likelihood=lambda theta, x_D, z_K: (
            # times, so that its gradient is not a number either
            jnp.where(x_D[0] == 1e6, jnp.nan, 1.0) * MODEL.log_likelihood(theta, jnp.minimum(x_D, 1e3), z_K)
        )
    )
    x_NxD = X.copy()
    x_NxD[bad, 0] = 1e6
    system = make_system("mean_field", latent_model=latent_model)
    with pytest.raises(NonFiniteError, match=f"index {INDEX[bad]}"):
        run_steps(system, 6, x_NxD=x_NxD, chunk_size=1)
    patient = system._replace(optimizer=optax.apply_if_finite(system.optimizer, 3))
    state = run_steps(patient, 6, x_NxD=x_NxD, chunk_size=1, max_skipped=3)
    start = system.regime.init(jax.random.key(0))
    np.testing.assert_array_equal(state.psi.phi_NxP[bad], start.phi_NxP[bad])
    assert np.all(np.isfinite(state.psi.phi_NxP))
    others = np.delete(state.psi.phi_NxP, bad, axis=0)
    assert np.all(np.max(np.abs(others), axis=1) > 1e-3)


def test_a_new_datapoint_is_inferred_from_the_prior_to_the_optimum():
    learner = make_system("mean_field", latent_model=CORRELATED).regime
    theta = CORRELATED.init(jax.random.key(6))
    table = learner.init(jax.random.key(0))
    keys_N = jax.random.split(jax.random.key(1), N)
    phi_NxP = jax.vmap(learner.recognise, (None, None, 0, 0))(theta, table, X, keys_N)
    gaps = exact_gap(CORRELATED, posterior.diagonal(K), theta, X, np.asarray(phi_NxP))
    assert np.max(gaps.amortization) < 0.05


def test_the_bytes_of_a_table_are_those_of_its_arrays():
    family = posterior.full(K)
    for solver in ("natural_gradient", "adam", "quasi_newton"):
        loop = make_loop(family, 1, solver=solver)
        table = regime.mean_field(family, MODEL, loop, loop, num_points=7, model_steps=1, at_once=False).init(
            jax.random.key(0)
        )
        assert regime.table_bytes(loop, 7) == sum(leaf.nbytes for leaf in jax.tree.leaves(table))


def test_steps_take_the_draws_of_the_inner_loop():
    """`ascend` and `infer` are the same steps: fresh draws at each, from the same keys."""
    loop, theta = make_loop(posterior.diagonal(K), 7), MODEL.init(jax.random.key(6))
    log_joint, key = bind(MODEL, theta, X[0]), jax.random.key(1)
    phi_P = loop.family.init()
    fitted = infer(
        loop.solver,
        log_joint,
        loop.family,
        phi_P,
        key,
        num_steps=7,
        certificate_groups=3,
        tolerance=1.0,
    )
    key_steps, _ = jax.random.split(key)
    found_P, _ = ascend(loop, log_joint, phi_P, loop.solver.init(phi_P), key_steps)
    np.testing.assert_allclose(found_P, fitted.phi_P, rtol=1e-5, atol=1e-6)


def test_rows_are_found_by_their_index_whatever_the_order_of_the_examples():
    config = linear_gaussian.get_config("smoke")
    experiment = build(config)
    index_N = np.array([30, 10, 20, 40], np.int32)
    split = experiment.train_split._replace(index_N=index_N)
    phi_NxP = jnp.arange(4.0)[:, None] + jnp.zeros((4, 10))
    table = regime.Table(phi_NxP, ())
    found = trained._rows_of_table(
        experiment._replace(train_split=split), table, np.array([10, 40, 30], np.int32)
    )
    np.testing.assert_array_equal(found[:, 0], [1.0, 3.0, 0.0])
