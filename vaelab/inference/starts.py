"""Where to look for modes of log p(x, z): starts of ascents, and whether one has ended beyond a dip."""

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.inference.climb import EPS, Climb
from vaelab.inference.modes import DIP, NEGLIGIBLE
from vaelab.types import Array, Key, LogJoint

REFLECTED = 8  # axes along which a fit's mean is reflected
LARGEST = 2.7  # decades, of the scales of wide draws: up to 500


def starting_points(
    key: Key,
    center_FxK: Array,
    sd_K: Array,
    more_MxK: Array,
    *,
    num_starts: int,
    wide: bool,
    prior_SxK: Array | None = None,
) -> Array:
    """z_SxK: the F centers first; then what is finite of more_MxK, reflections of the first center through
    the origin and along single axes, and draws in equal parts from N(0, I), from about the first center at
    three times its sd, and far out. S = num_starts, but no fewer than the F centers.

    wide: whether the prior is not known to be N(0, I): far out is then at all scales up to 10^LARGEST in the
    place of twice the prior's. prior_SxK: draws of a prior that can be sampled, in the place of those of
    N(0, I).
    """
    F, K = center_FxK.shape
    key_axes, key_draws, key_scale = jax.random.split(key, 3)
    axes = jax.random.permutation(key_axes, K)[:REFLECTED]
    flipped = center_FxK[:1] * (1.0 - 2.0 * jax.nn.one_hot(axes, K))
    eps_SxK = jax.random.normal(key_draws, (num_starts, K))
    kind_S = jnp.arange(num_starts) % 3
    decade_S = jax.random.uniform(key_scale, (num_starts,), maxval=LARGEST)
    far_S = 10.0**decade_S if wide else jnp.full(num_starts, 2.0)
    about_SxK = center_FxK[:1] + 3.0 * sd_K[None, :] * eps_SxK
    draws_SxK = jnp.where(
        (kind_S == 0)[:, None],
        eps_SxK if prior_SxK is None else prior_SxK,
        jnp.where((kind_S == 1)[:, None], far_S[:, None] * eps_SxK, about_SxK),
    )
    named = jnp.concatenate([more_MxK, -center_FxK[:1], flipped])[: max(num_starts - F, 0) // 2]
    rest = draws_SxK[: max(num_starts - F, 0)]
    rest = rest.at[: len(named)].set(jnp.where(jnp.isfinite(named), named, rest[: len(named)]))
    return jnp.concatenate([center_FxK, rest])


KINDS = ("fit", "pilot", "reflection", "draw", "grid", "sampler")


def kind_of_start(
    start_NxM: np.ndarray,
    known_N: np.ndarray,
    latent_dim: int,
    *,
    num_fits: int,
    num_more: int,
    num_starts: int,
    num_tops: int,
) -> np.ndarray:
    """What each start is by its number, a place in KINDS: of `starting_points`, then a grid, then a sampler.

    known_N: how many of the num_more rows of more_MxK are finite at each datapoint, which come first.
    """
    rest_NxM = start_NxM - num_fits
    num_named = min(num_more + 1 + min(REFLECTED, latent_dim), max(num_starts - num_fits, 0) // 2)
    before_grid = max(num_starts, num_fits)
    kinds = {
        "fit": start_NxM < num_fits,
        "pilot": rest_NxM < np.minimum(known_N, num_named)[:, None],
        "reflection": (rest_NxM >= num_more) & (rest_NxM < num_named),
        "draw": start_NxM < before_grid,
        "grid": start_NxM < before_grid + num_tops,
    }
    return np.select(list(kinds.values()), [KINDS.index(name) for name in kinds], KINDS.index("sampler"))


TOPS = 16  # of a grid
PLANE = 30.0


def grid(log_joint: LogJoint, latent_dim: int, *, num_nodes: int, wide: bool) -> Array:
    """z_JxK, the J = TOPS highest local maxima among about num_nodes nodes of a grid, for K = 1 and 2.

    The nodes lie close about 0 and ever further apart outwards, to 8, or where the prior is not known to
    10^LARGEST on a line and to PLANE in a plane. A mode much narrower than the nodes are apart where it lies
    is not seen.
    """
    side = num_nodes if latent_dim == 1 else int(num_nodes**0.5)
    reach = (10.0**LARGEST if latent_dim == 1 else PLANE) if wide else 8.0
    spread = 4.0  # the nodes are even to about here, where there is room
    axis_S = spread * jnp.sinh(jnp.linspace(-1.0, 1.0, side) * jnp.arcsinh(reach / spread))
    nodes = jnp.stack(jnp.meshgrid(*[axis_S] * latent_dim, indexing="ij"), axis=-1)
    value = jax.lax.map(log_joint, nodes.reshape(-1, latent_dim), batch_size=1024).reshape(
        [side] * latent_dim
    )
    value = jnp.where(jnp.isnan(value), -jnp.inf, value)
    around = jax.lax.reduce_window(value, -jnp.inf, jax.lax.max, [3] * latent_dim, [1] * latent_dim, "SAME")
    tops = jnp.where(value >= around, value, -jnp.inf).reshape(-1)
    return nodes.reshape(-1, latent_dim)[jax.lax.top_k(tops, min(TOPS, tops.size))[1]]


FAR = 2.0  # standard deviations along some axis


def dip_between(log_joint: LogJoint, ends: Climb, center_K: Array, sd_K: Array) -> Array:
    """Whether log p(x, z) dips between each of S ends and a fit's center, by DIP below the lower one, `[S]`.

    An end within FAR of the center along every axis, or NEGLIGIBLE below it, is passed over.
    """
    at_center = log_joint(center_K)

    def one(z_K: Array, value: Array) -> Array:
        between = jax.vmap(lambda part: log_joint(center_K + part * (z_K - center_K)))(
            jnp.array([0.25, 0.5, 0.75])
        )
        lower = jnp.minimum(value, at_center)
        dips = jnp.min(jnp.where(jnp.isnan(between), -jnp.inf, between)) < lower - DIP - 16.0 * EPS * abs(
            lower
        )
        return dips & jnp.any(jnp.abs(z_K - center_K) > FAR * sd_K) & (value > at_center - NEGLIGIBLE)

    return jax.vmap(one)(ends.z_K, ends.value)
