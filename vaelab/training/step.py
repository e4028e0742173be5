"""Training: the state, and one step of it."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from vaelab.model.latent import bind
from vaelab.training.regime import Batch, Regime
from vaelab.types import Array, Key, LatentModel, Objective, Params, PosteriorFamily

REFINE = 1  # folded into a datapoint's key for the draws of its refinement


class System(NamedTuple):
    """What is trained and how; fixed during a run.

    family: the distributions that are learned; regime: how phi is, in coordinates of its own.
    observe(key, pixels_D) -> x_D: the observation made of one stored example.
    learn_model: whether theta is trained with psi, or held fixed.
    kl_weight(step) -> []: where given, the `beta` that the objective takes at each step.
    weighs_kl: whether the objective takes the model's `log_prior`, which is then not N(0, I).
    """

    model: LatentModel
    family: PosteriorFamily
    regime: Regime
    objective: Objective
    optimizer: optax.GradientTransformation
    observe: Callable[[Key, Array], Array]
    learn_model: bool = True
    kl_weight: Callable[[Array], Array] | None = None
    weighs_kl: bool = False


class TrainState(NamedTuple):
    """What training carries from step to step, and all that a checkpoint holds."""

    step: Array
    theta: Params
    psi: Params
    opt_state: optax.OptState


class StepMetrics(NamedTuple):
    """bound: batch mean of the objective, nats. grad_norm: global norm before clipping.

    bad_index: the index of the batch's first datapoint whose bound is not finite, -1 where all are.
    """

    bound: Array
    grad_norm: Array
    bad_index: Array


def _trainable(system: System, theta: Params, psi: Params) -> dict[str, Params]:
    """What the optimizer moves: psi not, where the regime has steps of its own for it."""
    trainable = {"theta": theta} if system.learn_model else {}
    return trainable if system.regime.expect else {**trainable, "psi": psi}


def _tied(system: System, theta: Params, psi: Params) -> Params:
    """theta with what it has of the encoder's parameters; a model that is held fixed keeps what it had."""
    tie = system.model.tie
    return theta if tie is None or not system.learn_model else tie(theta, psi)


@partial(jax.jit, static_argnames="system")
def init_state(system: System, key: Key, theta: Params | None = None) -> TrainState:
    """The state before the first step; `theta` replaces the model's own initial parameters."""
    key_theta, key_psi = jax.random.split(key)
    theta = system.model.init(key_theta) if theta is None else theta
    psi = system.regime.init(key_psi)
    theta = _tied(system, theta, psi)
    return TrainState(jnp.int32(0), theta, psi, system.optimizer.init(_trainable(system, theta, psi)))


def train_step(
    state: TrainState, batch: Batch, key: Key, *, system: System
) -> tuple[TrainState, StepMetrics]:
    """One ascent step of the mean objective over a batch, or the E- and M-steps of mean-field learning.

    Each datapoint's draws come from fold_in(key, its index), so they do not depend on the batch around it.
    """
    regime = system.regime
    if regime.expect is None:
        state, metrics = _gradient_step(state, state.psi, batch, key, system=system)
    else:
        key_expect, key = jax.random.split(key)
        psi = regime.expect(state.theta, state.psi, batch, key_expect)
        held = state.psi if regime.at_once else psi

        def model_step(state: TrainState, m: Array) -> tuple[TrainState, StepMetrics]:
            return _gradient_step(state, held, batch, jax.random.fold_in(key, m), system=system)

        state, metrics = jax.lax.scan(model_step, state._replace(psi=()), jnp.arange(regime.model_steps))
        state = state._replace(psi=psi)
        # The bound is the first, at the theta that the batch met; a later one that is not finite shows.
        finite = jnp.all(jnp.isfinite(metrics.bound))
        bound = jnp.where(finite, metrics.bound[0], jnp.nan)
        metrics = StepMetrics(bound, jnp.max(metrics.grad_norm), jnp.max(metrics.bad_index))
    return state._replace(step=state.step + 1), metrics


def _gradient_step(
    state: TrainState, psi: Params, batch: Batch, key: Key, *, system: System
) -> tuple[TrainState, StepMetrics]:
    """One step of the optimizer on what it moves of (state.theta, psi), the rest held fixed."""
    regime, objective = system.regime, system.objective
    if system.kl_weight is not None:
        objective = partial(objective, beta=system.kl_weight(state.step))

    def value_at(theta: Params, x_D: Array, phi_P: Array, key: Key) -> Array:
        more = {"log_prior": partial(system.model.log_prior, theta)} if system.weighs_kl else {}
        return objective(bind(system.model, theta, x_D), regime.family, phi_P, key, **more)

    def loss(trainable: dict[str, Params]) -> tuple[Array, Array]:
        encoder_psi = trainable.get("psi", psi)
        theta = _tied(system, trainable.get("theta", state.theta), encoder_psi)

        def bound(x_D: Array, row: Array, index: Array) -> tuple[Array, Array]:
            key_point = jax.random.fold_in(key, index)
            phi_P = regime.phi(theta, encoder_psi, x_D, row, jax.random.fold_in(key_point, REFINE))
            value = value_at(theta, x_D, phi_P, key_point)
            if regime.start is None:
                return value, value
            own = value_at(jax.lax.stop_gradient(theta), x_D, regime.start(encoder_psi, x_D), key_point)
            return value + own, value

        ascended_B, bound_B = jax.vmap(bound)(*batch)
        return -jnp.mean(ascended_B), bound_B

    trainable = _trainable(system, state.theta, psi)
    (_, bound_B), grads = jax.value_and_grad(loss, has_aux=True)(trainable)
    finite_B, grad_norm = jnp.isfinite(bound_B), optax.tree.norm(grads)
    # A bound or norm that is not finite may have finite gradients, which no optimizer would then leave out:
    # one of 1e20, whose square is infinite, would be Adam's second moment for good.
    finite = jnp.all(finite_B) & jnp.isfinite(grad_norm)
    grads = jax.tree.map(lambda g: jnp.where(finite, g, jnp.nan), grads)
    bad_index = jnp.where(jnp.all(finite_B), -1, batch.index_B[jnp.argmin(finite_B)])
    updates, opt_state = system.optimizer.update(grads, state.opt_state, trainable)
    trainable = optax.apply_updates(trainable, updates)
    new_psi = trainable.get("psi", state.psi)
    new_theta = _tied(system, trainable.get("theta", state.theta), new_psi)
    state = state._replace(theta=new_theta, psi=new_psi, opt_state=opt_state)
    return state, StepMetrics(jnp.mean(bound_B), grad_norm, bad_index)
