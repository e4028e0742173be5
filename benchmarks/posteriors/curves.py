"""Bananas, funnels, thin tubes along a wave: densities that are normalised whatever the curve.

    z_1 ~ N(0, a^2),  z_2 given z_1 ~ N(f(z_1), g(z_1)^2),  z_3, ..., z_K given z_1 ~ N(0, g(z_1)^2)
    f(u) = bend u^2 + sway sin(frequency u),   log g(u) = log width + slope cap tanh(u / cap)

log p(x) is the offset. With a large cap, slope 1/2 and bend 0 this is Neal's funnel; a small cap bounds its
scale from both sides.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from benchmarks.posteriors.record import Posteriors, float32, moments_start
from vaelab.types import Array


class Curve(NamedTuple):
    """The numbers of one datapoint; `a` is the standard deviation of z_1."""

    kind: str
    a: float
    width: float
    bend: float = 0.0
    sway: float = 0.0
    frequency: float = 1.0
    slope: float = 0.0
    cap: float = 100.0


BANANAS = [
    Curve(f"banana, b {bend:g}, width {width:g}", a, width, bend=bend)
    for a, width, bend in (
        (1, 1, 0.3),
        (1, 0.5, 1.0),
        (2, 0.3, 0.5),
        (1, 0.1, 1.0),
        (1, 0.05, 0.5),
        (1, 1, 3.0),
    )
]
FUNNELS = [
    Curve(f"funnel, sd {a:g}" + (f", cut at {cap:g}" if cap < 100 else ""), a, 1.0, slope=0.5, cap=cap)
    for a, cap in ((1, 100), (2, 100), (3, 100), (1.5, 2), (3, 2), (3, 4))
]
TUBES = [
    Curve(f"tube, noise {width:g}", 1.0, width, sway=sway, frequency=frequency)
    for width, sway, frequency in (
        (0.05, 0.5, 1.0),
        (0.02, 1.0, 2.0),
        (0.01, 0.5, 2.0),
        (0.005, 1.0, 1.0),
        (0.002, 0.3, 1.0),
        (0.001, 1.0, 2.0),
    )
]


def log_joint(x: dict[str, Array], z_K: Array) -> Array:
    """log p(x, z) of one datapoint, nats."""
    u, rest = z_K[0], z_K[1:]
    curve = x["bend"] * u**2 + x["sway"] * jnp.sin(x["frequency"] * u)
    log_g = jnp.log(x["width"]) + x["slope"] * x["cap"] * jnp.tanh(u / x["cap"])
    residual = rest.at[0].add(-curve) * jnp.exp(-log_g)
    square = (u / x["a"]) ** 2 + jnp.sum(residual**2)
    log_scales = jnp.log(x["a"]) + rest.size * log_g
    return x["offset"] - log_scales - 0.5 * square - 0.5 * z_K.size * jnp.log(2.0 * jnp.pi)


def curves(K: int) -> Posteriors:
    """All of the above; the encoder has half the spread along the curve, and the width across it."""
    rng, every = np.random.default_rng(4000 + K), [*BANANAS, *FUNNELS, *TUBES]
    columns = {name: [getattr(curve, name) for curve in every] for name in Curve._fields[1:]}
    x = float32(offset=3.0 * rng.normal(size=len(every)), **columns)
    sd_NxK = np.stack([np.r_[0.5 * curve.a, np.full(K - 1, curve.width)] for curve in every])
    count = len(every)
    return Posteriors(
        latent_dim=K,
        density=log_joint,
        is_likelihood=False,
        x=x,
        encode=(np.zeros((count, K), np.float32), np.float32(sd_NxK)),
        log_evidence_N=x["offset"].astype(np.float64),
        best_diagonal_N=np.full(count, np.nan),
        attained_N=np.full(count, np.nan),
        num_parts_N=np.ones(count, int),
        # Every density here has a single maximum; along a wave a Gaussian fits best at several points of it,
        # and whether these are modes is not judged.
        num_modes_N=np.where([curve.sway > 0 for curve in every], 0, 1),
        apart_N=np.zeros(count),
        kind_N=np.array([curve.kind for curve in every]),
        starts_NxSx2K=_starts(sd_NxK) if K == 2 else None,
    )


def _starts(sd_NxK: np.ndarray) -> np.ndarray:
    """At the middle of z_1 and 1 and 2 of its half standard deviations to both sides, with z_2 = 0."""
    zero_N = np.zeros(len(sd_NxK))
    moved = [
        moments_start(np.stack([shift * sd_NxK[:, 0], zero_N], axis=1), sd_NxK) for shift in (-2, -1, 0, 1, 2)
    ]
    return np.concatenate(moved, axis=1)
