"""Gaussian q with a block of its own for each level of z: full within a level, independent across.

Between the diagonal family and the full one: what it has beyond the first are the correlations within the
levels, what it lacks of the second those across. Everything is that of the blocks: the KL to N(0, I), the
Fisher information and the concavity in (mu, S) are sums over them, and argmin KL(q || N(mu, Lam^-1)) has in
each block the inverse of that block of Lam.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np

from vaelab.linalg import inverse_and_log_abs_det, inverse_lower, inverse_reverse_cholesky, qr
from vaelab.model.hierarchy import slices
from vaelab.posterior.gaussian import cholesky
from vaelab.posterior.location_scale import location_scale_family
from vaelab.types import Array, GaussianGeometry, PosteriorFamily

if TYPE_CHECKING:
    import distrax


def per_level(latent_dim: int, *, levels: tuple[int, ...]) -> PosteriorFamily:
    """z_l = mu_l + S_l eps_l, S_l lower triangular with a positive diagonal, each level as in `cholesky`.

    phi = [mu_K, the scale of each block in its own coordinates], P = 2K + sum_l K_l (K_l - 1) / 2. Raises
    ValueError where the levels are not latent_dim numbers in all.
    """
    if min(levels, default=0) < 1 or sum(levels) != latent_dim:
        raise ValueError(f"levels of {levels} numbers are not latent_dim={latent_dim} in all")
    return _blocks([cholesky(size) for size in levels])


class _Layout(NamedTuple):
    """phi_P = [mu_K, the scales of all blocks], taken apart into phi of each block, and put together."""

    split: Callable[[Array], list[Array]]
    join: Callable[[list[Array]], Array]


def _layout(blocks: list[PosteriorFamily], at: list[slice]) -> _Layout:
    levels = [block.latent_dim for block in blocks]
    ends = np.cumsum([block.param_size - block.latent_dim for block in blocks])

    def split(phi_P: Array) -> list[Array]:
        scales = jnp.split(phi_P[at[-1].stop :], ends[:-1])
        return [jnp.concatenate([phi_P[of_z], scale]) for of_z, scale in zip(at, scales, strict=True)]

    def join(phis: list[Array]) -> Array:
        means = [phi[:size] for phi, size in zip(phis, levels, strict=True)]
        return jnp.concatenate([*means, *(phi[size:] for phi, size in zip(phis, levels, strict=True))])

    return _Layout(split, join)


def _blocks(blocks: list[PosteriorFamily]) -> PosteriorFamily:
    """The family of independent blocks, each of the family `cholesky`."""
    import distrax

    from vaelab.posterior.bijectors import DenseLinear

    levels = tuple(block.latent_dim for block in blocks)
    K, at = sum(levels), slices(levels)
    split, join = _layout(blocks, at)

    def each(function: Callable[[PosteriorFamily], Callable[..., Array]], *arguments: list) -> list[Array]:
        return [function(block)(*given) for block, *given in zip(blocks, *arguments, strict=True)]

    def reparameterize(phi_P: Array, eps_K: Array) -> Array:
        eps = [eps_K[of_z] for of_z in at]
        return jnp.concatenate(each(lambda block: block.reparameterize, split(phi_P), eps))

    def location_scale(phi_P: Array) -> tuple[Array, Array]:
        scales = each(lambda block: lambda phi: block.gaussian.location_scale(phi)[1], split(phi_P))
        return phi_P[:K], jax.scipy.linalg.block_diag(*scales)

    def log_abs_det(phi_P: Array) -> Array:
        return sum(jnp.sum(phi[size : 2 * size]) for phi, size in zip(split(phi_P), levels, strict=True))

    def dist(phi_P: Array) -> "distrax.Distribution":
        mu_K, scale_KxK = location_scale(phi_P)
        bijector = DenseLinear(scale_KxK, inverse_lower(scale_KxK), log_abs_det(phi_P))
        return distrax.MultivariateNormalFromBijector(mu_K, bijector)

    def natural_gradient(phi_P: Array, grad_P: Array) -> Array:
        return join(each(lambda block: block.gaussian.natural_gradient, split(phi_P), split(grad_P)))

    def dual_gradient(phi_P: Array, grad_P: Array, concavity_KxK: Array) -> Array:
        # The mean is measured in all of C, a block of the scale in that block of it alone: see `certificate`.
        own = [concavity_KxK[of_z, of_z] for of_z in at]
        parts = each(lambda block: block.gaussian.dual_gradient, split(phi_P), split(grad_P), own)
        mean_K = inverse_reverse_cholesky(concavity_KxK).T @ grad_P[:K]
        return jnp.concatenate([mean_K, *(part[size:] for part, size in zip(parts, levels, strict=True))])

    def project(mu_K: Array, scale_KxK: Array) -> Array:
        inverse_KxK, _ = inverse_and_log_abs_det(scale_KxK)
        lower = [_inverse_of_gram(inverse_KxK[:, of_z]) for of_z in at]
        means = [mu_K[of_z] for of_z in at]
        return join(each(lambda block: block.gaussian.project, means, lower))

    geometry = GaussianGeometry(location_scale, natural_gradient, True, dual_gradient, project)
    return location_scale_family(
        "per_level",
        K,
        sum(block.param_size for block in blocks),
        lambda: join([block.init() for block in blocks]),
        reparameterize,
        log_abs_det,
        dist,
        lambda phi_P: sum(each(lambda block: block.kl_to_prior, split(phi_P))),
        geometry,
    )


def _inverse_of_gram(root_KxJ: Array) -> Array:
    """The lower triangular L_JxJ, positive on its diagonal, with L L' = (T' T)^-1, T = root.

    From the QR factors of T with its columns reversed, T' T itself not being formed: it would square the
    condition number.
    """
    K, J = root_KxJ.shape
    upper_JxJ = qr(jnp.pad(root_KxJ[:, ::-1], ((0, 0), (0, K - J))))[1][:J, :J]
    lower_JxJ = inverse_lower(upper_JxJ[::-1, ::-1])
    return lower_JxJ * jnp.sign(jnp.diag(lower_JxJ))[None, :]
