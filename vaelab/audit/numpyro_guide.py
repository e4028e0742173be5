"""Guides of NumPyro as encoders: N(mu, S S') of the unconstrained coordinates u of each datapoint."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import block_diag

from vaelab.audit.given import AuditError
from vaelab.audit.numpyro_sites import (
    Latent,
    Program,
    Sites,
    check_params,
    is_latent,
    names,
    rows,
    traced,
    unwrapped,
)
from vaelab.linalg import cholesky
from vaelab.model.likelihood import LOG_2PI
from vaelab.types import Array, Params

ALLOWED = (
    "as an encoder a guide has Normal or MultivariateNormal sites of the model's unconstrained coordinates, "
    "as a LogNormal is for a positive one"
)


class Normal(NamedTuple):
    """A site's q: loc and scale of the shape of u; or scale_tril, of the last axis, in the place of scale."""

    loc: Array
    scale: Array | None
    scale_tril: Array | None = None


def encoder(program: Program, sites: Sites, values: Params, x: Any, count: int) -> Any:
    """encode of an audit: a function of a datapoint, or for an AutoGuide the arrays that were fitted.

    program: the guide, called as the model is. Raises AuditError.
    """
    from numpyro.infer.autoguide import AutoContinuous, AutoGuide, AutoNormal

    guide = program.function
    if not isinstance(guide, AutoGuide):
        _check_guide(program, sites, values, x, count)
        return partial(_encode, program, sites)
    if not isinstance(guide, AutoNormal | AutoContinuous):
        raise AuditError(f"the guide is {type(guide).__name__}: {ALLOWED}")
    if guide.prototype_trace is None:
        raise AuditError("the guide is not fitted: give it with params of SVI's get_params")
    _check_names([name for name, site in guide.prototype_trace.items() if is_latent(site)], sites, extra=True)
    if count > 1 and not program.batched:
        raise AuditError(
            f"{type(guide).__name__} of a model of one datapoint is the same q for all {count:,} of x: fit "
            "it to a model of a batch, with a plate of the datapoints, or give encode=(mu, S) yourself"
        )
    if isinstance(guide, AutoNormal):
        return _of_params(guide, sites, values, count)
    return _of_posterior(guide, sites, values, count)


def _encode(program: Program, sites: Sites, params: Params, x: Any, *, seed: int = 0) -> tuple[Array, Array]:
    """(mu_K, sigma_K), or (mu_K, S_KxK) where a site is of a MultivariateNormal."""
    trace = traced(program, "guide", params, program.of_one(x), seed=seed, hide=False)
    normals = {name: _normal(name, trace[name]["fn"], latent) for name, latent in sites.latents.items()}
    mu_K = sites.ravel({name: normal.loc for name, normal in normals.items()})
    if all(normal.scale_tril is None for normal in normals.values()):
        return mu_K, sites.ravel({name: normal.scale for name, normal in normals.items()})
    blocks = []
    for normal in normals.values():
        if normal.scale_tril is None:
            blocks.append(jnp.diag(jnp.ravel(normal.scale)))
        else:
            blocks += list(normal.scale_tril.reshape(-1, *normal.scale_tril.shape[-2:]))
    return mu_K, block_diag(*blocks)


def _normal(name: str, distribution: Any, latent: Latent) -> Normal:
    """What a site of the guide is in the unconstrained coordinates of one datapoint. Raises AuditError.

    The transform of a TransformedDistribution is taken to be that of the model's u: `_check_q` tells.
    """
    import numpyro.distributions as dist

    base, shape = unwrapped(distribution), latent.shape
    if isinstance(base, dist.TransformedDistribution):
        base = unwrapped(base.base_dist)
    if not isinstance(base, dist.Normal | dist.MultivariateNormal | dist.LowRankMultivariateNormal):
        raise AuditError(f"the guide's site {name!r} is {type(unwrapped(distribution)).__name__}: {ALLOWED}")
    try:
        loc = jnp.broadcast_to(base.loc, shape)
        if isinstance(base, dist.Normal):
            return Normal(loc, jnp.broadcast_to(base.scale, shape))
        tril = (
            base.scale_tril if isinstance(base, dist.MultivariateNormal) else cholesky(base.covariance_matrix)
        )
        return Normal(loc, None, jnp.broadcast_to(tril, (*shape, shape[-1])))
    except ValueError:
        raise AuditError(
            f"the guide's site {name!r} has the shape {jnp.shape(base.loc)} where it is called with one "
            f"datapoint, and the model's {shape}: its parameters must be a function of x; what was fitted to "
            "each datapoint goes into the audit as encode=(mu, sigma), arrays of N rows"
        ) from None


def _check_names(of_guide: list[str], sites: Sites, *, extra: bool = False) -> None:
    """Raises AuditError where the guide's sites are not the model's."""
    missing = [name for name in sites.latents if name not in of_guide]
    more = [name for name in of_guide if name not in sites.latents]
    if missing or (more and not extra):
        raise AuditError(
            f"the guide has the sites {names(of_guide)} and the model {names(list(sites.latents))}: they "
            "must be the same; those of a reparametrised model are its new ones"
        )


