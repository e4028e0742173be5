"""Other modes than those of the fits, looked for at every datapoint; and log p(x) from the prior's side.

A pilot of datapoints is searched from many starts, and its log p(x) is estimated once more by a sampler that
knows nothing of any fit: sequential Monte Carlo from a wide Gaussian distribution, whose particles are starts
too. Where the pilot shows one mode at each of its datapoints, every other one gets a look of a few dozen
evaluations, and the search only where that look shows something; else all are searched.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.evidence.weights import Evidence
from vaelab.inference.climb import Climb, climb
from vaelab.inference.modes import Modes, tell_apart
from vaelab.inference.starts import TOPS, dip_between, grid, kind_of_start, starting_points
from vaelab.measure.prior_side import from_prior, nothing
from vaelab.measure.subject import Inputs, SearchSettings, Subject
from vaelab.model.latent import bind
from vaelab.model.prior import has_known_prior
from vaelab.runtime.chunks import map_datapoints
from vaelab.runtime.devices import take
from vaelab.types import Array, Key, LatentModel, Params, PosteriorFamily

WIDER = 2.0  # the start of the second search, beyond what the ascents of the first have reached
COUNTED = 7.0  # nats below the heaviest, to which a mode is counted: a thousandth of it


class Searched(NamedTuple):
    """What a search has shown of each datapoint, [N] in front.

    modes: see `Modes`; where there was a look alone, one mode at the fit's own mean, of no weight
    searched: whether there was a search, and not a look alone
    prior_side: `Evidence` from the prior's side; its numbers are NaN outside the pilot
    """

    modes: Modes
    searched: np.ndarray
    prior_side: Evidence

    @classmethod
    def template(cls) -> "Searched":
        """The structure without its arrays."""
        return cls(Modes.template(), 0, Evidence.template())

    @property
    def num_modes(self) -> np.ndarray:
        """How many modes are within COUNTED of the heaviest, [N]; 1 at least."""
        weight_NxM = np.float64(self.modes.log_weight_M)
        some_NxM = np.isfinite(weight_NxM) & (weight_NxM >= weight_NxM.max(axis=1, keepdims=True) - COUNTED)
        return np.maximum(some_NxM.sum(axis=1), 1)


class Fitted(NamedTuple):
    """The fits of one datapoint in each of F families: the images of eps = 0, their means where Gaussian.

    center_FxK, and sd_K, the standard deviations of the first family's; what is not finite is the prior's.
    """

    center_FxK: Array
    sd_K: Array


def pilot_rows(count: int, wanted: int) -> np.ndarray:
    """The datapoints of the pilot, evenly spaced among all."""
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(int))


def fitted(families: dict[str, PosteriorFamily], phis: dict[str, np.ndarray], memory: Any) -> Fitted:
    """What a search takes from the fits, phi_NxP of each family."""
    return map_datapoints(
        _fitted,
        None,
        tuple(phis.values()),
        static=tuple(families[name] for name in phis),
        chunk_size=memory,
    )


MOMENTS = 64  # draws behind the standard deviations of a flow


def _fitted(*arguments: Any) -> Fitted:
    *families, _, phis = arguments
    K = families[0].latent_dim
    phis = [jnp.where(jnp.all(jnp.isfinite(p)), p, f.init()) for f, p in zip(families, phis, strict=True)]
    centers = [f.reparameterize(phi, jnp.zeros(K)) for f, phi in zip(families, phis, strict=True)]
    first, phi_P = families[0], phis[0]
    if first.gaussian is not None:
        sd_K = jnp.sqrt(jnp.sum(first.gaussian.location_scale(phi_P)[1] ** 2, axis=1))
    else:
        eps_SxK = jax.random.normal(jax.random.key(0), (MOMENTS, K))
        sd_K = jnp.std(jax.vmap(first.reparameterize, (None, 0))(phi_P, eps_SxK), axis=0)
    return Fitted(jnp.stack(centers), sd_K)


def search_pilot(subject: Subject, inputs: Inputs, at: Fitted, key: Key) -> Searched:
    """The modes of each of these datapoints from all kinds of starts, and log p(x) from the prior's side.

    A mode that has a share s of its neighbours' volume is met by about s S of S particles, so that the ones
    that a first search has shown are not all there are: where it has shown several at some datapoint there
    is a second one from `growth` times the particles, WIDER apart at its start where the prior is not known,
    and ascents from those farthest from what is known. `narrowest` says what it may still not have met.
    """
    settings = subject.settings.search
    none_NxMxK = np.full(
        (len(inputs.index_N), settings.max_modes, subject.model.latent_dim), np.nan, np.float32
    )
    ends = _ends(subject, inputs, at, none_NxMxK, key)
    prior_side, particles = from_prior(subject, inputs, ends, jax.random.fold_in(key, 1), settings.tempering)

    def with_more(ends: Climb, z_NxSxK: np.ndarray) -> Climb:
        more = _climbed(subject, inputs, z_NxSxK)
        return Climb(*(np.concatenate(pair, axis=1) for pair in zip(ends, more, strict=True)))

    if particles is not None:
        ends = with_more(ends, particles[:, : settings.tempering.num_particles])  # one run's
    modes = _told_apart(subject, inputs, ends, none_NxMxK)
    searched = Searched(modes, np.ones(len(inputs.index_N), bool), prior_side)
    if particles is None or not is_searched_twice(settings, subject.model.latent_dim, searched.num_modes):
        return searched
    enlarged = settings.enlarged(subject.model.latent_dim)
    key = jax.random.fold_in(key, 6)
    prior_side, particles = from_prior(subject, inputs, ends, key, enlarged, wider=WIDER)
    farthest = farthest_from(modes, particles, settings.tempering.num_particles)
    modes = _told_apart(subject, inputs, with_more(ends, farthest), none_NxMxK)
    return searched._replace(modes=modes, prior_side=prior_side)


def is_searched_twice(settings: SearchSettings, latent_dim: int, num_modes: np.ndarray) -> bool:
    """Whether a pilot with these numbers of modes has a second search."""
    return settings.enlarged(latent_dim) != settings.tempering and bool(np.any(num_modes > 1))


def narrowest(settings: SearchSettings, latent_dim: int, *, twice: bool) -> float | None:
    """The width, as a part of the widest mode's, of a mode that a search of several is just expected to meet.

    A mode f times as wide in each of K dimensions has f^K of the volume, and one of S particles at
    f = S^(-1/K). None where there is no sampler, and where a grid of nodes is looked over, for K <= 2.
    twice: whether there was a second search, which takes the particles of all runs.
    """
    if latent_dim <= 2 or not settings.tempering.num_runs:
        return None
    if not twice:
        return float(settings.tempering.num_particles ** (-1.0 / latent_dim))
    tempering = settings.enlarged(latent_dim)
    return float((tempering.num_runs * tempering.num_particles) ** (-1.0 / latent_dim))


def farthest_from(modes: Modes, z_NxSxK: np.ndarray, count: int) -> np.ndarray:
    """The `count` of z_SxK of each datapoint that are farthest from all its modes, in units of their axes."""
    some_NxM = np.isfinite(modes.log_weight_M)
    square_NxS = np.full(z_NxSxK.shape[:2], np.inf)
    for m in range(some_NxM.shape[1]):  # one at a time: all at once are M times the particles
        away_NxSxK = (np.float64(z_NxSxK) - modes.z_MxK[:, m, None]) / modes.axis_MxK[:, m, None]
        square_NxS = np.where(
            some_NxM[:, m, None], np.fmin(square_NxS, np.sum(away_NxSxK**2, axis=2)), square_NxS
        )
    order_NxS = np.argsort(-square_NxS, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(z_NxSxK, order_NxS[:, :, None], axis=1)


def search_rest(
    subject: Subject, inputs: Inputs, at: Fitted, key: Key, *, pilot: Searched, everywhere: bool
) -> Searched:
    """The modes of each of these datapoints, with those of the pilot among the starts.

    everywhere: whether all are searched, or only those at which a look shows something.
    """
    settings, count = subject.settings.search, len(inputs.index_N)
    searched = np.full(count, everywhere)
    if not everywhere:
        rows = (*inputs, at)
        static = subject.model, settings.look_starts, settings.look_steps
        looked = map_datapoints(
            _look, (subject.theta, key), rows, static=static, chunk_size=subject.settings.memory
        )
        searched = np.asarray(looked)
    result = _unsearched(at, settings.max_modes)
    rows = np.flatnonzero(searched)
    if rows.size:
        # Copies fill up to a number of rows that does not depend on how many there are: one program.
        padded = np.resize(rows, max(rows.size, min(settings.pilot_points, count)))
        inputs, at = take((inputs, at), padded)
        more_NxMxK = _of_pilot(pilot, inputs.index_N)
        modes = _told_apart(subject, inputs, _ends(subject, inputs, at, more_NxMxK, key), more_NxMxK)
        for whole, part in zip(jax.tree.leaves(result), jax.tree.leaves(modes), strict=True):
            whole[rows] = part[: rows.size]
    return Searched(result, searched, nothing(count))


def _unsearched(at: Fitted, num_modes: int) -> Modes:
    count, num_families, _ = at.center_FxK.shape
    weight_NxM = np.full((count, num_modes), -np.inf, np.float32)
    weight_NxM[:, 0] = np.nan  # a place that has been looked at and not weighed
    return Modes(
        np.repeat(at.center_FxK[:, :1], num_modes, axis=1),
        np.repeat(at.sd_K[:, None], num_modes, axis=1),
        weight_NxM,
        weight_NxM.copy(),
        np.zeros((count, num_families), np.int32),
        np.zeros(count, bool),
        np.zeros((count, num_modes), np.int32),
    )


def _of_pilot(pilot: Searched, index_N: np.ndarray) -> np.ndarray:
    """The modes of one of the pilot's datapoints for each of others, by their indices, as `[N, M, K]`."""
    z_NxMxK = np.where(np.isfinite(pilot.modes.log_weight_M)[:, :, None], pilot.modes.z_MxK, np.nan)
    return z_NxMxK[index_N % len(z_NxMxK)]


