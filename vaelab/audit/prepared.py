"""From what an audit is given to what it measures, every check on the way: `prepare`."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from vaelab.audit.arrays import Data, check_params
from vaelab.audit.checked import Check, NotChecked
from vaelab.audit.checks import check_decode, check_density
from vaelab.audit.encoder import check_encoder, encoded_phi
from vaelab.audit.finite import check_finite
from vaelab.audit.given import AuditError, Choices, Given, shapes, typed
from vaelab.audit.outside import check_outside
from vaelab.audit.sampler import check_sample, simulated
from vaelab.audit.uses import check_uses
from vaelab.config.audit import audit_config, audit_settings
from vaelab.keys import Keys, purpose_key
from vaelab.measure.subject import Inputs, Measured, Subject
from vaelab.posterior.project import project
from vaelab.runtime.directory import as_directory, in_use, open_directory, stored_json
from vaelab.types import PosteriorFamily

GIVEN, SIMULATED = "given", "simulated"
COMPARED = 64  # numbers by which a function is known again


class Prepared(NamedTuple):
    """What an audit measures, all checks passed.

    subjects, points: of each split, the model with its encoder, and the datapoints.
    functions: the values that the user's functions gave when they were tried, by their names.
    columns: what goes along with the datapoints, under the names of `per_datapoint`.
    config: the settings, with digests of what was given: what a directory belongs to.
    lines: what was checked, and what could not be.
    notes: what of it deserves a look beside the results.
    """

    subjects: dict[str, Subject]
    points: dict[str, Measured]
    functions: dict[str, np.ndarray]
    image_shape: tuple[int, int] | None
    columns: dict[str, np.ndarray]
    config: ConfigDict
    lines: list[Check | NotChecked]
    notes: list[str]

    @property
    def remarks(self) -> list[str]:
        """Whether the density was checked to be normalised."""
        return [
            f"{line.name}: not checked, {line.reason}"
            if isinstance(line, NotChecked)
            else f"{line.name}: {line.result}"
            for line in self.lines
            if line.name == "normalisation"
        ]


def prepare(given: Given, data: Data, choices: Choices) -> Prepared:
    """Checks all that is given and draws the simulated datapoints; fits and estimates nothing.

    Raises AuditError or ConfigError, with one line, at the first thing that is not what it should be.
    """
    check_params(given.params)
    x, lines = data.x, data_lines(data)
    encoded = check_encoder(given, x, data.count, choices, lines)
    config = audit_config(
        choices.families,
        encoded,
        evidence=choices.evidence,
        tolerance=choices.tolerance,
        changes=choices.settings,
    )
    key = typed(data.key)
    families, settings = audit_settings(config, given.latent_dim, encoded, two_sided=given.num_simulated > 0)
    lines.append(Check("settings", ", ".join(families), f"{config.evidence.estimator} for log p(x)"))
    keys = Keys(*(purpose_key(key, purpose) for purpose in Keys._fields))
    subject = Subject(given.model(), given.params, families, settings, keys, {}, partial(_prior, families))
    inputs = Inputs(x, np.arange(data.count, dtype=np.int32))
    points = {GIVEN: Measured(inputs, label_N=data.columns.get("labels"))}
    subjects = {GIVEN: _amortized(subject, given, encoded, points[GIVEN], lines)}
    z_NxK = _some_z(subjects[GIVEN], points[GIVEN])
    functions = {
        "encode": subjects[GIVEN].start(next(iter(families)), inputs),
        given.name: check_density(given, x, z_NxK, lines, chunk_size=settings.memory),
    }
    check_finite(given, subjects[GIVEN], inputs, lines)
    notes = check_uses(given, x, z_NxK, lines)
    check_sample(given, x, z_NxK, keys.corrupt, lines)
    if given.sample is not None:
        check_outside(given, x, z_NxK, keys.corrupt, lines, chunk_size=settings.memory)
    image_shape = check_decode(given, x, z_NxK[0], lines)
    if given.num_simulated:
        drawn = simulated(given, x, keys.simulate, num_points=given.num_simulated)
        encoder = encoded if callable(given.encode) else None
        points[SIMULATED] = drawn
        subjects[SIMULATED] = _amortized(subject, given, encoder, drawn, lines, " drawn by sample")
        functions["sample"] = jax.tree.leaves(drawn.inputs.x_NxD)[0]
    config.given = {
        "density": given.name,
        "x": _digest(x),
        "key": _digest(jax.random.key_data(key)),
        "num_simulated": given.num_simulated,
    }
    columns = {f"{GIVEN}/{name}": values for name, values in data.columns.items()}
    return Prepared(subjects, points, functions, image_shape, columns, config, lines, notes)


def data_lines(data: Data) -> list[Check | NotChecked]:
    """What the shapes of x and of the columns beside it have shown."""
    rows = f"{data.count:,} datapoints"
    one = shapes(jax.tree.map(lambda a: a[0], data.x))
    beside = [Check(name, rows, "one for each") for name in data.columns]
    return [Check("x", rows, f"numbers, {one} each"), *beside]


@contextmanager
def opened(place: Path, prepared: Prepared, console: Console) -> Iterator[None]:
    """Keeps the directory of this audit for as long as it is used; it is made if need be.

    Raises ConfigError where it belongs to another audit or is in use, AuditError where a function gave other
    values when it was made.
    """
    with in_use(open_directory(place, prepared.config), console):
        _check_functions(place, prepared.functions, console)
        yield


def looked_up(directory: str | Path | None, prepared: Prepared, console: Console) -> Check | NotChecked:
    """Whether the directory is this audit's; where nothing is stored in it yet, it stays as it is."""
    if directory is None:
        return NotChecked("directory", "none was given")
    place = as_directory(directory)
    if not any((place / name).exists() for name in ("config.json", "gap.json", "checkpoints")):
        return NotChecked("directory", f"{place} holds no audit yet; whether it can be written is not tried")
    with opened(place, prepared, console):
        return Check("directory", str(place), "belongs to an audit of the same arguments")


