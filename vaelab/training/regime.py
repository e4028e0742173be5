"""Learning regimes: where the phi of a training datapoint comes from, and how it is learned beside theta.

All are about one bound, the mean of L[q_phi_n] over the datapoints, in theta and phi_1 .. phi_N together:

amortized       phi_n = f_psi(x_n), with psi the weights of an encoder
semi_amortized  phi_n = T steps of the inner loop from f_psi(x_n)
mean_field      phi_n is a row of a table that the inner loop moves, a few steps each time that n is in a
                batch; then theta takes a gradient step with the rows held fixed. No E- and no M-step need be
                complete, as both climb the same bound (Neal & Hinton 1998)

For a fixed theta the best table is never below the best encoder, as any encoder fills a table.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from vaelab.inference.loop import Loop, ascend
from vaelab.model.latent import bind
from vaelab.posterior.chain import of_model
from vaelab.posterior.project import same_distribution
from vaelab.types import Array, Encoder, Key, LatentModel, Params, PosteriorFamily


class Batch(NamedTuple):
    """Observed datapoints of the training set: x_BxD, the rows that they are in it, their stable indices."""

    x_BxD: Array
    row_B: Array
    index_B: Array


class Table(NamedTuple):
    """psi of mean-field learning: phi of each training datapoint, and what its solver remembers of it."""

    phi_NxP: Array
    solver_state: Any


class Regime(NamedTuple):
    """How psi is learned together with theta; one datapoint each, but for `expect`.

    family: in whose coordinates `phi` is; of the same distributions as the family that is learned.
    init(key) -> psi
    phi(theta, psi, x_D, row, key) -> phi_P     of a training datapoint: where the bound is taken
    recognise(theta, psi, x_D, key) -> phi_P    of any datapoint, in the coordinates of the family learned
    encode(psi, x_D) -> phi_P                   of the encoder alone; None where there is none, or where phi
                                                hangs on theta too
    start(psi, x_D) -> phi_P                    where psi learns, with theta held fixed, if not through `phi`
    expect(theta, psi, batch, key) -> psi       the E-steps of a batch; None where psi learns by gradient
    model_steps                                 gradient steps on theta for each batch
    at_once                                     whether these are taken from the psi before `expect`
    refined                                     whether steps of an inner loop follow the encoder
    """

    family: PosteriorFamily
    init: Callable[[Key], Params]
    phi: Callable[[Params, Params, Array, Array, Key], Array]
    recognise: Callable[[Params, Params, Array, Key], Array]
    encode: Callable[[Params, Array], Array] | None = None
    start: Callable[[Params, Array], Array] | None = None
    expect: Callable[[Params, Params, Batch, Key], Params] | None = None
    model_steps: int = 1
    at_once: bool = False
    refined: bool = False


def amortized(encoder: Encoder, family: PosteriorFamily) -> Regime:
    """phi = encoder(x), with what the family shares with the model. (Kingma & Welling 2014.)"""

    def recognise(theta: Params, psi: Params, x_D: Array) -> Array:
        return of_model(family, theta, encoder.apply(psi, x_D))

    return Regime(
        family=family,
        init=encoder.init,
        phi=lambda theta, psi, x_D, row, key: recognise(theta, psi, x_D),
        recognise=lambda theta, psi, x_D, key: recognise(theta, psi, x_D),
        encode=encoder.apply if family.shared_of is None else None,
    )


def semi_amortized(
    encoder: Encoder, family: PosteriorFamily, model: LatentModel, loop: Loop, *, unrolled: bool
) -> Regime:
    """phi = T steps of the loop from encoder(x).

    unrolled: the gradient in theta and psi is that through all the steps, each computed anew on the way back,
        so that memory does not grow with what a step keeps (Kim, Wiseman, Miller, Sontag & Rush 2018). Else
        theta takes the gradient at the refined phi, held fixed, and the encoder that of its own bound, at
        encoder(x) with theta held fixed (Krishnan, Liang & Hoffman 2018).
    """

    def start(psi: Params, x_D: Array) -> Array:
        return same_distribution(ravel_pytree(encoder.apply(psi, x_D))[0], family, loop.family)

    def refined(theta: Params, psi: Params, x_D: Array, key: Key) -> Array:
        phi_P = start(psi, x_D)
        return ascend(loop, bind(model, theta, x_D), phi_P, loop.solver.init(phi_P), key, remat=unrolled)[0]

    def phi(theta: Params, psi: Params, x_D: Array, row: Array, key: Key) -> Array:
        return refined(theta, psi, x_D, key) if unrolled else refined(*_held(theta, psi), x_D, key)

    return Regime(
        family=loop.family,
        init=encoder.init,
        phi=phi,
        recognise=lambda *arguments: same_distribution(refined(*arguments), loop.family, family),
        encode=encoder.apply,
        start=None if unrolled else start,
        refined=True,
    )


def _held(*trees: Params) -> tuple[Params, ...]:
    return jax.lax.stop_gradient(trees)


def mean_field(
    family: PosteriorFamily,
    model: LatentModel,
    loop: Loop,
    from_scratch: Loop,
    *,
    num_points: int,
    model_steps: int,
    at_once: bool,
) -> Regime:
    """A phi for each of num_points training datapoints, from the prior, moved by the loop's steps in a batch.

    A datapoint that is new gets its phi from scratch, from the prior by the other loop. Rows that came out
    not finite keep their old phi; the bound there is not finite, and training says which they are.
    """
    coordinates = loop.family

    def init(key: Key) -> Table:
        row_P = coordinates.init()
        row = Table(row_P, loop.solver.init(row_P))
        return jax.tree.map(lambda a: jnp.tile(a, (num_points,) + (1,) * jnp.ndim(a)), row)

    def expect(theta: Params, table: Table, batch: Batch, key: Key) -> Table:
        def one(row: Table, x_D: Array, index: Array) -> Table:
            log_joint = bind(model, theta, x_D)
            moved = Table(*ascend(loop, log_joint, *row, jax.random.fold_in(key, index)))
            finite = jnp.all(jnp.isfinite(moved.phi_NxP))
            return jax.tree.map(partial(jnp.where, finite), moved, row)

        moved = jax.vmap(one)(jax.tree.map(lambda a: a[batch.row_B], table), batch.x_BxD, batch.index_B)
        # A datapoint that is in the batch twice has twice the same draws: both copies are one.
        return jax.tree.map(lambda old, new: old.at[batch.row_B].set(new), table, moved)

    def recognise(theta: Params, table: Table, x_D: Array, key: Key) -> Array:
        searched, phi_P = from_scratch.family, from_scratch.family.init()
        state = from_scratch.solver.init(phi_P)
        phi_P, _ = ascend(from_scratch, bind(model, theta, x_D), phi_P, state, key)
        return same_distribution(phi_P, searched, family)

    return Regime(
        family=coordinates,
        init=init,
        phi=lambda theta, table, x_D, row, key: table.phi_NxP[row],
        recognise=recognise,
        expect=expect,
        model_steps=model_steps,
        at_once=at_once,
    )


def table_bytes(loop: Loop, num_points: int) -> int:
    """Bytes of the table of mean-field learning, in the memory and in a checkpoint alike."""
    phi_P = jax.eval_shape(loop.family.init)
    leaves = jax.tree.leaves((phi_P, jax.eval_shape(loop.solver.init, phi_P)))
    return num_points * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