def _ends(subject: Subject, inputs: Inputs, at: Fitted, more_NxMxK: np.ndarray, key: Key) -> Climb:
    settings, model = subject.settings.search, subject.model
    static = model, settings.num_starts, settings.num_nodes if model.latent_dim <= 2 else 0
    shared = subject.theta, jax.random.fold_in(key, 0)
    memory = subject.settings.memory
    z_NxSxK = map_datapoints(_starts, shared, (*inputs, at, more_NxMxK), static=static, chunk_size=memory)
    return _climbed(subject, inputs, z_NxSxK)


def _starts(
    model: LatentModel, num_starts: int, num_nodes: int, shared: tuple[Params, Key], row: tuple[Any, ...]
) -> Array:
    (theta, key), (x_D, index, at, more_MxK) = shared, row
    known = has_known_prior(model)
    key = jax.random.fold_in(key, index)
    own_SxK = None if known else draws_of_prior(model, theta, key, num_starts)
    z_SxK = starting_points(
        key, at.center_FxK, at.sd_K, more_MxK, num_starts=num_starts, wide=not known, prior_SxK=own_SxK
    )
    if num_nodes:
        tops_JxK = grid(bind(model, theta, x_D), model.latent_dim, num_nodes=num_nodes, wide=not known)
        z_SxK = jnp.concatenate([z_SxK, tops_JxK])
    return z_SxK


