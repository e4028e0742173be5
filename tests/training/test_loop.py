"""Training: one step, chunks of steps, resuming, and what a run depends on."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.support import training
from vaelab import data, model, objective, posterior
from vaelab.measure.gap import exact_gap
from vaelab.model import likelihood, networks
from vaelab.runtime.program import Program
from vaelab.training import loop as train_loop
from vaelab.training import regime
from vaelab.training import step as train
from vaelab.training.skipped import NonFiniteError

LATENT_DIM, DATA_DIM, NUM_POINTS, BATCH = 3, 12, 40, 8


def make_system(*, learn_model: bool = True, learning_rate: float = 1e-2) -> train.System:
    family = posterior.diagonal(LATENT_DIM)
    decoder = networks.mlp_decoder(LATENT_DIM, (16,), DATA_DIM, activation=jnp.tanh)
    encoder = networks.mlp_encoder(DATA_DIM, (16,), family.init(), activation=jnp.tanh, output_scale=0.1)
    return train.System(
        model=model.decoder_model(LATENT_DIM, decoder, likelihood.bernoulli()),
        family=family,
        regime=regime.amortized(encoder, family),
        objective=partial(objective.elbo, num_samples=2),
        optimizer=optax.adam(learning_rate),
        observe=partial(data.binarize, max_value=16),
        learn_model=learn_model,
    )


@pytest.fixture(scope="module")
def system() -> train.System:
    return make_system()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.RandomState(0).randint(0, 17, (NUM_POINTS, DATA_DIM)).astype(np.uint8)


INDEX = np.arange(100, 100 + NUM_POINTS, dtype=np.int32)


def run_steps(system, pixels, num_steps, *, index=INDEX, **settings):
    """All yielded bounds and the last state."""
    return training.run_steps(system, pixels, index, num_steps, **settings)


def assert_same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_first_step_is_golden(system, pixels):
    # A change here changes every trained number of this project: record it in the CHANGELOG.
    state, elbos = run_steps(system, pixels, 1)
    assert int(state.step) == 1
    np.testing.assert_allclose(elbos, [-8.892342], rtol=1e-5)


def test_resumed_is_uninterrupted_bit_for_bit(system, pixels):
    whole, elbos = run_steps(system, pixels, 16)
    half, first = run_steps(system, pixels, 8)
    resumed, second = run_steps(system, pixels, 16, state=jax.device_put(half))
    assert_same_bits(whole, resumed)
    assert_same_bits(elbos, np.concatenate([first, second]))


def test_chunk_size_changes_no_result(system, pixels):
    in_fours, elbos = run_steps(system, pixels, 12, chunk_size=4)
    in_twelve, same = run_steps(system, pixels, 12, chunk_size=12)
    # Two programs for the same arithmetic: rounding only, over 12 steps.
    np.testing.assert_allclose(elbos, same, rtol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), in_fours.theta, in_twelve.theta)


def test_a_chunk_compiles_once(system, pixels):
    run_steps(system, pixels, 4)
    before = train_loop.train_chunk._cache_size()
    run_steps(system, pixels, 24)
    assert train_loop.train_chunk._cache_size() == before


def test_a_held_model_stays_as_it_was(pixels):
    frozen = make_system(learn_model=False)
    start = jax.device_get(train.init_state(frozen, jax.random.key(1)))
    state, _ = run_steps(frozen, pixels, 8)
    assert_same_bits(start.theta, state.theta)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), start.psi, state.psi)
    assert max(jax.tree.leaves(moved)) > 1e-3


def test_training_stops_at_the_first_value_that_is_not_finite_and_names_its_step(pixels):
    healthy = make_system()

    def poisoned(log_joint, family, phi_P, key):
        # True of no fresh encoder, and of every one after some steps.
        moved = jnp.max(jnp.abs(phi_P)) > 1.0
        return jnp.where(moved, jnp.nan, 1.0) * healthy.objective(log_joint, family, phi_P, key)

    system = healthy._replace(objective=poisoned)
    with pytest.raises(NonFiniteError, match=r"not finite at step (\d+)") as caught:
        run_steps(system, pixels, 400)
    step = int(str(caught.value).split("at step ")[1].split(":")[0])
    assert step > 1
    # The steps before the named one were finite.
    run_steps(system, pixels, step - 1, chunk_size=1)


def poison_one(system, pixels):
    """The system and the pixels with one datapoint, of index 108, whose likelihood is not a number."""
    pixels = pixels.copy()
    pixels[:, 0] = 0
    pixels[8, 0] = 16  # one whatever the draw, where all others are zero
    latent_model = system.model

    def log_likelihood(theta, x_D, z_K):
        value = latent_model.log_likelihood(theta, x_D, z_K)
        return jnp.where(x_D[0] == 1.0, jnp.nan, value)

    return system._replace(model=latent_model._replace(log_likelihood=log_likelihood)), pixels


def test_training_names_the_datapoint_that_is_not_finite(pixels):
    system, pixels = poison_one(make_system(), pixels)
    with pytest.raises(NonFiniteError, match="first at the datapoint of index 108"):
        run_steps(system, pixels, 10)


def test_steps_that_are_not_finite_can_be_left_out(pixels):
    """One batch of each epoch of five has the bad datapoint; the state is then that before the step."""
    system, pixels = poison_one(make_system(), pixels)
    system = system._replace(optimizer=optax.apply_if_finite(system.optimizer, 1))
    lines, kept = [], []
    for progress in training.fit_alone(
        system,
        train.init_state(system, jax.random.key(1)),
        pixels,
        INDEX,
        jax.random.key(2),
        num_steps=20,
        batch_size=BATCH,
        chunk_size=1,
        max_skipped=1,
    ):
        # Copies, as the buffers go to the next chunk.
        weights = [np.array(leaf) for leaf in jax.tree.leaves((progress.state.theta, progress.state.psi))]
        assert all(np.all(np.isfinite(w)) for w in weights)
        if progress.skipped:
            for before, after in zip(kept, weights, strict=True):
                np.testing.assert_array_equal(before, after)
        lines += progress.skipped
        kept = weights
    assert len(lines) == 4
    assert all("index 108" in line and line.startswith("step ") for line in lines)


def test_a_finite_gradient_whose_square_overflows_is_left_out(pixels):
    """1e22 times that of one datapoint, whose value stays: Adam's second moment would stay infinite."""
    healthy, pixels = make_system(), pixels.copy()
    pixels[:, 0] = 0
    pixels[8, 0] = 16
    latent_model = healthy.model

    def log_likelihood(theta, x_D, z_K):
        value = latent_model.log_likelihood(theta, x_D, z_K)
        steep = jnp.where(x_D[0] == 1.0, 1e22, 0.0) * value
        return value + steep - jax.lax.stop_gradient(steep)

    system = healthy._replace(model=latent_model._replace(log_likelihood=log_likelihood))
    with pytest.raises(NonFiniteError, match="gradient norm=inf"):
        run_steps(system, pixels, 10)
    patient = system._replace(optimizer=optax.apply_if_finite(system.optimizer, 1))
    state = run_steps(patient, pixels, 20, max_skipped=1)[0]
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state.opt_state))


