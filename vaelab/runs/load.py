"""A finished run as functions: its model, its encoders, and what it has measured."""

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from ml_collections import ConfigDict

from vaelab import data
from vaelab.config.experiment import read_families, read_input_shape, read_model
from vaelab.config.section import Section
from vaelab.config.train import read_encoders, train_settings
from vaelab.errors import ConfigError
from vaelab.model.latent import bind, simulate
from vaelab.posterior.chain import of_model
from vaelab.report.weights import FILE, fill, read_weights
from vaelab.runs.data import read as read_data
from vaelab.runtime.directory import as_directory
from vaelab.runtime.packing import CheckpointError
from vaelab.types import Array, Encoder, Key, LatentModel, Params, PosteriorFamily

FIRST = "train"  # the stage that trains the model


@dataclass(frozen=True)
class FinishedRun:
    """A finished run; its functions take one datapoint, or several with a leading N.

    directory, config: where it is, and its config. model, theta: p(x, z) and its parameters. families: those
    that were fitted. encoders: (encoder, psi) of each family that has one, the trained one first.
    image_shape: of a datapoint, whose arrays are flat, D numbers. rows: those of `gap.json`, in nats.
    per_datapoint: the arrays behind them.
    """

    directory: Path
    config: ConfigDict
    model: LatentModel
    theta: Params
    families: Mapping[str, PosteriorFamily]
    encoders: Mapping[str, tuple[Encoder, Params]]
    image_shape: tuple[int, ...]
    rows: list[dict[str, Any]]
    per_datapoint: Mapping[str, np.ndarray] = field(repr=False)

    def encode(self, x: Any, *, y: Any = None, family: str | None = None) -> Any:
        """q(z given x) of a family's encoder, the trained family's by default.

        Args: x, [D] or [N, D], as the run observed it (binarised, say); y, its label, or [N] of them, for a
        model that is conditional on it, here and below. Returns (mu_K, sigma_K) for the diagonal family,
        (mu_K, S_KxK) with z = mu + S eps for the other Gaussian ones, phi_P for a flow; with a leading N for
        several. Steps that followed the encoder in semi-amortized learning are not taken.
        Raises ConfigError for a family without an encoder.
        """
        names = list(self.encoders)
        name = family or next(iter(names), None)
        if name not in self.encoders:
            has = f"there are {', '.join(names)}" if names else "no family has one"
            raise ConfigError(f"{self.directory} has no encoder of the family {name!r}: {has}")
        encoder, psi = self.encoders[name]
        return _mapped(_encode, (encoder, self.families[name]), (self.theta, psi), self._row(x, y))

    def decode(self, z: Any, *, y: Any = None) -> Array:
        """E[x given z], [D] or [N, D], at z, [K] or [N, K]."""
        z = jnp.asarray(z, jnp.float32)
        of_y = () if self.model.given is None and y is None else (self._as_y(y, z),)
        return _mapped(_decode, (self.model,), self.theta, z, *of_y)

    def sample(self, key: Key, n: int, *, y: Any = None) -> Array:
        """x_NxD: n draws from the model, z ~ p(z) and x ~ p(x given z).

        y: one, or [N]; without labels a conditional model draws them, as often as in the training data.
        """
        keys_N = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n))
        if y is None and (self.model.given is None or self.model.given.kind == "label"):
            return _compiled(_sample, (self.model,), (None, 0))(self.theta, keys_N)
        y_NxC = self._as_y(y, jnp.zeros((n, 1)))
        return _compiled(_sample_given, (self.model,), (None, 0, 0))(self.theta, keys_N, y_NxC)

    def log_likelihood(self, x: Any, z: Any, *, y: Any = None) -> Array:
        """log p(x given z) in nats, [] at x_D and z_K, [N] at x_NxD and z_NxK."""
        rows = self._row(x, y), jnp.asarray(z, jnp.float32)
        return _mapped(_log_likelihood, (self.model,), self.theta, *rows)

    def log_joint(self, x: Any, z: Any, *, y: Any = None) -> Array:
        """log p(x, z) in nats, [] at x_D and z_K, [N] at x_NxD and z_NxK."""
        return _mapped(_log_joint, (self.model,), self.theta, self._row(x, y), jnp.asarray(z, jnp.float32))

    def _row(self, x: Any, y: Any) -> Array:
        """x as a datapoint of the model: with y beside it where that is conditional on it."""
        x = self._flat(x)
        if self.model.given is None and y is None:
            return x
        return jnp.concatenate([x, self._as_y(y, x)], axis=-1)

    def _as_y(self, y: Any, like: Array) -> Array:
        """y_C, or y_NxC where `like` has a leading N, of one label, or library size, or N of them."""
        given = self.model.given
        if given is None:
            raise ConfigError("this model is not conditional on any y: leave it out")
        of_label = given.kind == "label"
        what = (
            f"a label is an integer from 0 to {given.size - 1}" if of_label else "a library size is above 0"
        )
        if y is None:
            raise ConfigError(
                f"this model is conditional on a {given.kind.replace('_', ' ')}: give y=; {what}"
            )
        try:
            value = np.asarray(y)
        except ValueError:
            raise ConfigError(f"y={y!r}: give one, or one for each datapoint; {what}") from None
        if value.dtype.kind not in ("iu" if of_label else "iuf") or not np.all(
            (value >= 0) & (value < given.size) if of_label else (value > 0) & np.isfinite(value)
        ):
            raise ConfigError(f"y={y!r}: {what}")
        if value.ndim > like.ndim - 1 or value.shape not in ((), like.shape[:-1]):
            raise ConfigError(f"y has the shape {value.shape}: give one, or one for each datapoint")
        unseen = [int(c) for c in np.unique(value) if given.weight_M[c] == 0.0] if of_label else []
        if unseen:
            raise ConfigError(f"y={y!r}: no training example has the label {unseen[0]}")
        value = np.broadcast_to(value, like.shape[:-1])
        y_C = np.eye(given.size)[value] if of_label else np.log(np.float64(value))[..., None]
        return jnp.asarray(y_C, jnp.float32)

    def _flat(self, x: Any) -> Array:
        """x_D or x_NxD; images are flattened row by row."""
        x, shape = jnp.asarray(x, jnp.float32), self.image_shape
        if len(shape) > 1 and x.shape[-len(shape) :] == shape:
            x = x.reshape(*x.shape[: -len(shape)], -1)
        size = int(np.prod(shape))
        if x.ndim not in (1, 2) or x.shape[-1] != size:
            raise ConfigError(f"x has the shape {x.shape}: give [{size}], or [N, {size}] for N datapoints")
        return x


