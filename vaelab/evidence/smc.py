"""log p(x) by tempered sequential Monte Carlo, for one datapoint (Del Moral, Doucet & Jasra 2006).

Particles move along the path of `transition` with BlackJAX's tempered SMC: each temperature is the one at
which the effective size of the particles' weights falls to a wanted share.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from vaelab.evidence.annealing import Annealing, Pilot, fly, pilot_evaluations
from vaelab.evidence.transition import LogWeight, hmc_step
from vaelab.evidence.weights import Evidence, from_log_weights
from vaelab.model.prior import standard_normal_log_prob
from vaelab.objective.draws import log_weight
from vaelab.types import Array, Key, LogJoint, PosteriorFamily


class Tempering(NamedTuple):
    """How to temper: independent runs, and the HMC between two temperatures.

    num_runs, num_particles: how many runs, and particles of each
    num_moves, num_leapfrogs: moves of HMC at each temperature, and steps of each
    wanted_size: effective size of the weights of one step, as a share of the particles
    max_temperatures: a run that needs more is given up, and counts as weight zero
    """

    num_runs: int = 8
    num_particles: int = 64
    num_moves: int = 2
    num_leapfrogs: int = 2
    wanted_size: float = 0.9
    max_temperatures: int = 100
    target_acceptance: float = 0.8
    pilot_temperatures: int = 40
    pilot_chains: int = 16


class Tempered(NamedTuple):
    """The outcome of `sequential_monte_carlo` for one datapoint.

    evidence: its weights are the runs' estimates of p(x)
    acceptance: mean over moves, particles and runs
    num_temperatures: mean over runs
    unfinished: share of the runs that ended at max_temperatures
    particle_SxK: z of the particles, S = num_runs * num_particles, one run's after the other's
    """

    evidence: Evidence
    acceptance: Array
    num_temperatures: Array
    unfinished: Array
    particle_SxK: Array


def sequential_monte_carlo(
    log_joint: LogJoint, family: PosteriorFamily, phi_P: Array, key: Key, *, settings: Tempering
) -> Tempered:
    """log 1/R sum_r Z_r, Z_r = prod_t mean_i w(eps_i)^(b_t - b_{t-1}) over the particles of run r.

    With temperatures fixed beforehand E[Z_r] = p(x). Here each depends on the particles it weighs, and Z_r
    is only consistent: its bias is O(1 / particles), of either sign, and small beside the one that
    Jensen's inequality gives log Z_r, which is downwards (Beskos, Jasra, Kantas & Thiery 2016, section 3). So
    the estimate is low in expectation, but no bound in the strict sense of AIS.
    stderr: delta method over the R runs, which share nothing but the pilot's step sizes.
    """
    log_w = log_weight(log_joint, family, phi_P, phi_P)
    key_pilot, key_runs = jax.random.split(key)
    annealing = Annealing(
        num_leapfrogs=settings.num_leapfrogs,
        target_acceptance=settings.target_acceptance,
        pilot_temperatures=settings.pilot_temperatures,
        pilot_chains=settings.pilot_chains,
    )
    pilot = fly(log_w, key_pilot, latent_dim=family.latent_dim, settings=annealing)
    run = partial(_run, log_w, pilot, latent_dim=family.latent_dim, settings=settings)
    keys_R = jax.random.split(key_runs, settings.num_runs)
    log_Z_R, acceptance_R, count_R, finished_R, eps_RxPxK = jax.vmap(run)(keys_R)
    return Tempered(
        from_log_weights(jnp.where(finished_R, log_Z_R, -jnp.inf)),
        jnp.mean(acceptance_R),
        jnp.mean(count_R.astype(jnp.float32)),
        jnp.mean(~finished_R),
        jax.vmap(family.reparameterize, (None, 0))(phi_P, eps_RxPxK.reshape(-1, family.latent_dim)),
    )


class _Carry(NamedTuple):
    state: NamedTuple  # BlackJAX's: particles, weights, temperature
    log_Z: Array
    acceptance: Array
    count: Array


def _run(
    log_w: LogWeight, pilot: Pilot, key: Key, *, latent_dim: int, settings: Tempering
) -> tuple[Array, ...]:
    """One run: (log Z, mean acceptance, temperatures, whether it came to the posterior, its particles)."""
    from blackjax.mcmc import hmc
    from blackjax.smc import adaptive_tempered, resampling

    kernel = adaptive_tempered.build_kernel(
        standard_normal_log_prob,
        log_w,
        partial(hmc_step, num_leapfrogs=settings.num_leapfrogs),
        hmc.init,
        resampling.systematic,
        settings.wanted_size,
    )
    key_start, key_moves = jax.random.split(key)

    def step(carry: _Carry) -> _Carry:
        log_step = jnp.interp(carry.state.tempering_param, pilot.beta_J, jnp.log(pilot.step_size_J))
        parameters = {"step_size": jnp.exp(log_step)[None]}  # [1]: the same for all particles
        key = jax.random.fold_in(key_moves, carry.count)
        state, info = kernel(key, carry.state, settings.num_moves, parameters)
        acceptance = jnp.mean(info.update_info.acceptance_rate)
        return _Carry(
            state,
            carry.log_Z + info.log_likelihood_increment,
            carry.acceptance + acceptance,
            carry.count + 1,
        )

    def unfinished(carry: _Carry) -> Array:
        return (carry.state.tempering_param < 1.0) & (carry.count < settings.max_temperatures)

    eps_SxK = jax.random.normal(key_start, (settings.num_particles, latent_dim))
    state = adaptive_tempered.init(eps_SxK)._replace(tempering_param=jnp.array(0.0))
    start = _Carry(state, jnp.array(0.0), jnp.array(0.0), jnp.array(0))
    end = jax.lax.while_loop(unfinished, step, start)
    finished = end.state.tempering_param >= 1.0
    return end.log_Z, end.acceptance / end.count, end.count, finished, end.state.particles


def evaluations(settings: Tempering, num_temperatures: float) -> float:
    """Evaluations of the decoder for one datapoint, when a run takes num_temperatures on average.

    At each, a particle is weighed twice, for the temperature and after its moves, and its gradient is taken
    once before them; under vmap all runs and datapoints of a chunk do as many as the one with the most.
    """
    each = 3 + settings.num_moves * settings.num_leapfrogs
    pilot = pilot_evaluations(settings)
    return pilot + settings.num_runs * settings.num_particles * num_temperatures * each
