"""Samples of q_phi and q* for ArviZ, with its signs."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from vaelab.errors import ConfigError
from vaelab.model.prior import standard_normal_log_prob
from vaelab.runtime.chunks import map_datapoints
from vaelab.types import Array, Key, PosteriorFamily

Groups = dict[str, dict[str, np.ndarray]]
CHUNK = 256  # datapoints at a time


def to_arviz(
    log_likelihood: Callable[[Any, Array], Array],
    q: Any,
    x: Any,
    *,
    key: Key,
    log_prior: Callable[[Array], Array] | None = None,
    num_samples: int = 1000,
) -> Any:
    """Returns samples of q(z), their log weights and log-likelihoods, as ArviZ's InferenceData.

    Args:
        log_likelihood: (x, z_K) -> [], log p(x given z) of one datapoint in nats, as `audit` takes it.
        q: (mu_NxK, sigma_NxK); (mu_NxK, S_NxKxK) with z = mu + S eps; (family, phi_NxP), as that of a
            `LocalFit`; or several of these by name, as {"q_phi": ..., "q*": ...}.
        x: N datapoints, arrays of N rows in any pytree.
        key: a JAX key; several q have the same noise.
        log_prior: z_K -> [], log p(z) in nats; None is N(0, I).
        num_samples: S, samples of each datapoint.

    Returns: an InferenceData, a DataTree from ArviZ 1.0 on, or one for each name, with the groups
        `posterior` (z: chain, draw, datapoint, latent), `log_likelihood` (x: log p(x given z), the likelier
        the higher), `sample_stats` (log_weight: log p(x, z) - log q(z), whose mean over the samples is the
        ELBO) and `observed_data`. From 1.0 on ArviZ's `psislw` turns the sign of what it takes: give it minus
        log_weight. Its `loo` is log p(x) of a datapoint only where the samples are of p(z given x) itself.

    Raises:
        ConfigError: where ArviZ is not installed, and where q is none of these.
    """
    try:
        import arviz
    except ImportError:
        raise ConfigError("to_arviz needs ArviZ: pip install 'vaelab[arviz]'") from None
    named = q if isinstance(q, Mapping) else {"": q}
    made = {
        name: _inference_data(
            arviz, groups(log_likelihood, one, x, key=key, log_prior=log_prior, num_samples=num_samples)
        )
        for name, one in named.items()
    }
    return made if isinstance(q, Mapping) else made[""]


def groups(
    log_likelihood: Callable[[Any, Array], Array],
    q: Any,
    x: Any,
    *,
    key: Key,
    log_prior: Callable[[Array], Array] | None = None,
    num_samples: int = 1000,
) -> Groups:
    """The arrays of one InferenceData by group and name, each [chain, draw, N, ...]; one chain."""
    family, rows = _posterior(q)
    x = jax.tree.map(np.asarray, x)
    count = len(rows[0])
    if any(len(leaf) != count for leaf in jax.tree.leaves((x, rows))):
        raise ConfigError(f"to_arviz: q has {count} datapoints, x {len(jax.tree.leaves(x)[0])}")
    drawn = map_datapoints(
        _draw,
        key,
        (x, np.arange(count), rows),
        static=(log_likelihood, log_prior or standard_normal_log_prob, family, num_samples),
        chunk_size=CHUNK,
    )
    z, log_p, log_weight = (np.moveaxis(np.asarray(part), 0, 1)[None] for part in drawn)
    leaves = jax.tree.leaves(x)
    observed = {"x": leaves[0]} if len(leaves) == 1 else {f"x{i}": leaf for i, leaf in enumerate(leaves)}
    return {
        "posterior": {"z": z},
        "log_likelihood": {"x": log_p},
        "sample_stats": {"log_weight": log_weight},
        "observed_data": observed,
    }


def _posterior(q: Any) -> tuple[PosteriorFamily | None, tuple[np.ndarray, ...]]:
    """(the family or None, a row for each datapoint: phi_P, or mu_K, S_K or S_KxK and log |det S|)."""
    if not isinstance(q, tuple | list) or len(q) != 2:
        raise ConfigError("to_arviz: give q as (mu, sigma), (mu, S), (family, phi) or a dict of these")
    first, second = q
    if isinstance(first, PosteriorFamily):
        return first, (np.asarray(second, np.float32),)
    mu, scale = np.asarray(first, np.float32), np.asarray(second, np.float32)
    if mu.ndim != 2 or scale.shape not in (mu.shape, (*mu.shape, mu.shape[1])):
        raise ConfigError(
            f"to_arviz: the shapes of q are {mu.shape} and {scale.shape}: [N, K] and [N, K] or [N, K, K]"
        )
    if scale.ndim == 2:
        if not np.all(scale > 0.0):
            raise ConfigError("to_arviz: sigma must be above 0; of a log-variance give exp(log_var / 2)")
        log_det = np.sum(np.log(np.float64(scale)), axis=1)
    else:
        log_det = np.linalg.slogdet(np.float64(scale))[1]
    return None, (mu, scale, np.float32(log_det))


def _draw(
    log_likelihood: Callable[[Any, Array], Array],
    log_prior: Callable[[Array], Array],
    family: PosteriorFamily | None,
    num_samples: int,
    key: Key,
    row: tuple[Any, Array, tuple[Array, ...]],
) -> tuple[Array, Array, Array]:
    """(z_SxK, log p(x given z)_S, log p(x, z) - log q(z) of each) of one datapoint."""
    x, index, parameters = row
    K = family.latent_dim if family is not None else len(parameters[0])
    eps_SxK = jax.random.normal(jax.random.fold_in(key, index), (num_samples, K))
    if family is not None:
        z_SxK, log_q_S = jax.vmap(partial(family.sample_and_log_prob, parameters[0]))(eps_SxK)
    else:
        mu_K, scale, log_det = parameters
        z_SxK = mu_K[None, :] + (scale[None, :] * eps_SxK if scale.ndim == 1 else eps_SxK @ scale.T)
        log_q_S = jax.vmap(standard_normal_log_prob)(eps_SxK) - log_det
    log_p_S = jax.vmap(partial(log_likelihood, x))(z_SxK)
    return z_SxK, log_p_S, log_p_S + jax.vmap(log_prior)(z_SxK) - log_q_S


def _inference_data(arviz: Any, parts: Groups) -> Any:
    """From ArviZ 1.0 on `from_dict` takes one dict of groups, before it each group by its name."""
    dims = {"z": ["datapoint", "latent"], "log_weight": ["datapoint"]}
    dims["x"] = ["datapoint"]  # of the log-likelihood; the observed x has its own shape
    observed = parts.pop("observed_data")
    if hasattr(arviz, "InferenceData"):
        made = arviz.from_dict(**parts, dims=dims)
        made.add_groups({"observed_data": arviz.dict_to_dataset(observed, default_dims=[])})
        return made
    made = arviz.from_dict(parts, dims=dims)
    made["observed_data"] = arviz.dict_to_dataset(observed, sample_dims=[])
    return made