def _encode(encoder: Encoder, family: PosteriorFamily, parameters: tuple[Params, Params], x_D: Array) -> Any:
    theta, psi = parameters
    phi_P = ravel_pytree(of_model(family, theta, encoder.apply(psi, x_D)))[0]
    if family.gaussian is None:
        return phi_P
    mu_K, scale_KxK = family.gaussian.location_scale(phi_P)
    return (mu_K, jnp.diag(scale_KxK)) if family.name == "diagonal" else (mu_K, scale_KxK)


def _decode(model: LatentModel, theta: Params, z_K: Array, *y: Array) -> Array:
    return model.given.mean(theta, z_K, *y) if y else model.mean(theta, z_K)


def _sample(model: LatentModel, theta: Params, key: Key) -> Array:
    x_D = simulate(model, theta, key)[1]
    return x_D if model.given is None else x_D[: model.given.data_dim]


def _sample_given(model: LatentModel, theta: Params, key: Key, y_C: Array) -> Array:
    key_z, key_x = jax.random.split(key)
    return model.given.sample(theta, key_x, model.sample_prior(theta, key_z), y_C)


def _log_likelihood(model: LatentModel, theta: Params, x_D: Array, z_K: Array) -> Array:
    return model.log_likelihood(theta, x_D, z_K)


def _log_joint(model: LatentModel, theta: Params, x_D: Array, z_K: Array) -> Array:
    return bind(model, theta, x_D)(z_K)


@functools.lru_cache(maxsize=64)
def _compiled(
    function: Callable[..., Any], static: tuple[Any, ...], axes: tuple | None
) -> Callable[..., Any]:
    one = functools.partial(function, *static)
    return jax.jit(one if axes is None else jax.vmap(one, axes))


def _mapped(function: Callable[..., Any], static: tuple[Any, ...], parameters: Params, *rows: Array) -> Any:
    """The function at one datapoint, or at several where the arrays have a leading N."""
    several = {row.ndim == 2 for row in rows}
    if len(several) > 1 or any(row.ndim not in (1, 2) for row in rows):
        shapes = ", ".join(str(row.shape) for row in rows)
        raise ConfigError(f"give one datapoint of each, or N of each: the shapes are {shapes}")
    axes = (None, *(0 for _ in rows)) if several == {True} else None
    return _compiled(function, static, axes)(parameters, *rows)