def draws_of_prior(model: LatentModel, theta: Params, key: Key, count: int) -> Array | None:
    """z_SxK ~ p(z); None of a prior that is not known, or cannot be sampled."""
    if model.sample_prior is None:
        return None
    keys_S = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, 7), jnp.arange(count))
    return jax.vmap(model.sample_prior, (None, 0))(theta, keys_S)


def _climbed(subject: Subject, inputs: Inputs, z_NxSxK: np.ndarray) -> Climb:
    static = subject.model, subject.settings.search.num_steps
    rows = inputs.x_NxD, z_NxSxK
    return map_datapoints(_climb_all, subject.theta, rows, static=static, chunk_size=subject.settings.memory)


def _climb_all(model: LatentModel, num_steps: int, theta: Params, row: tuple[Any, Array]) -> Climb:
    x_D, z_SxK = row
    return jax.vmap(partial(climb, bind(model, theta, x_D), num_steps=num_steps))(z_SxK)


def _told_apart(subject: Subject, inputs: Inputs, ends: Climb, more_NxMxK: np.ndarray) -> Modes:
    """The modes, each with the kind of start that led there; more_NxMxK: of `starting_points`."""
    settings, num_fits = subject.settings.search, len(subject.settings.families)
    static = subject.model, settings.max_modes, num_fits, settings.polish_steps
    rows = inputs.x_NxD, ends
    modes = map_datapoints(_tell_all, subject.theta, rows, static=static, chunk_size=subject.settings.memory)
    kind_NxM = kind_of_start(
        modes.start_M,
        np.isfinite(more_NxMxK).all(axis=2).sum(axis=1),
        subject.model.latent_dim,
        num_fits=num_fits,
        num_more=more_NxMxK.shape[1],
        num_starts=settings.num_starts,
        num_tops=min(TOPS, settings.num_nodes) if subject.model.latent_dim <= 2 else 0,
    )
    return modes._replace(start_M=np.int32(kind_NxM))


def _tell_all(
    model: LatentModel, num_modes: int, num_given: int, num_polish: int, theta: Params, row: tuple[Any, Climb]
) -> Modes:
    x_D, ends = row
    sizes = {"num_modes": num_modes, "num_given": num_given, "num_polish": num_polish}
    return tell_apart(bind(model, theta, x_D), ends, **sizes)


def _look(
    model: LatentModel, num_starts: int, num_steps: int, shared: tuple[Params, Key], row: tuple[Any, ...]
) -> Array:
    """Whether an ascent from one of a few draws ends beyond a dip of log p(x, z) from the fit's mean."""
    (theta, key), (x_D, index, at) = shared, row
    log_joint, key = bind(model, theta, x_D), jax.random.fold_in(jax.random.fold_in(key, 4), index)
    z_SxK = jax.random.normal(key, (num_starts, model.latent_dim))
    if not has_known_prior(model):
        # Of no known prior: about the fit, at its scale and larger ones.
        stretch_S = 3.0 ** jnp.arange(1, num_starts + 1)
        about_SxK = at.center_FxK[:1] + stretch_S[:, None] * at.sd_K[None, :] * z_SxK
        own_SxK = draws_of_prior(model, theta, key, num_starts)
        z_SxK = about_SxK if own_SxK is None else own_SxK
    ends = jax.vmap(partial(climb, log_joint, num_steps=num_steps))(z_SxK)
    return jnp.any(dip_between(log_joint, ends, at.center_FxK[0], at.sd_K))
