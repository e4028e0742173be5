"""What the trace of a NumPyro model tells of one datapoint: its latent sites, plates and scales.

NumPyro is imported inside the functions: it need not be installed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.audit.given import AuditError, theirs
from vaelab.runtime.devices import take
from vaelab.types import Array

Trace = Mapping[str, dict[str, Any]]


class Program(NamedTuple):
    """A model or a guide, with what it is called with beside x.

    batched: whether it is of a batch, and is then called with one row, [1, ...], for one datapoint.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    batched: bool

    def arguments(self, x: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Those of the call for x; a tuple is several arguments, a dict has their names."""
        if isinstance(x, Mapping):
            return self.args, {**x, **self.kwargs}
        return (*(x if isinstance(x, tuple) else (x,)), *self.args), dict(self.kwargs)

    def of_one(self, x: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the call for one datapoint."""
        return self.arguments(jax.tree.map(lambda a: jnp.asarray(a)[None], x) if self.batched else x)


class Latent(NamedTuple):
    """A latent site of one datapoint in unconstrained coordinates.

    shape: of its u, with a 1 where the data plate is; axis: of the data plate in it, from the end, or None.
    """

    shape: tuple[int, ...]
    axis: int | None


class Sites(NamedTuple):
    """The sites of one datapoint.

    latents: in the order of u_K, that of their sorted names, as `ravel_pytree` of a dict has it.
    observed: the names of those that have x.
    scale: what the data plate, where it is subsampled, multiplies every log-density by.
    supports: of each latent site at the first datapoint.
    """

    latents: dict[str, Latent]
    observed: tuple[str, ...]
    scale: float
    supports: dict[str, Any]

    @property
    def size(self) -> int:
        return sum(math.prod(latent.shape) for latent in self.latents.values())

    def unravel(self, u_K: Array) -> dict[str, Array]:
        """u of each site."""
        ends = np.cumsum([math.prod(latent.shape) for latent in self.latents.values()])[:-1]
        pieces = zip(self.latents.items(), jnp.split(u_K, ends), strict=True)
        return {name: piece.reshape(latent.shape) for (name, latent), piece in pieces}

    def ravel(self, values: Mapping[str, Array]) -> Array:
        return jnp.concatenate([jnp.ravel(values[name]) for name in self.latents])


def fixed(
    function: Callable[..., Any], values: Mapping[str, Any], seed: int | Array = 0
) -> Callable[..., Any]:
    """The model with these values of params and sites; what has a value is no part of its density."""
    from numpyro import handlers

    def hidden(site: dict[str, Any]) -> bool:
        return site["type"] == "sample" and site["name"] in values

    held = handlers.block(handlers.substitute(function, data=dict(values)), hide_fn=hidden)
    return handlers.seed(held, jax.random.key(seed) if isinstance(seed, int) else seed)


def traced(
    program: Program,
    what: str,
    values: Mapping[str, Any],
    arguments: Any,
    *,
    seed: int = 0,
    hide: bool = True,
) -> Trace:
    """The trace of one call, with or without the sites that have a value. Raises AuditError."""
    import numpyro.distributions as dist
    from numpyro import handlers

    def refuse(site: dict[str, Any]) -> None:
        if site["type"] == "sample" and isinstance(unwrapped(site["fn"]), dist.ImproperUniform):
            line = "is improper, and p(x) has no value: give it a proper one"
            raise AuditError(f"the prior of {site['name']!r} {line}")

    def call(_: Any, *positional: Any) -> Trace:
        model = handlers.seed(handlers.substitute(program.function, data=dict(values)), jax.random.key(seed))
        model = fixed(program.function, values, seed) if hide else model
        model = handlers.substitute(model, substitute_fn=refuse)
        return handlers.trace(model).get_trace(*positional, **arguments[1])

    return theirs(what, call, ())(*arguments[0])


def rows(x: Any, count: int, number: int) -> Any:
    """The first rows of x, from the first again where it has fewer."""
    return jax.tree.map(jnp.asarray, take(x, np.arange(number) % count))


def data_plates(program: Program, values: Mapping[str, Any], x: Any, count: int) -> tuple[set[str], str]:
    """The plates whose size is the number of rows, and where there is none, why: no model of a batch."""
    sizes = []
    for number in (2, 3):
        try:
            trace = traced(program, "model", values, program.arguments(rows(x, count, number)))
        except AuditError as error:
            return set(), str(error)
        for name, site in trace.items():
            if is_observed(site) and jnp.shape(site["value"]) != tuple(site["fn"].shape()):
                of_x, wanted = jnp.shape(site["value"]), tuple(site["fn"].shape())
                return set(), f"{name!r} has the shape {of_x} and its distribution {wanted}"
        plates = {name for name, site in trace.items() if site["type"] == "plate"}
        sizes.append({name for name in plates if len(trace[name]["value"]) == number})
    return set.intersection(*sizes), "no plate has as many"


def is_latent(site: dict[str, Any]) -> bool:
    return site["type"] == "sample" and not site["is_observed"]


def is_observed(site: dict[str, Any]) -> bool:
    return site["type"] == "sample" and site["is_observed"]


def sites_of(trace: Trace, plates: set[str]) -> Sites:
    """What is latent and what is observed in the trace of one datapoint. Raises AuditError."""
    from numpyro.distributions import biject_to

    latents = {name: site for name, site in sorted(trace.items()) if is_latent(site)}
    observed = {name: site for name, site in trace.items() if is_observed(site)}
    _check_latents(latents, plates)
    _check_observed(observed)
    scale = _common_scale({**latents, **observed}, trace, plates)
    in_order = {}
    for name, site in latents.items():
        transform = biject_to(site["fn"].support)
        dims = site["fn"].event_dim - transform.codomain.event_dim + transform.domain.event_dim
        axes = [frame.dim - dims for frame in site["cond_indep_stack"] if frame.name in plates]
        in_order[name] = Latent(jnp.shape(transform.inv(site["value"])), axes[0] if axes else None)
    return Sites(
        in_order, tuple(observed), scale, {name: site["fn"].support for name, site in latents.items()}
    )


def _check_latents(latents: Mapping[str, dict[str, Any]], plates: set[str]) -> None:
    import numpyro.distributions as dist

    if not latents:
        raise AuditError("the model has no latent site: every one is observed, or in params")
    for name, site in latents.items():
        if site["fn"].support.is_discrete:
            raise AuditError(
                f"the latent site {name!r} is discrete: sum it out, as MixtureSameFamily of NumPyro does, or "
                "give its value in params"
            )
        if isinstance(unwrapped(site["fn"]), dist.MaskedDistribution):
            raise AuditError(
                f"the latent site {name!r} is masked, as obs_mask= makes it, and has no density where it is: "
                "give it one there too, and mask what is observed alone"
            )
    outside = [
        name
        for name, site in latents.items()
        if plates and not any(frame.name in plates for frame in site["cond_indep_stack"])
    ]
    if outside:
        raise AuditError(
            f"{names(outside)} outside of the plate {names(sorted(plates))} of the datapoints is shared by "
            "all: give its value, as params={name: value}, or batched=False if the model is of one datapoint"
        )


def _check_observed(observed: Mapping[str, dict[str, Any]]) -> None:
    if not observed:
        raise AuditError("the model has no observed site: x must be the obs= of one")
    for name, site in observed.items():
        value, wanted = jnp.shape(site["value"]), tuple(site["fn"].shape())
        if math.prod(value) < math.prod(wanted):
            raise AuditError(
                f"the observed site {name!r} has the shape {value} and its distribution {wanted} where the "
                "model is called with one datapoint, so that its numbers count more than once: the size of "
                "the plate of the datapoints must be len(x), and every shape follow it"
            )


def _common_scale(counted: Mapping[str, dict[str, Any]], trace: Trace, plates: set[str]) -> float:
    """The factor of a subsampled data plate, the same for every site. Raises AuditError."""
    factors = {}
    for name, plate in trace.items():
        if plate["type"] != "plate":
            continue
        size, used = plate["args"][0], len(plate["value"])
        if name not in plates and size != used:
            raise AuditError(
                f"the plate {name!r} takes {used:,} of {size:,} and is not that of the datapoints: leave its "
                "subsample_size out; that of the datapoints must have subsample_size=len(x), or none"
            )
        factors[name] = size / used
    wanted = {
        name: math.prod(factors[frame.name] for frame in site["cond_indep_stack"])
        for name, site in counted.items()
    }
    for name, site in counted.items():
        scale = 1.0 if site["scale"] is None else site["scale"]
        if not np.allclose(scale, wanted[name], rtol=1e-4):
            raise AuditError(
                f"the log-density of {name!r} is scaled by {np.ravel(scale)[0] / wanted[name]:.4g}: leave "
                "handlers.scale out, with it the model is no density"
            )
    if len(set(wanted.values())) > 1:
        outside = min(wanted, key=wanted.get)
        raise AuditError(f"{outside!r} is outside of the subsampled plate of the datapoints: put it inside")
    return next(iter(wanted.values()))


def unwrapped(distribution: Any) -> Any:
    """The distribution in to_event and expand."""
    import numpyro.distributions as dist

    while isinstance(distribution, dist.Independent | dist.ExpandedDistribution):
        distribution = distribution.base_dist
    return distribution


def check_params(trace: Trace, values: Mapping[str, Any], what: str) -> None:
    """Raises AuditError where a value is missing, or is of what the model computes or of another shape."""
    missing = [
        name for name, site in trace.items() if site["type"] in ("param", "mutable") and name not in values
    ]
    if missing:
        raise AuditError(f"params lacks {names(missing)} of the {what}: give what SVI's get_params returns")
    computed = [name for name in values if name in trace and trace[name]["type"] == "deterministic"]
    if computed:
        latents = [name for name, site in trace.items() if is_latent(site)]
        raise AuditError(
            f"params has {names(computed)}, which the model computes of other sites, as a "
            f"reparametrised site is: its sites are {names(latents)}"
        )


def check_shapes(program: Program, values: Mapping[str, Any], arguments: Any) -> None:
    """Raises AuditError where the value given for a sample site has not its shape."""
    for name, site in traced(program, "model", values, arguments, hide=False).items():
        if name not in values or site["type"] != "sample":
            continue
        given, wanted = jnp.shape(values[name]), tuple(site["fn"].shape())
        if given != wanted:
            raise AuditError(
                f"params[{name!r}] has the shape {given} and the site {wanted}: give one value of it, as the "
                "posterior mean; a site of every datapoint is none to be given"
            )


def names(sites: Sequence[str]) -> str:
    return ", ".join(map(repr, sites))
