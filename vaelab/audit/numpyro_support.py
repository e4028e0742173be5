"""Whether what a NumPyro model observes lies in the support of its distribution.

NumPyro gives -inf where it does not, inside of jit without a warning, but for a distribution with
validate_args=False, whose density there is what its formula gives. It is imported inside the functions.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.audit.given import AuditError
from vaelab.audit.numpyro_sites import Program, Sites, fixed, unwrapped
from vaelab.runtime.chunks import map_datapoints
from vaelab.types import Array, Params


def check_observed(program: Program, sites: Sites, values: Params, x: Any) -> None:
    """Raises AuditError where a datapoint has a value outside of a support that depends on nothing.

    A density that is not 0 there is left to itself.

    A support that has parameters may depend on z, and is left to the density.
    """
    from numpyro import handlers
    from numpyro.infer.util import constrain_fn

    def inside(params: Params, row: Any) -> dict[str, Array]:
        model, (args, kwargs) = fixed(program.function, params), program.of_one(row)
        z = constrain_fn(model, args, kwargs, sites.unravel(jnp.zeros(sites.size)))
        trace = handlers.trace(handlers.substitute(model, data=z)).get_trace(*args, **kwargs)
        return {name: _inside(trace[name]) for name in sites.observed}

    inside_N = map_datapoints(inside, values, jax.tree.map(np.asarray, x), chunk_size=1000)
    for name, is_in_N in inside_N.items():
        if not np.all(is_in_N):
            first = int(np.argmin(is_in_N))
            raise AuditError(
                f"the observed site {name!r} has a value outside of the support of its distribution at "
                f"datapoint {first}, one of {int(np.sum(~is_in_N)):,}: p(x) is 0 there, or NaN; bring x to "
                "the values of the model"
            )


def _inside(site: dict[str, Any]) -> Array:
    import numpyro.distributions as dist
    from numpyro.distributions import constraints

    support = site["fn"].support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    fixed_supports = (
        constraints.boolean,
        constraints.nonnegative_integer,
        constraints.positive_integer,
        constraints.positive,
        constraints.nonnegative,
        constraints.unit_interval,
    )
    masked = isinstance(unwrapped(site["fn"]), dist.MaskedDistribution)
    if masked or not any(support is one for one in fixed_supports):
        return jnp.array(True)
    some = jnp.all(site["fn"].log_prob(site["value"]) > -jnp.inf)  # and no NaN
    return some | jnp.all(support(site["value"]))
