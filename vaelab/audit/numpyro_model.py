"""NumPyro models as they are: `from_numpyro` gives the arguments of an audit.

The latent sites are those of the model's trace, with what `handlers.reparam` puts in the place of others,
each in the unconstrained coordinates of NumPyro's `biject_to`: with z = T(u),

    log p(x, u) = log p(x, z = T(u)) + log |det dT/du|.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.audit.arrays import as_arrays
from vaelab.audit.given import AuditError
from vaelab.audit.numpyro_guide import encoder
from vaelab.audit.numpyro_sites import (
    Program,
    Sites,
    check_params,
    check_shapes,
    data_plates,
    fixed,
    is_latent,
    names,
    rows,
    sites_of,
    traced,
)
from vaelab.audit.numpyro_support import check_observed
from vaelab.model.prior import standard_normal_log_prob
from vaelab.runtime.chunks import map_datapoints
from vaelab.types import Array, Key, Params

TRIED = 3  # datapoints at which the density is compared with NumPyro's, each at as many u


def from_numpyro(
    model: Callable[..., Any],
    guide: Callable[..., Any] | None = None,
    *,
    x: Any,
    params: Mapping[str, Any] | None = None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    batched: bool | None = None,
) -> dict[str, Any]:
    """The arguments of an audit of a NumPyro model: `vaelab.audit(**vaelab.from_numpyro(...), key=key)`.

    z is all of the model's latent sites, in the unconstrained coordinates u of NumPyro, in the order of their
    sorted names. A datapoint's log p(x, u) is that of the model called with its row alone, Jacobian included.

    Args:
        model: of a batch, with its latent sites in a plate of the datapoints, whose size is that of x; or of
            one datapoint. A reparametrised site counts in the form that it has in the trace.
        guide: a guide of Normal sites, called with what the model is called with, whose parameters depend on
            x alone; or an AutoNormal, AutoDiagonalNormal, AutoMultivariateNormal, ... that was fitted to
            these x. None, and there is no amortized bound.
        x: the model's first arguments, with one row for each datapoint: one argument, a tuple of several, or
            a dict by their names.
        params: values of params of model and guide, what SVI's `get_params` returns, and of sample sites that
            all datapoints share: p(x, u) is then conditioned on these.
        args, kwargs: the model's further arguments, the same for every datapoint.
        batched: whether the model is of a batch. None: whether the size of a plate follows that of x.

    Returns: x, latent_dim, params and encode, and log_joint; for a prior that is N(0, I) log_likelihood in
        its place, and `sample` if x is the one observed site.

    Raises:
        AuditError: with one line, where NumPyro is not installed; for what is not one density of one
            datapoint: discrete sites, improper priors, sites that datapoints share and params lacks, scaled
            or subsampled sites; for x outside of a support; and where it is not NumPyro's `log_density` with
            the values substituted.
    """
    try:
        import numpyro  # noqa: F401
    except ImportError:
        raise AuditError("from_numpyro needs NumPyro, which is not installed: pip install numpyro") from None
    x, count = as_arrays(x)
    given, values = {"args": tuple(args), "kwargs": dict(kwargs or {})}, dict(params or {})
    plates, why = set(), ""
    if batched is not False:
        plates, why = data_plates(Program(model, **given, batched=True), values, x, count)
        if batched and not plates:
            raise AuditError(
                f"the size of no plate is that of x ({why}): put the sites of the datapoints into "
                "numpyro.plate(name, len(x)), or write the model for one datapoint and give batched=False"
            )
    program = Program(model, **given, batched=bool(plates))
    try:
        if batched is None and not plates:
            _check_of_one(program, values, x, count)
        sites = _sites(program, plates, values, x, count)
    except AuditError as error:
        line = f"; called with two or three rows, as a model of a batch: {why}" if why and not plates else ""
        raise AuditError(f"{error}{line}") from error.__cause__
    check_observed(program, sites, values, x)
    _check_density(program, sites, values, x, count)
    if plates:
        _check_apart(program, sites, values, x, count)
    encode = None
    if guide is not None:
        encode = encoder(program._replace(function=guide), sites, values, x, count)
    return {
        **_density(program, sites, values, x, count),
        "encode": encode,
        "x": x,
        "latent_dim": sites.size,
        "params": jax.tree.map(jnp.asarray, values),
    }


def _sites(program: Program, plates: set[str], values: Params, x: Any, count: int) -> Sites:
    """The sites of one datapoint. Raises AuditError."""
    arguments = program.of_one(jax.tree.map(lambda a: a[0], rows(x, count, 1)))
    trace = traced(program, "model", values, arguments)
    check_params(trace, values, "model")
    check_shapes(program, values, arguments)
    return sites_of(trace, plates)


def _check_of_one(program: Program, values: Params, x: Any, count: int) -> None:
    """Raises AuditError where the latent sites get larger with the rows of x, as those of a batch."""
    shapes = []
    for number in (2, 3):
        try:
            trace = traced(program, "model", values, program.arguments(rows(x, count, number)))
        except AuditError:
            return
        shapes.append({name: jnp.shape(site["value"]) for name, site in trace.items() if is_latent(site)})
    grown = [name for name, shape in shapes[0].items() if shapes[1].get(name) != shape]
    if grown:
        raise AuditError(
            f"{names(grown)} has a value for each row of x, and no plate of the datapoints: put it into "
            "numpyro.plate(name, len(x)), or give batched=False if the model is of one datapoint"
        )


def _log_joint(program: Program, sites: Sites, params: Params, x: Any, u_K: Array, *, seed: int = 0) -> Array:
    """log p(x, u) of one datapoint."""
    from numpyro import handlers
    from numpyro.infer.util import potential_energy

    model = handlers.scale(fixed(program.function, params, seed), scale=1.0 / sites.scale)
    return -potential_energy(model, *program.of_one(x), sites.unravel(u_K))


def _log_likelihood(program: Program, sites: Sites, params: Params, x: Any, u_K: Array) -> Array:
    """log p(x given z), z = u."""
    from numpyro.infer.util import log_density

    model = fixed(program.function, {**params, **sites.unravel(u_K)})
    return log_density(model, *program.of_one(x), {})[0] / sites.scale


def _sample(program: Program, sites: Sites, like: Any, params: Params, key: Key, u_K: Array) -> Any:
    """x given z, of the one observed site; `like` is a datapoint, whose values count for nothing."""
    from numpyro import handlers

    model = handlers.uncondition(fixed(program.function, {**params, **sites.unravel(u_K)}, key))
    args, kwargs = program.of_one(like)
    (name,) = sites.observed
    drawn = handlers.trace(model).get_trace(*args, **kwargs)[name]["value"]
    return (drawn[0] if program.batched else drawn).astype(jnp.asarray(like).dtype)


def _draws(sites: Sites, x: Any, count: int) -> list[tuple[Any, Array]]:
    """A few datapoints, each with as many u."""
    u_SxK = jax.random.normal(jax.random.key(0), (TRIED * TRIED, sites.size))
    some = rows(x, count, min(count, TRIED))
    number = len(jax.tree.leaves(some)[0])
    one = [jax.tree.map(lambda a: a[n], some) for n in range(number)]
    return [(one[n % number], u_K) for n, u_K in enumerate(u_SxK)]


def _check_density(program: Program, sites: Sites, values: Params, x: Any, count: int) -> None:
    """Compares log p(x, u) with NumPyro's log_density, z substituted. Raises AuditError.

    With another seed: a model that draws random numbers, or a site that no value reaches, shows.
    """
    from numpyro.distributions import biject_to
    from numpyro.infer.util import constrain_fn, log_density

    model = fixed(program.function, values, seed=1)
    for row, u_K in _draws(sites, x, count):
        u, arguments = sites.unravel(u_K), program.of_one(row)
        ours = _log_joint(program, sites, values, row, u_K)
        z = constrain_fn(model, *arguments, u)
        wanted, trace = log_density(model, *arguments, z)
        drawn = [name for name, site in trace.items() if is_latent(site) and name not in sites.latents]
        if drawn or set(z) != set(sites.latents):
            raise AuditError(
                f"the sites of the model change from call to call, {names(drawn or list(sites.latents))}: "
                "they must be the same for every datapoint and z"
            )
        log_det = sum(
            jnp.sum(biject_to(trace[name]["fn"].support).log_abs_det_jacobian(u[name], z[name])) for name in z
        )
        _compare(ours, wanted / sites.scale + log_det, "with NumPyro's log_density at the same z")


def _compare(ours: Any, wanted: Any, how: str) -> None:
    if not np.allclose(ours, wanted, rtol=1e-4, atol=1e-3, equal_nan=True):
        raise AuditError(
            f"log p(x, u) is {float(ours):.6g}, and {how} {float(wanted):.6g}: the model must be pure, "
            "without dropout or random numbers, and a datapoint's sites must not depend on other datapoints"
        )


def _check_apart(program: Program, sites: Sites, values: Params, x: Any, count: int) -> None:
    """Compares log p of datapoints together, each row in the plate, with their sum. Raises AuditError."""
    from numpyro.infer.util import potential_energy

    number = min(count, TRIED)
    some = rows(x, count, number)
    u_NxK = jax.random.normal(jax.random.key(1), (number, sites.size))
    each = [sites.unravel(u_K) for u_K in u_NxK]
    together = {
        name: jnp.concatenate([u[name] for u in each], axis=latent.axis)
        for name, latent in sites.latents.items()
    }
    model = fixed(program.function, values)
    # A plate that is not subsampled has the factor 1 whatever its size.
    factor = number / sites.scale if sites.scale != 1.0 else 1.0
    wanted = -factor * potential_energy(model, *program.arguments(some), together)
    one = [jax.tree.map(lambda a: a[n], some) for n in range(number)]
    ours = sum(_log_joint(program, sites, values, row, u_K) for row, u_K in zip(one, u_NxK, strict=True))
    _compare(ours, wanted, f"of the same {number} datapoints in one call")


def _density(program: Program, sites: Sites, values: Params, x: Any, count: int) -> dict[str, Any]:
    """log_joint, or log_likelihood and what there is of `sample`."""
    if not _is_standard(program, sites, values, x, count):
        return {"log_likelihood": None, "log_joint": partial(_log_joint, program, sites)}
    like = jax.tree.map(lambda a: a[0], rows(x, count, 1))
    sample = partial(_sample, program, sites, like) if _can_sample(program, sites, values, x, count) else None
    return {"log_likelihood": partial(_log_likelihood, program, sites), "sample": sample}


def _is_standard(program: Program, sites: Sites, values: Params, x: Any, count: int) -> bool:
    """Whether the prior is N(0, I), at a few u of each datapoint: it may depend on what is in x beside."""
    from numpyro import handlers
    from numpyro.infer.util import constrain_fn

    u_SxK = jax.random.normal(jax.random.key(3), (TRIED, sites.size))

    def off(params: Params, row: Any) -> Array:
        model, arguments = fixed(program.function, params), program.of_one(row)

        def at(u_K: Array) -> Array:
            u = sites.unravel(u_K)
            z = constrain_fn(model, *arguments, u)
            args, kwargs = arguments
            trace = handlers.trace(handlers.substitute(model, data=z)).get_trace(*args, **kwargs)
            prior = sum(jnp.sum(trace[name]["fn"].log_prob(z[name])) for name in z)
            moved = sum(jnp.sum(jnp.abs(z[name] - u[name])) for name in z if z[name].shape == u[name].shape)
            longer = any(z[name].shape != u[name].shape for name in z)
            return jnp.abs(prior - standard_normal_log_prob(u_K)) + (jnp.inf if longer else moved)

        return jnp.max(jnp.stack([at(u_K) for u_K in u_SxK]))

    off_N = map_datapoints(off, values, jax.tree.map(np.asarray, x), chunk_size=1000)
    return bool(np.all(off_N < 1e-5 * (1 + sites.size)))


def _can_sample(program: Program, sites: Sites, values: Params, x: Any, count: int) -> bool:
    """Whether x is the value of the one observed site, and nothing else in the model depends on it."""
    if len(sites.observed) != 1 or not isinstance(x, np.ndarray):
        return False
    (name,), first = sites.observed, rows(x, count, 1)[0]
    u_K = jax.random.normal(jax.random.key(2), (sites.size,))

    def observed(params: Params, row: Array) -> tuple[Array, Array]:
        site = traced(program, "model", {**params, **sites.unravel(u_K)}, program.of_one(row))[name]
        value = site["value"][0] if program.batched else site["value"]
        if jnp.shape(value) != jnp.shape(row):
            return jnp.inf, jnp.nan
        of_first = site["fn"].log_prob(first[None] if program.batched else first)
        return jnp.max(jnp.abs(value - row)), jnp.sum(of_first)

    moved_N, log_prob_N = map_datapoints(observed, values, x, chunk_size=1000)
    return bool(np.all(moved_N == 0.0)) and np.allclose(log_prob_N, log_prob_N[0], rtol=1e-5, atol=1e-4)
