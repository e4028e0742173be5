"""The gaps of any model whose log p(x, z) can be written in JAX: `audit`."""

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from rich.console import Console

from vaelab import report
from vaelab.audit.checks import check_decode, check_density, check_encoder, check_sample, encoded_phi
from vaelab.audit.given import AuditError, Given, as_arrays, given_model, typed
from vaelab.audit.hints import hints
from vaelab.config.audit import audit_config, audit_settings
from vaelab.keys import Keys, purpose_key
from vaelab.measure.datapoints import simulated
from vaelab.measure.rows import arrays, rows
from vaelab.measure.stages import Measurement, measure
from vaelab.measure.subject import Inputs, Measured, Subject
from vaelab.posterior.project import project
from vaelab.report import page
from vaelab.runtime.directory import DirectoryError, in_use, open_directory, stored_json, write_whole
from vaelab.runtime.processes import is_first
from vaelab.types import Array, ConfigError, Key, Params, PosteriorFamily

GIVEN, SIMULATED = "given", "simulated"
COMPARED = 64  # numbers by which a function is known again


@dataclass(frozen=True)
class Report:
    """What an audit found.

    rows: one for each split ("given", and "simulated") and family, as those of `gap.json`: means with
        standard errors over the datapoints, in nats.
    per_datapoint: the arrays behind them, under "given/index", "given/diagonal/elbo_optimal", ...
    notes: what deserves a look: broken orders, and what the encoder seems to return in the place of sigma.
    """

    rows: list[dict[str, Any]]
    per_datapoint: dict[str, np.ndarray]
    notes: list[str] = field(default_factory=list)
    shown: Mapping[str, Any] = field(default_factory=dict, repr=False)  # what `write_page` shows beside them

    def table(self, console: Console | None = None) -> None:
        """Prints the rows and the notes."""
        console = console or Console()
        console.print(report.gap_table(self.rows))
        for note in self.notes:
            console.print(note, style="red", highlight=False, markup=False)

    def save(self, directory: str | Path) -> None:
        """Writes gap.json, per_datapoint.npz, gaps.png and report.html there; it is made if need be."""
        if not is_first():
            return
        directory = Path(directory).expanduser()
        directory.mkdir(parents=True, exist_ok=True)
        report.plot_gaps(directory / "gaps.png", self.rows, self.per_datapoint)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self.per_datapoint)
        write_whole(directory / "per_datapoint.npz", buffer.getvalue())
        page.write_page(
            directory / "report.html",
            title=directory.resolve().name,
            rows=self.rows,
            per_datapoint=self.per_datapoint,
            notes=self.notes,
            versions=page.versions(),
            **self.shown,
        )
        write_whole(directory / "gap.json", report.to_json(self.rows, smoke=False))