def _check_guide(program: Program, sites: Sites, values: Params, x: Any, count: int) -> None:
    """Raises AuditError where the guide is not a Normal whose parameters are functions of x alone."""
    some = rows(x, count, min(count, 3))
    for n in range(len(jax.tree.leaves(some)[0])):
        row = jax.tree.map(lambda a: a[n], some)
        arguments = program.of_one(row)
        trace = traced(program, "guide", values, arguments, hide=False)
        check_params(trace, values, "guide")
        of_guide = [name for name, site in trace.items() if is_latent(site) and name not in values]
        _check_names(of_guide, sites)
        mu_K, scale = _encode(program, sites, values, row)
        others = _encode(program, sites, values, row, seed=1)
        if not (np.allclose(mu_K, others[0], rtol=1e-5) and np.allclose(scale, others[1], rtol=1e-5)):
            raise AuditError(
                "the guide gives other parameters with another seed, as one does whose site depends on the "
                "draw of another, or with dropout: an encoder's must be functions of x alone"
            )
        if n == 0:  # whose supports the sites have, where these depend on x
            _check_q(program, sites, values, arguments, mu_K, scale)


def _check_q(
    program: Program, sites: Sites, values: Params, arguments: Any, mu_K: Array, scale: Array
) -> None:
    """Compares each site's density with that of N(mu, S S') in u. Raises AuditError."""
    from numpyro.distributions import biject_to

    S_KxK, eps_K = (
        np.diag(scale) if scale.ndim == 1 else np.asarray(scale),
        np.linspace(-1.0, 1.3, sites.size),
    )
    u_K = jnp.float32(mu_K + S_KxK @ eps_K)
    u, index = sites.unravel(u_K), sites.unravel(jnp.arange(sites.size))
    trace = traced(program, "guide", values, arguments, hide=False)
    for name in sites.latents:
        transform = biject_to(sites.supports[name])
        z, i = transform(u[name]), np.ravel(index[name])
        log_det = jnp.sum(transform.log_abs_det_jacobian(u[name], z))
        of_guide = jnp.sum(trace[name]["fn"].log_prob(z)) + log_det
        log_scale = np.linalg.slogdet(S_KxK[i][:, i])[1]  # S is block-diagonal over the sites
        ours = -0.5 * np.sum(eps_K[i] ** 2 + LOG_2PI) - log_scale
        if not np.allclose(of_guide, ours, rtol=1e-3, atol=1e-2):
            kind = type(unwrapped(trace[name]["fn"])).__name__
            raise AuditError(
                f"the guide's site {name!r} is {kind}, which is no Normal of the unconstrained coordinates "
                f"that NumPyro's biject_to gives the model's: {ALLOWED}"
            )


def _full_shape(latent: Latent, count: int) -> tuple[int, ...]:
    """The shape of u of all datapoints."""
    shape = list(latent.shape)
    if latent.axis is not None:
        shape[latent.axis] = count
    return tuple(shape)


def _by_row(arrays: Mapping[str, Any], sites: Sites, count: int, what: Callable[[str], str]) -> np.ndarray:
    """Arrays of all datapoints, one for each site, as one of N rows. Raises AuditError."""
    parts = []
    for name, latent in sites.latents.items():
        array, wanted = np.asarray(arrays[name]), _full_shape(latent, count)
        if array.shape != wanted:
            raise AuditError(
                f"{what(name)} has the shape {array.shape} and x is of {count:,} datapoints, which is "
                f"{wanted}: give the x that the guide was fitted to"
            )
        array = array[None] if latent.axis is None else np.moveaxis(array, latent.axis, 0)
        parts.append(array.reshape(count, -1))
    return np.concatenate(parts, axis=1)


def _of_params(guide: Any, sites: Sites, values: Params, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(mu_NxK, sigma_NxK) of an AutoNormal."""

    def of(kind: str) -> np.ndarray:
        keys = {name: f"{name}_{guide.prefix}_{kind}" for name in sites.latents}
        missing = [key for key in keys.values() if key not in values]
        if missing:
            raise AuditError(
                f"params lacks {names(missing)} of the guide: give what SVI's get_params returns"
            )
        arrays = {name: values[key] for name, key in keys.items()}
        return _by_row(arrays, sites, count, lambda name: f"params[{keys[name]!r}]")

    return of("loc"), of("scale")


def _of_posterior(guide: Any, sites: Sites, values: Params, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(mu_NxK, sigma_NxK), or (mu_NxK, S_NxKxK) of a guide whose posterior is one Normal of all sites."""
    import numpyro.distributions as dist

    kind = type(guide).__name__
    try:
        posterior = guide.get_posterior(dict(values))
    except KeyError as error:
        raise AuditError(f"params lacks {error} of the guide: give what SVI's get_params returns") from None
    allowed = dist.Normal | dist.MultivariateNormal | dist.LowRankMultivariateNormal
    if not isinstance(posterior, allowed):
        raise AuditError(f"the guide is {kind}: {ALLOWED}")
    index = guide._unpack_latent(jnp.arange(guide.latent_dim))
    index_NxK = _by_row(index, sites, count, lambda name: f"{name!r} of the guide")
    mu_NxK = np.asarray(posterior.loc)[index_NxK]
    if isinstance(posterior, dist.Normal):
        return mu_NxK, np.asarray(jnp.broadcast_to(posterior.scale, posterior.loc.shape))[index_NxK]
    covariance = np.asarray(posterior.covariance_matrix, np.float64)
    blocks_NxKxK = covariance[index_NxK[:, :, None], index_NxK[:, None, :]]
    between = covariance.copy()
    between[index_NxK[:, :, None], index_NxK[:, None, :]] = 0.0
    deviation = np.sqrt(np.diag(covariance))
    if np.any(np.abs(between[index_NxK.ravel()]) > 1e-5 * np.outer(deviation[index_NxK.ravel()], deviation)):
        raise AuditError(
            f"{kind} has covariances between datapoints, or with sites that all share, and is no q of each "
            "datapoint: AutoNormal and AutoDiagonalNormal are, and any guide fitted to a single one"
        )
    return mu_NxK, np.float32(np.linalg.cholesky(blocks_NxKxK))