def load(workdir: str | Path) -> FinishedRun:
    """The finished run in a directory, also one of a sweep's, `DIR/POINT/seed=S`.

    Needs neither its data set nor TensorFlow. The weights are those of `model.safetensors`, or of the newest
    checkpoints where a run has no such file.

    Raises ConfigError, one line, for a folder that holds no run, or an unfinished one, or one that another
    version of vaelab has made and this one cannot read.
    """
    directory = as_directory(workdir)
    config, rows = read_finished(directory)
    try:
        top = Section(config)
        described = None
        if config.data.name != "simulated":
            described = _described(directory, config.data.name)
        model = read_model(top, described, lambda network: network)
        image_shape = described.image_shape if described else (config.model.data_dim,)
        families = read_families(top, model, train_settings(top).batch_size)
        taken = read_input_shape(top, described) if described else image_shape
        encoders = read_encoders(top, families, taken, lambda network: network)
        weights = _weights(directory)
        theta = fill(jax.eval_shape(model.init, jax.random.key(0)), "theta", weights)
        trained = {}
        for name, encoder in encoders.items():
            if any(weight.startswith(f"encoder/{name}/") for weight in weights):
                template = jax.eval_shape(encoder.init, jax.random.key(0))
                trained[name] = encoder, fill(template, f"encoder/{name}", weights)
        with np.load(directory / "per_datapoint.npz") as arrays:
            per_datapoint = dict(arrays)
    except (KeyError, AttributeError, ValueError, OSError, CheckpointError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(
            f"{directory} cannot be loaded: another version made it, or a file is damaged ({problem})"
        ) from error
    return FinishedRun(directory, config, model, theta, families, trained, image_shape, rows, per_datapoint)


def _described(directory: Path, name: str) -> data.Known:
    """The shape and range of the data, as the run has kept them; it did not always."""
    stored = read_data(directory)
    if stored is None:
        return data.Known(*data.describe(name))
    counts = tuple(stored.get("label_counts", ()))
    return data.Known(tuple(stored["image_shape"]), stored["max_value"], counts)


def read_finished(directory: Path) -> tuple[ConfigDict, list[dict[str, Any]]]:
    """The config and the rows. Raises ConfigError where there is no finished run."""
    path = directory / "config.json"
    if not path.is_file():
        runs = sorted(directory.glob("*/seed=*/gap.json"))
        hint = f": take one of its runs, as {runs[0].parent}" if runs else ": give the directory of a run"
        raise ConfigError(f"{directory} holds no config.json{hint}")
    try:
        config = ConfigDict(json.loads(path.read_text()))
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: {error}") from None
    if "sweep" in config:
        raise ConfigError(f"{directory} is a sweep: take one of its runs, as {directory}/POINT/seed=0")
    if "study" in config:
        raise ConfigError(f"{directory} is a study, which trains nothing: its tables are in study.json")
    if "data" not in config or "model" not in config:
        raise ConfigError(f"{directory} is an audit, whose model is yours: its results are in gap.json")
    try:
        rows = json.loads((directory / "gap.json").read_text())["rows"]
    except FileNotFoundError:
        raise ConfigError(
            f"{directory} is unfinished: the command that began it goes on, and writes gap.json at its end"
        ) from None
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{directory / 'gap.json'} is damaged: {error}") from None
    return config, rows


def _weights(directory: Path) -> dict[str, np.ndarray]:
    """The arrays of `model.safetensors`, by name, or those of the newest checkpoint of each stage."""
    if (directory / FILE).is_file():
        return read_weights(directory / FILE)
    from vaelab.runtime.checkpoint import read_newest  # Orbax is half a second that other runs do not need

    config, weights = json.loads((directory / "config.json").read_text()), {}
    for path in sorted((directory / "checkpoints").iterdir()):
        family = config["posterior"]["family"] if path.name == FIRST else path.name.removeprefix("refit_")
        prefixes = {"theta": "theta", "psi": f"encoder/{family}"}
        kept = "best" if config["train"].get("keep_best") else None  # else the last state
        for leaf, array in read_newest(path).items():
            part, *names = ["".join(match) for match in PART.findall(leaf)]
            if kept:
                part, *names = names if part == kept else ("", *names)
            # psi of mean-field learning is a table, and no encoder.
            if part in prefixes and names[:1] not in (["phi_NxP"], ["solver_state"]):
                weights["/".join((prefixes[part], *names))] = array
    return weights


PART = re.compile(r"\.(\w+)|\['([^']+)'\]|\[(\d+)\]")  # of a leaf's path: .theta['Dense_0']['kernel']