def audit(
    log_likelihood: Callable[..., Array] | None,
    encode: Callable[..., Any] | tuple[Any, Any] | None,
    x: Any,
    *,
    latent_dim: int,
    key: Key,
    log_joint: Callable[..., Array] | None = None,
    family: str | None = None,
    params: Params | None = None,
    sample: Callable[..., Any] | None = None,
    num_simulated: int = 0,
    decode: Callable[..., Array] | None = None,
    families: Sequence[str] = ("diagonal", "full"),
    evidence: str = "auto",
    tolerance: float = 0.02,
    labels: Any = None,
    weights: Any = None,
    directory: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Report:
    """How much of log p(x) an encoder loses at each datapoint, and to what:

        L[q_phi]  <=  L[q*]  <=  log p(x),        L[q] = E_q[log p(x, z) - log q(z)], nats

    amortization gap L[q*] - L[q_phi], approximation gap log p(x) - L[q*] (Cremer, Li & Duvenaud 2018). q* is
    fitted to each datapoint with the model held fixed.

    log_likelihood: (x, z_K) -> [], log p(x given z) of one datapoint, normalised, in pure JAX; the prior is
        N(0, I). Or None, and log_joint: (x, z_K) -> [] with any prior. z should be of about unit scale: the
        inner loop starts at N(0, I) where there is no encoder, and a certificate takes the curvature of
        log p(x, z) to be 0.1 at least.
    encode: x -> (mu_K, sigma_K), x -> (mu_K, S_KxK) for z = mu + S eps, or with `family` x -> phi_P; or these
        computed elsewhere, as arrays of one row a datapoint; or None, and there is no amortized bound.
    x: arrays of one row a datapoint, in any pytree.
    params: where given, each function takes them as its first argument; what a function closes over is
        compiled into every program, which takes long for large networks.
    sample: (key, z_K) -> x, a draw from p(x given z): with it log_likelihood is checked to be normalised, and
        num_simulated datapoints are drawn from the model and measured too, with log p(x) from both sides.
    decode: z_K -> E[x given z] as an image, [height, width] with values from 0 to 1: the page then has
        pictures of the worst datapoints.
    families, evidence, tolerance, settings: what is fitted, how log p(x) is estimated, and what counts as
        converged, in nats; other settings of `vaelab.config.defaults` by their dotted names, as
        {"evidence.num_samples": 20_000}.
    labels, weights: one for each datapoint; kept in `per_datapoint` as they are. The means are unweighted.
    directory: keeps what is done, block by block, so that the same call goes on where it was stopped, and
        what `Report.save` writes.

    Raises AuditError, with one line, before anything is spent: where something given is not what it should
    be, where a function of the user raises, and for a directory of another audit.
    """
    if isinstance(families, str):
        raise AuditError(f"families={families!r} must be a tuple of names, as ({families!r},)")
    given = given_model(log_likelihood, log_joint, encode, sample, decode, params, latent_dim, num_simulated)
    x, count = as_arrays(x)
    columns = _columns(count, labels=labels, weights=weights)
    console = Console(quiet=quiet)
    with _one_line(), ExitStack() as held:
        encoded = check_encoder(given, x, count, family, tuple(families))
        config = audit_config(
            tuple(families), encoded, evidence=evidence, tolerance=tolerance, changes=settings or {}
        )
        prepared = _prepare(given, x, typed(key), config, encoded, num_simulated)
        config.given = {
            "density": given.name,
            "x": _digest(x),
            "key": _digest(jax.random.key_data(typed(key))),
            "num_simulated": num_simulated,
        }
        place = Path(directory or held.enter_context(tempfile.TemporaryDirectory())).expanduser()
        held.enter_context(in_use(open_directory(place, config), console))
        _check_functions(place, prepared.functions, console)
        found = _measured(prepared, columns, place, console)
    if directory:
        found.save(directory)
    return found


class _Prepared(NamedTuple):
    """What is measured, by split; what the user's functions gave when they were tried, by their names."""

    subjects: dict[str, Subject]
    points: dict[str, Measured]
    functions: dict[str, np.ndarray]
    image_shape: tuple[int, int] | None


def _prepare(
    given: Given, x: Any, key: Key, config: ConfigDict, encoded: str | None, num_simulated: int
) -> _Prepared:
    """Every check of what is given; and the datapoints, with the encoder's law of each."""
    families, settings = audit_settings(config, given.latent_dim, encoded, two_sided=num_simulated > 0)
    keys = Keys(*(purpose_key(key, purpose) for purpose in Keys._fields))
    subject = Subject(given.model(), given.params, families, settings, keys, {}, partial(_prior, families))
    inputs = Inputs(x, np.arange(len(jax.tree.leaves(x)[0]), dtype=np.int32))
    points = {GIVEN: Measured(inputs)}
    subjects = {GIVEN: _amortized(subject, given, encoded, points[GIVEN])}
    z_NxK = _some_z(subjects[GIVEN], points[GIVEN])
    functions = {
        "encode": subjects[GIVEN].start(next(iter(families)), inputs),
        given.name: check_density(given, x, z_NxK),
    }
    check_sample(given, x, z_NxK[0], keys.corrupt)
    image_shape = check_decode(given, x, z_NxK[0])
    if num_simulated:
        drawn = simulated(subject.model, given.params, keys.simulate, num_points=num_simulated)
        known = encoded if callable(given.encode) else None
        points[SIMULATED], subjects[SIMULATED] = drawn, _amortized(subject, given, known, drawn)
        functions["sample"] = jax.tree.leaves(drawn.inputs.x_NxD)[0]
    return _Prepared(subjects, points, functions, image_shape)


@contextmanager
def _one_line() -> Iterator[None]:
    """Says of the arguments of an audit what the layers below say of settings and directories."""
    try:
        yield
    except AuditError:
        raise
    except DirectoryError as error:
        raise AuditError(error.line(directory="directory", other="another audit")) from None
    except ConfigError as error:
        raise AuditError(error.said("setting ")) from None


def _prior(families: dict[str, PosteriorFamily], name: str, inputs: Inputs) -> np.ndarray:
    return np.tile(np.asarray(families[name].init()), (len(inputs.index_N), 1))


def _amortized(subject: Subject, given: Given, encoded: str | None, points: Measured) -> Subject:
    """With the encoder's law of each of these points, projected onto a family that has no encoder."""
    if encoded is None:
        return subject
    source, (first, *_) = subject.families[encoded], points.inputs.index_N
    phi_NxP = encoded_phi(given, source, points.inputs.x_NxD)

    def start(name: str, inputs: Inputs) -> np.ndarray:
        target, own_NxP = subject.families[name], phi_NxP[inputs.index_N - first]
        if name == encoded:
            return own_NxP
        return np.asarray(jax.jit(jax.vmap(partial(project, source=source, target=target)))(own_NxP))

    return subject._replace(amortized={encoded: "encoder"}, start=start)


def _some_z(subject: Subject, points: Measured) -> np.ndarray:
    """A draw for each datapoint, of the encoder's law where there is one, else of N(0, I)."""
    name = next(iter(subject.families))
    phi_NxP = subject.start(name, points.inputs)
    eps_NxK = jax.random.normal(subject.keys.model, (len(phi_NxP), subject.model.latent_dim))
    return np.asarray(jax.jit(jax.vmap(subject.families[name].reparameterize))(phi_NxP, eps_NxK))


def _measured(prepared: _Prepared, columns: dict[str, np.ndarray], place: Path, console: Console) -> Report:
    found, per_datapoint, outcomes, latents, pictures = [], {}, {}, {}, {}
    for split, subject in prepared.subjects.items():
        measurement = Measurement(subject, prepared.points[split], place)
        (outcome,) = measure([measurement], split, console)
        outcomes[split] = outcome
        found += rows(subject, split, outcome)
        per_datapoint |= arrays(subject, split, outcome)
        latents |= page.latents(subject, split, outcome)
        if prepared.image_shape:
            pictures |= page.pictures(subject, split, outcome, found, per_datapoint, prepared.image_shape)
    notes = [f"order broken on {row['split']}: {line}" for row in found for line in row["broken_orders"]]
    look = partial(hints, prepared.subjects[GIVEN], outcomes[GIVEN])
    notes += stored_json(place / "stages" / "hints.json", look, console)
    return Report(found, per_datapoint | columns, notes, {"latents": latents, "pictures": pictures})


def _columns(count: int, **given: Any) -> dict[str, np.ndarray]:
    """What goes along with the datapoints. Raises AuditError where it is not one for each."""
    found = {name: np.asarray(values) for name, values in given.items() if values is not None}
    for name, values in found.items():
        if values.shape[:1] != (count,) or values.dtype == object:
            raise AuditError(
                f"{name} must be one for each of the {count:,} datapoints, and has the shape {values.shape}"
            )
    return {f"{GIVEN}/{name}": values for name, values in found.items()}


def _digest(tree: Any) -> str:
    parts = [
        f"{a.shape}{a.dtype}".encode() + np.ascontiguousarray(a).tobytes() for a in jax.tree.leaves(tree)
    ]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def _check_functions(place: Path, values: dict[str, np.ndarray], console: Console) -> None:
    """Of the audit that the directory belongs to, up to rounding. Raises AuditError."""
    here = {name: np.ravel(array)[:COMPARED].tolist() for name, array in values.items()}
    there = stored_json(place / "stages" / "functions.json", lambda: here, console)
    for name, numbers in here.items():
        known = there.get(name, [])
        if len(known) != len(numbers) or not np.allclose(known, numbers, rtol=1e-3, atol=1e-3):
            raise AuditError(f"{place} belongs to an audit with another {name}: take another directory")
