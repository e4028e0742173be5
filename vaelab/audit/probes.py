"""The few datapoints at which functions are tried, and how a line names datapoints and numbers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.audit.checked import Check, NotChecked
from vaelab.audit.given import AuditError, described
from vaelab.runtime.devices import take

PROBES = 4  # datapoints on which the functions are tried
FLOATS = (jnp.float32, jnp.float64)
COMPILED = " under jax.jit, jax.vmap and jax.grad"

FINITE = (
    "it must be finite, or -inf where the density is 0; where a probability rounds to 0 or 1 take "
    "jax.nn.log_sigmoid, log_softmax or a density of logits, not the logarithm of it"
)

Lines = list[Check | NotChecked]


def check_not_single(x: Any, call: Callable[[Any], bool]) -> None:
    """Raises AuditError where x is one datapoint: `call` says whether a function takes its argument for one.

    To be asked where the function does not take a row of x; where `call` raises, it takes x no more.
    """
    try:
        if not call(jax.tree.map(jnp.asarray, x)):
            return
    except Exception:
        return
    arrays = ", ".join(described(a) for a in jax.tree.leaves(x)[:4])
    raise AuditError(
        f"x must have one row a datapoint, and the functions take {arrays} for a single one: give x[None]"
    )


def probed(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(PROBES, count)).astype(int))


def datapoint(tree: Any, row: int) -> Any:
    return jax.tree.map(jnp.asarray, take(tree, row))


def first_of(bad_N: np.ndarray) -> str:
    return f"{np.sum(bad_N):,} of {len(bad_N):,} datapoints, index {np.flatnonzero(bad_N)[0]} first"


def some(array: np.ndarray) -> str:
    return np.array2string(np.asarray(array), precision=3, threshold=6, edgeitems=2)
