"""The datapoints that are measured: splits of the data, simulated ones, and corrupted ones."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.data.sources import FIRST_SIMULATED
from vaelab.keys import Keys
from vaelab.measure.subject import Inputs, Measured
from vaelab.model.latent import simulate
from vaelab.types import Array, Key, LatentModel, Params


def datapoints(
    split: str,
    inputs: Mapping[str, Inputs],
    model: LatentModel,
    theta: Params,
    *,
    max_points: int,
    corruption: float,
    keys: Keys,
    labels: Mapping[str, np.ndarray] | None = None,
) -> Measured:
    """The datapoints of a split: of the data, as `inputs` has them, or made from the model or the test split.

    max_points: how many are simulated, SIMULATED where it is 0. corruption: see `corrupted`. labels: of the
    datapoints of `inputs`, where they have some; a corrupted one keeps its own.
    """
    if split == "simulated":
        return simulated(model, theta, keys.simulate, num_points=max_points or SIMULATED)
    if split == "corrupted":
        changed = corrupted(keys.corrupt, inputs["test"], corruption)
        return Measured(changed, label_N=(labels or {}).get("test"))
    return Measured(inputs[split], label_N=(labels or {}).get(split))


SIMULATED = 1000  # where max_points does not say


def simulated(model: LatentModel, theta: Params, key: Key, *, num_points: int) -> Measured:
    """Datapoints of the model itself, each with the z that it was drawn from."""

    def one(index: Array) -> tuple[Array, Array]:
        return simulate(model, theta, jax.random.fold_in(key, index))

    index_N = FIRST_SIMULATED + np.arange(num_points, dtype=np.int32)
    with jax.default_matmul_precision("highest"):
        z_NxK, x_NxD = jax.device_get(jax.jit(jax.vmap(one))(index_N))
    return Measured(Inputs(x_NxD, index_N), z_NxK)


def corrupted(key: Key, inputs: Inputs, probability: float) -> Inputs:
    """Each dimension of each datapoint, with this probability, as it is in another datapoint drawn at random.

    Whatever the likelihood, what comes out is in the range of the data; the distribution of each dimension
    alone stays the same, that of several together does not. Indices are kept, so that draws are those of the
    clean datapoint.
    """

    def one(x_D: Array, index: Array) -> Array:
        key_where, key_from = jax.random.split(jax.random.fold_in(key, index))
        other_D = jax.random.randint(key_from, x_D.shape, 0, inputs.x_NxD.shape[0])
        taken_D = jnp.take_along_axis(jnp.asarray(inputs.x_NxD), other_D[None, :], axis=0)[0]
        return jnp.where(jax.random.bernoulli(key_where, probability, x_D.shape), taken_D, x_D)

    return Inputs(np.asarray(jax.jit(jax.vmap(one))(*inputs)), inputs.index_N)
