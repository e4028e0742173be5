"""q of a hierarchical z that are made level by level, each Gaussian given the level before it.

    bottom_up   q(z_1) prod_l q(z_{l+1} given z_l)      (Burda, Grosse & Salakhutdinov 2016, section 3)
    top_down    q(z_L) prod_l q(z_l given z_{l+1})      (Sonderby et al. 2016, eq. 10-13)

A sample and its density take one pass, log q is the sum over levels. phi = [mu_K, log sigma_K, weights]: the
first two are of a datapoint, the weights are the same for all that an encoder gives. There is no closed form
of the KL.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from vaelab.keys import named_key
from vaelab.model.hierarchy import conditional, conditional_init, normal_log_prob, slices
from vaelab.posterior.location_scale import mean_field_log_sd
from vaelab.types import Array, Params, PosteriorFamily, SharedPhi

if TYPE_CHECKING:
    import distrax

Conditional = Callable[[int, Array], tuple[Array, Array]]
"""(l, z_K) -> (mean, log sd) of level l given the levels before it in the chain, which z has already."""


def bottom_up(latent_dim: int, *, hidden: int, levels: tuple[int, ...]) -> PosteriorFamily:
    """z_{l+1} = m_l(z_l) + s_l(z_l) (mu + sigma eps), with mu and sigma of the datapoint in every level.

    m_l and s_l are those of `model.hierarchy.conditional`, one hidden layer beside a linear map, and m = 0,
    s = 1 at `init()`: every diagonal q is in the family. An encoder shares their weights among datapoints;
    the inner loop frees them for each, as those of a flow. The q of Burda et al. are those with mu = 0 and
    sigma = 1 above the first level. Raises ValueError for a size below 1, or levels that are not latent_dim
    numbers in all.
    """
    at = _places(latent_dim, levels, hidden)
    keys = jax.random.split(named_key(0, "bottom_up"), max(len(levels) - 1, 1))
    weights = [
        conditional_init(key, below, size, hidden, spread=0.0)
        for key, below, size in zip(keys, levels[:-1], levels[1:], strict=False)
    ]
    flat_R, unravel = ravel_pytree(weights)

    def conditionals(phi: SharedPhi) -> Conditional:
        mu_K, log_sd_K = jnp.split(phi.local_P, 2)
        of_levels = unravel(phi.shared_R)

        def one(l: int, z_K: Array) -> tuple[Array, Array]:
            if l == 0:
                return mu_K[at[0]], log_sd_K[at[0]]
            mean, log_scale = conditional(of_levels[l - 1], z_K[at[l - 1]])
            return mean + jnp.exp(log_scale) * mu_K[at[l]], log_scale + log_sd_K[at[l]]

        return one

    def near(mu_K: Array, scale_KxK: Array) -> Array:
        # With m = 0 and s = 1 the mean-field optimum of N(mu, S S').
        return jnp.concatenate([mu_K, mean_field_log_sd(scale_KxK), flat_R])

    # Its order is not the prior's: its log q by level, less the prior's, would be no KL of that level.
    made = _chain("bottom_up", at, range(len(at)), flat_R, conditionals)
    return made._replace(near=near, log_q_of_levels=None)


def top_down(latent_dim: int, *, levels: tuple[int, ...], prior: Params) -> PosteriorFamily:
    """q(z_l given z_{l+1}) = p(z_l given z_{l+1}) N(z_l; mu_l, sigma_l^2) / norm; q(z_L) the last alone.

    The message (mu, sigma) of the datapoint is weighed against the model's own conditional by precision, in
    each dimension: 1 / sd^2 = 1 / sigma^2 + 1 / s^2 and mean = sd^2 (mu / sigma^2 + m / s^2), with m and s
    those of the prior at z_{l+1}. The weights in phi are the prior's parameters, `shared_of(theta)`, which
    training moves through both, and the inner loop does not: its variables are the messages alone. prior: a
    tree of the shapes of theta["prior"]. `init()` has messages N(0, 1) and conditionals N(0, I), and is not
    N(0, I): that is the limit of infinite sigma, where no gradient is left. Raises ValueError for levels that
    are not latent_dim in all.
    """
    at = _places(latent_dim, levels, 1)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), prior)
    flat_R, unravel = ravel_pytree(zeros)

    def conditionals(phi: SharedPhi) -> Conditional:
        mu_K, log_sd_K = jnp.split(phi.local_P, 2)
        of_levels = unravel(phi.shared_R)

        def one(l: int, z_K: Array) -> tuple[Array, Array]:
            if l == len(at) - 1:
                return mu_K[at[l]], log_sd_K[at[l]]
            mean, log_scale = conditional(of_levels[f"level_{l + 1}"], z_K[at[l + 1]])
            log_sd = -0.5 * jnp.logaddexp(-2.0 * log_scale, -2.0 * log_sd_K[at[l]])
            weight = jnp.exp(2.0 * (log_sd - log_sd_K[at[l]]))
            return mean + weight * (mu_K[at[l]] - mean), log_sd

        return one

    made = _chain("top_down", at, range(len(at) - 1, -1, -1), flat_R, conditionals, held=True)
    return made._replace(shared_of=lambda theta: ravel_pytree(theta["prior"])[0])


def of_model(family: PosteriorFamily, theta: Params, phi_P: Array | SharedPhi) -> Array | SharedPhi:
    """phi with the numbers that the family shares with the model at theta; phi itself where there are none.

    phi_P: whole, or an encoder's part of it, which is what differs between datapoints.
    """
    if family.shared_of is None:
        return phi_P
    return SharedPhi(phi_P[: family.param_size - family.shared_size], family.shared_of(theta))


def _places(latent_dim: int, levels: tuple[int, ...], hidden: int) -> list[slice]:
    if min(*levels, hidden, 1) < 1 or sum(levels) != latent_dim:
        raise ValueError(f"levels of {levels} numbers with {hidden=} are not latent_dim={latent_dim} in all")
    return slices(levels)


def _chain(
    name: str,
    at: list[slice],
    order: Sequence[int],
    flat_R: Array,
    conditionals: Callable[[SharedPhi], Conditional],
    *,
    held: bool = False,
) -> PosteriorFamily:
    """The family of a chain of levels in this order; held: whether weights in a flat phi have no gradient."""
    import distrax

    from vaelab.posterior.bijectors import LevelByLevel

    K = at[-1].stop

    def split(phi_P: Array | SharedPhi) -> SharedPhi:
        if isinstance(phi_P, SharedPhi):
            return phi_P
        shared_R = phi_P[2 * K :]
        return SharedPhi(phi_P[: 2 * K], jax.lax.stop_gradient(shared_R) if held else shared_R)

    def bijector(phi_P: Array | SharedPhi) -> "distrax.Bijector":
        return LevelByLevel(conditionals(split(phi_P)), at, order)

    def log_q_of_draw(phi_P: Array | SharedPhi, eps_K: Array) -> tuple[Array, Array]:
        of_level, z_K = conditionals(split(phi_P)), bijector(phi_P).forward(eps_K)
        return z_K, jnp.stack([normal_log_prob(z_K[at[l]], *of_level(l, z_K)) for l in range(len(at))])

    def sample_and_log_prob(phi_P: Array | SharedPhi, eps_K: Array) -> tuple[Array, Array]:
        z_K, log_det = bijector(phi_P).forward_and_log_det(eps_K)
        return z_K, normal_log_prob(eps_K, jnp.zeros(K), jnp.zeros(K)) - log_det

    def dist(phi_P: Array | SharedPhi) -> "distrax.Distribution":
        base = distrax.Independent(distrax.Normal(jnp.zeros(K), jnp.ones(K)), 1)
        return distrax.Transformed(base, bijector(phi_P))

    return PosteriorFamily(
        name=name,
        latent_dim=K,
        param_size=2 * K + flat_R.size,
        shared_size=flat_R.size,
        init=lambda: jnp.concatenate([jnp.zeros(2 * K), flat_R]),
        reparameterize=lambda phi_P, eps_K: bijector(phi_P).forward(eps_K),
        sample_and_log_prob=sample_and_log_prob,
        dist=dist,
        log_q_of_levels=log_q_of_draw,
    )