def test_steps_left_out_before_a_resume_count(pixels):
    """Every batch holds the bad datapoint: one step may be left out, and the second in a row may not."""
    system, pixels = poison_one(make_system(), pixels)
    system = system._replace(optimizer=optax.apply_if_finite(system.optimizer, 1))
    settings = {
        "num_steps": 3,
        "batch_size": len(pixels),
        "chunk_size": 1,
        "max_skipped": 1,
    }
    start = train.init_state(system, jax.random.key(1))
    first = next(training.fit_alone(system, start, pixels, INDEX, jax.random.key(2), **settings))
    assert len(first.skipped) == 1
    again = next(training.fit_alone(system, first.state, pixels, INDEX, jax.random.key(2), **settings))
    assert "step 2" in again.failed


def test_the_weight_of_the_kl_follows_its_schedule(pixels):
    base = make_system()._replace(objective=partial(objective.beta_elbo, num_samples=2))
    warm = base._replace(kl_weight=lambda step: jnp.minimum(step / 4, 1.0))
    state = train.init_state(base, jax.random.key(1))
    points = regime.Batch(jnp.float32(pixels[:BATCH] > 8), jnp.arange(BATCH), jnp.asarray(INDEX[:BATCH]))
    for step in (0, 1, 4, 9):
        fixed = base._replace(objective=partial(base.objective, beta=min(step / 4, 1.0)))
        at = state._replace(step=jnp.int32(step))
        found, expected = (
            train.train_step(at, points, jax.random.key(2), system=s)[1] for s in (warm, fixed)
        )
        np.testing.assert_allclose(found.bound, expected.bound, rtol=1e-6)
        np.testing.assert_allclose(found.grad_norm, expected.grad_norm, rtol=1e-5)


def test_an_affine_encoder_closes_its_gap_on_a_linear_gaussian_model():
    """The best encoder of a linear-Gaussian model is affine: its amortization gap ends at 0."""
    latent_model = model.linear_gaussian(2, (2.0, 1.0), 0.7, 5)
    family = posterior.diagonal(2)
    theta = latent_model.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 500)
    x_NxD = jax.vmap(
        lambda k: latent_model.sample(theta, k, jax.random.normal(jax.random.fold_in(k, 1), (2,)))
    )(keys)
    encoder = networks.mlp_encoder(5, (), family.init(), activation=jnp.tanh, output_scale=0.01)
    system = train.System(
        model=latent_model,
        family=family,
        regime=regime.amortized(encoder, family),
        objective=partial(objective.stick_the_landing, num_samples=4),
        optimizer=optax.adam(optax.cosine_decay_schedule(3e-2, 800)),
        observe=lambda key, x_D: x_D,
        learn_model=False,
    )
    state, _ = training.run_steps(
        system,
        np.asarray(x_NxD),
        np.arange(500, dtype=np.int32),
        800,
        state=train.init_state(system, jax.random.key(2), theta),
        batch_size=100,
        chunk_size=400,
    )
    phi_NxP = jax.vmap(encoder.apply, (None, 0))(state.psi, x_NxD)
    closed_form = exact_gap(latent_model, family, theta, np.asarray(x_NxD), np.asarray(phi_NxP))
    assert -1e-4 < closed_form.amortization.mean() < 5e-3  # float32 rounding of bounds near -10 below


def test_training_is_compiled_without_the_options_of_what_measures():
    """These round otherwise, and a rounding grows over the steps."""
    assert not isinstance(train_loop.train_chunk, Program)
    assert callable(train_loop.train_chunk.lower)
