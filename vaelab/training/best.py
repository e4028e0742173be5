"""The best validation so far of a training, and how many there were since the last gain.

A gain is judged on the bounds L_n of each validation datapoint against those at the last gain, L'_n:

    mean of (L_n - L'_n)  >  their standard deviation / sqrt(N)

The draws of a datapoint are the same at each validation, so that the difference has none of the spread of the
bounds over the datapoints. It is taken to the last gain and not to the validation before: a slow ascent adds
up to one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.training.step import TrainState
from vaelab.types import Array, Params


class Best(NamedTuple):
    """What is stored beside a state, so that a resumed training ends where the uninterrupted one does.

    step, elbo: of the validation with the highest mean so far, nats, the first of equal ones; while none is
    finite, the newest. theta, psi: the parameters there, () where they are not kept. mark_N: the bounds at
    the last gain, before it -inf. since: validations since then.
    """

    step: Array
    elbo: Array
    theta: Params
    psi: Params
    mark_N: Array
    since: Array


def nothing_yet(state: TrainState, num_points: int, *, keep: bool) -> Best:
    """Before the first validation, of num_points datapoints. keep: whether the parameters are kept."""
    theta, psi = _parameters(state, keep=keep)
    lowest = jnp.float32(-jnp.inf)
    return Best(jnp.int32(0), lowest, theta, psi, jnp.full(num_points, lowest), jnp.int32(0))


def after(best: Best, state: TrainState, elbo_N: np.ndarray, *, keep: bool) -> Best:
    """With one validation more: the bounds elbo_N under the parameters of this state."""
    mean = np.mean(elbo_N)
    if not np.isfinite(best.elbo) or mean > best.elbo:
        theta, psi = _parameters(state, keep=keep)
        best = best._replace(step=jnp.int32(int(state.step)), elbo=jnp.float32(mean), theta=theta, psi=psi)
    if is_gain(elbo_N, np.asarray(best.mark_N)):
        return best._replace(mark_N=jnp.float32(elbo_N), since=jnp.int32(0))
    return best._replace(since=best.since + 1)


def is_gain(elbo_N: np.ndarray, mark_N: np.ndarray) -> bool:
    """Whether the mean rose by more than the standard error of the paired differences.

    A mean that is not finite is no gain, and any finite one is where the mark is not.
    """
    if not np.isfinite(np.mean(elbo_N)):
        return False
    if not np.isfinite(np.mean(mark_N)):
        return True
    gain_N = np.float64(elbo_N) - mark_N
    return bool(np.mean(gain_N) > np.std(gain_N, ddof=1) / np.sqrt(gain_N.size))


def _parameters(state: TrainState, *, keep: bool) -> tuple[Params, Params]:
    # Copies, as the state's buffers go to the next chunk.
    return jax.tree.map(jnp.copy, (state.theta, state.psi)) if keep else ((), ())
