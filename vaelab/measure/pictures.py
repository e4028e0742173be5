"""What a model makes of z, as images: reconstructions, draws, paths between datapoints, traversals."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaelab.measure.subject import Outcome, Subject
from vaelab.model.prior import has_known_prior
from vaelab.types import Array, Key, LatentModel, Params, PosteriorFamily

NUM_IMAGES = 12  # datapoints that are reconstructed, and draws from the prior
NUM_PAIRS, NUM_STEPS = 4, 8  # of datapoints, and decodings from the one to the other
MOST_UNITS, NUM_VALUES = 10, 9  # that are traversed, and values of each
REACH = 2.0  # standard deviations to either side
PORTION = 32  # decoded at a time


class Pictures(NamedTuple):
    """Images with values from 0 to 1, [n, height, width] or [n, height, width, 3]; decodings E[x given z].

    split, family, of: whose datapoints, of which family their q are, and what gave them, as `encoder`, or q*
    index_N: of the datapoints that are reconstructed
    reconstructions: these datapoints, then decodings of the centre (eps = 0) of their q, by title
    samples: decodings of draws from the prior
    paths: by the indices of two datapoints, the one, decodings of points at equal distances on the line
        between the centres of their q, the other
    traversals: by active unit, the one whose mean varies most first; decodings of the centre of the first
        datapoint's q with this unit at values[unit], REACH standard deviations to either side of its mean
        under the aggregate posterior
    """

    split: str
    family: str
    of: str
    index_N: np.ndarray
    reconstructions: dict[str, np.ndarray]
    samples: np.ndarray
    paths: dict[tuple[int, int], np.ndarray]
    traversals: dict[int, np.ndarray]
    values: dict[int, np.ndarray]


def drawable(image_shape: Sequence[int]) -> bool:
    """Whether x is an image, grey or of three colours."""
    return len(image_shape) == 2 or (len(image_shape) == 3 and image_shape[2] in (1, 3))


def said_of(image_shape: Sequence[int]) -> str:
    """Why there are no pictures of images of this shape; nothing where there are, or where x is no image."""
    if len(image_shape) != 3 or drawable(image_shape):
        return ""
    sides = "x".join(map(str, image_shape))
    return f"no pictures are drawn: x of {sides} has {image_shape[2]} channels, and not one or three"


def as_images(values: Any, image_shape: Sequence[int]) -> np.ndarray:
    """[n, height, width] of grey images, else [n, height, width, 3], from arrays of any shape."""
    images = np.asarray(values).reshape(-1, *image_shape)
    return images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images


def held_out(splits: Iterable[str]) -> str:
    """The split to show: one that was not trained on, where there is one."""
    names = list(splits)
    return next((name for name in ("test", "validation") if name in names), names[0])


def centres(family: PosteriorFamily, phi_NxP: Any) -> np.ndarray:
    """z_NxK at the centre, eps = 0, of each q."""
    return _in_portions(_centres(family), np.asarray(phi_NxP))


def decoded(model: LatentModel, theta: Params, z_NxK: Any) -> np.ndarray:
    """E[x given z] at each z, in the shape that the model gives it."""
    return _in_portions(functools.partial(_decode(model), theta), np.asarray(z_NxK, np.float32))


def pictures(
    subject: Subject,
    split: str,
    outcome: Outcome,
    key: Key,
    image_shape: Sequence[int],
    diagnostics: Mapping[str, Any] | None,
) -> Pictures:
    """Those of the first family; diagnostics: the entry of its row, for the active units; None for none."""
    model, theta, family = subject.model, subject.theta, next(iter(subject.families.values()))
    fit, (x_NxD, index_N) = outcome.fits[family.name], outcome.points.inputs
    count, of = min(NUM_IMAGES, len(index_N)), subject.amortized.get(family.name, "q*")
    phis = {} if of == "q*" else {f"by the {of}": fit.phi_start}
    phis["by q*"] = fit.inference.phi_P
    z_of = {title: centres(family, phi_NxP[:count]) for title, phi_NxP in phis.items()}
    first_NxK = next(iter(z_of.values()))
    pairs = [(i, i + 1) for i in range(0, min(2 * NUM_PAIRS, count - 1), 2)]
    values = _values(outcome, family.name, diagnostics)
    # All at once, so that one program decodes them.
    strips = {
        **z_of,
        "samples": _draws_of_prior(model, theta, key, count),
        **{pair: _line(*first_NxK[list(pair)]) for pair in pairs},
        **{unit: _moved(first_NxK[0], unit, some) for unit, some in values.items()},
    }
    images = as_images(decoded(model, theta, np.concatenate(list(strips.values()))), image_shape)
    ends = np.cumsum([len(z) for z in strips.values()])[:-1]
    made = dict(zip(strips, np.split(images, ends), strict=True))
    data = as_images(x_NxD[:count], image_shape)
    return Pictures(
        split=split,
        family=family.name,
        of=of,
        index_N=np.asarray(index_N[:count]),
        reconstructions={f"{split} data": data, **{title: made[title] for title in z_of}},
        samples=made["samples"],
        paths={
            (int(index_N[i]), int(index_N[j])): np.concatenate([data[[i]], made[i, j], data[[j]]])
            for i, j in pairs
        },
        traversals={unit: made[unit] for unit in values},
        values=values,
    )


def _draws_of_prior(model: LatentModel, theta: Params, key: Key, count: int) -> np.ndarray:
    """z_NxK ~ p(z); none where the prior cannot be sampled."""
    if has_known_prior(model):
        return np.asarray(jax.random.normal(key, (count, model.latent_dim)))
    if model.sample_prior is None:
        return np.zeros((0, model.latent_dim), np.float32)
    keys = jax.random.split(key, count)
    return np.asarray(jax.jit(jax.vmap(model.sample_prior, (None, 0)))(theta, keys))


def _values(outcome: Outcome, name: str, diagnostics: Mapping[str, Any] | None) -> dict[int, np.ndarray]:
    """The values that each active unit takes in turn, the one whose mean varies most first."""
    variances = (diagnostics or {}).get("variance_of_means")
    if name not in outcome.diagnostics or not variances:
        return {}
    z_NxSxK = outcome.diagnostics[name].encoded.draws.z_NxSxK
    z_MxK = z_NxSxK.reshape(-1, z_NxSxK.shape[2])
    mean_K, sd_K = np.mean(z_MxK, axis=0), np.std(z_MxK, axis=0)
    active = diagnostics["active_units"]["by_variance"]["units"]
    ordered = sorted(active, key=lambda k: -variances[k]["mean"])[:MOST_UNITS]
    steps = np.linspace(-REACH, REACH, NUM_VALUES)
    return {k: mean_K[k] + steps * sd_K[k] for k in ordered}


def _line(start_K: np.ndarray, end_K: np.ndarray) -> np.ndarray:
    """NUM_STEPS points from start to end, both included."""
    return start_K + np.linspace(0.0, 1.0, NUM_STEPS)[:, None] * (end_K - start_K)


def _moved(z_K: np.ndarray, unit: int, values: np.ndarray) -> np.ndarray:
    """z with one of its units at each of the values."""
    z_MxK = np.tile(z_K, (len(values), 1))
    z_MxK[:, unit] = values
    return z_MxK


def _in_portions(function: Callable[[Any], Any], rows: np.ndarray) -> np.ndarray:
    """function(rows), PORTION of them at a time, the last ones filled up: one program for any number."""
    parts = []
    for start in range(0, len(rows), PORTION):
        part = rows[start : start + PORTION]
        filled = np.concatenate([part, np.repeat(part[-1:], PORTION - len(part), axis=0)])
        parts.append(np.asarray(function(filled))[: len(part)])
    return np.concatenate(parts)


@functools.lru_cache(maxsize=16)
def _centres(family: PosteriorFamily) -> Callable[[Any], Array]:
    return jax.jit(jax.vmap(lambda phi_P: family.reparameterize(phi_P, jnp.zeros(family.latent_dim))))


@functools.lru_cache(maxsize=16)
def _decode(model: LatentModel) -> Callable[[Params, Any], Array]:
    return jax.jit(jax.vmap(model.mean, (None, 0)))