def _prior(families: dict[str, PosteriorFamily], name: str, inputs: Inputs) -> np.ndarray:
    return np.tile(np.asarray(families[name].init()), (len(inputs.index_N), 1))


def _amortized(
    subject: Subject,
    given: Given,
    encoded: str | None,
    points: Measured,
    lines: list[Check | NotChecked],
    whence: str = "",
) -> Subject:
    """The subject with the encoder's q of each of these points, projected onto every other family."""
    if encoded is None:
        return subject
    source, (first, *_) = subject.families[encoded], points.inputs.index_N
    phi_NxP = encoded_phi(given, source, points.inputs.x_NxD, lines, whence)

    def start(name: str, inputs: Inputs) -> np.ndarray:
        target, source_NxP = subject.families[name], phi_NxP[inputs.index_N - first]
        if name == encoded:
            return source_NxP
        return np.asarray(jax.jit(jax.vmap(partial(project, source=source, target=target)))(source_NxP))

    return subject._replace(amortized={encoded: "encoder"}, start=start)


def _some_z(subject: Subject, points: Measured) -> np.ndarray:
    """A draw for each datapoint, from the encoder's q where there is one, else from N(0, I)."""
    name = next(iter(subject.families))
    phi_NxP = subject.start(name, points.inputs)
    eps_NxK = jax.random.normal(subject.keys.model, (len(phi_NxP), subject.model.latent_dim))
    return np.asarray(jax.jit(jax.vmap(subject.families[name].reparameterize))(phi_NxP, eps_NxK))


def _digest(tree: Any) -> str:
    parts = [
        f"{a.shape}{a.dtype}".encode() + np.ascontiguousarray(a).tobytes() for a in jax.tree.leaves(tree)
    ]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _check_functions(place: Path, values: dict[str, np.ndarray], console: Console) -> None:
    """Compares the functions with those of the audit that the directory belongs to, up to rounding.

    Raises AuditError where one differs.
    """
    here = {name: np.ravel(array)[:COMPARED].tolist() for name, array in values.items()}
    kept = stored_json(place / "stages" / "functions.json", lambda: here, console)
    for name, numbers in here.items():
        known = kept.get(name, [])
        if len(known) != len(numbers) or not np.allclose(known, numbers, rtol=1e-3, atol=1e-3):
            raise AuditError(f"{place} belongs to an audit with another {name}: take another directory")
