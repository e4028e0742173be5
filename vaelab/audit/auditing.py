"""The gaps of any model whose log p(x, z) can be written in JAX: `audit`, and `check` before it."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from vaelab import report
from vaelab.audit.arrays import given_data
from vaelab.audit.checked import Checked
from vaelab.audit.given import AuditError, given_choices, given_model
from vaelab.audit.hints import hints
from vaelab.audit.prepared import GIVEN, Prepared, looked_up, opened, prepare
from vaelab.audit.results import Report
from vaelab.audit.support import on_support
from vaelab.audit.weighted import weighted
from vaelab.errors import ConfigError
from vaelab.measure.rows import arrays, rows
from vaelab.measure.stages import Measurement, measure
from vaelab.report.page import measured
from vaelab.runtime.directory import DirectoryError, as_directory, stored_json
from vaelab.types import Array, Key, Params


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
    support: Any = None,
    families: Sequence[str] = ("diagonal", "full"),
    evidence: str = "auto",
    tolerance: float = 0.02,
    labels: Any = None,
    weights: Any = None,
    directory: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Report:
    """Measures how much of log p(x) an encoder loses at each datapoint, and to what:

        L[q_phi]  <=  L[q*]  <=  log p(x),        L[q] = E_q[log p(x, z) - log q(z)], nats

    amortization gap L[q*] - L[q_phi], approximation gap log p(x) - L[q*] (Cremer, Li & Duvenaud 2018). q* is
    fitted to each datapoint with the model held fixed.

    Args:
        log_likelihood: (x, z_K) -> [], log p(x given z) of one datapoint in nats, normalised, in pure JAX;
            the prior is N(0, I). None with log_joint.
        encode: x -> (mu_K, sigma_K), x -> (mu_K, S_KxK) for z = mu + S eps, or with `family` x -> phi_P; or
            these computed elsewhere, as arrays of N rows; or None, and there is no amortized bound.
        x: N datapoints, arrays of N rows in any pytree.
        latent_dim: K, the dimension of z.
        key: a JAX key; the same one gives the same numbers.
        log_joint: (x, z_K) -> [], log p(x, z) in nats with any prior. z should be of about unit scale: the
            inner loop starts at N(0, I) where there is no encoder, and a certificate takes the curvature of
            log p(x, z) to be 0.1 at least.
        family: the name of the family whose phi_P encode returns.
        params: where given, each function takes them as its first argument; what a function closes over is
            compiled into every program, which takes long for large networks.
        sample: (key, z_K) -> x, a draw from p(x given z), which shows whether log_likelihood is normalised
            and whether x holds numbers that are never drawn. (key, z_K, x) -> x where x has covariates: it
            takes them from the datapoint and gives them back with what it draws. With log_joint (key) ->
            (x, z_K), or (key, x) -> (x, z_K), a draw of both.
        num_simulated: datapoints that are drawn from the model and measured too, log p(x) from both sides;
            with the covariates of the datapoints of x, in turn.
        decode: z_K -> E[x given z] as an image, [height, width] or [height, width, 3] with values from 0 to
            1: the page then has pictures of the worst datapoints.
        support: of z, where it is not R^K: "positive", "unit_interval", "simplex" (of n numbers, n - 1 of K),
            an interval (low, high), a list of (support, size) for the parts of z, or a dict of (support,
            shape) where z is one. The functions are then handed z = T(u) in that support, and a log_joint
            gets log |det dT/du|; encode returns (mu, sigma) of u_K, as every q is of u; the prior of a
            log_likelihood is u ~ N(0, I). T is exp, sigmoid or softmax: `vaelab.audit.support`.
        families: the names of the families that are fitted.
        evidence: how log p(x) is estimated; "auto" chooses on a few datapoints.
        tolerance: what counts as converged, in nats.
        labels, weights: one for each datapoint; kept in `per_datapoint`. The means are unweighted; a row has
            weighted ones beside them (`weighted`), and those of each label (`by_label`).
        directory: keeps what is done, block by block, so that the same call goes on where it was stopped, and
            what `Report.save` writes.
        settings: other settings of `vaelab.config.defaults` by their dotted names, as
            {"evidence.num_samples": 20_000}.
        quiet: prints nothing while it works.

    Raises:
        AuditError: with one line, before anything is spent: where something given is not what it should be,
            where a function of the user raises, and for a directory of another audit.
    """
    console, choices = Console(quiet=quiet), given_choices(family, families, evidence, tolerance, settings)
    given = given_model(log_likelihood, log_joint, encode, sample, decode, params, latent_dim, num_simulated)
    given = on_support(given, support)
    data = given_data(x, key, labels=labels, weights=weights)
    with _one_line(), ExitStack() as held:
        prepared = prepare(given, data, choices)
        place = as_directory(directory or held.enter_context(tempfile.TemporaryDirectory()))
        held.enter_context(opened(place, prepared, console))
        measured = _measured(prepared, place, console)
    if directory:
        measured.save(directory)
    return measured


def check(
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
    support: Any = None,
    families: Sequence[str] = ("diagonal", "full"),
    evidence: str = "auto",
    tolerance: float = 0.02,
    labels: Any = None,
    weights: Any = None,
    directory: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Checked:
    """Makes the checks that `audit` begins with, in seconds, and measures nothing.

    Args: those of `audit`, of the same shapes and units. A directory is looked at and stays as it is.

    Returns: what was looked at and what it showed; and what could not be checked, and why.

    Raises:
        AuditError: with the line, and in the order, of an audit of the same arguments.
    """
    choices = given_choices(family, families, evidence, tolerance, settings)
    given = given_model(log_likelihood, log_joint, encode, sample, decode, params, latent_dim, num_simulated)
    given = on_support(given, support)
    data = given_data(x, key, labels=labels, weights=weights)
    with _one_line():
        prepared = prepare(given, data, choices)
        return Checked.of([*prepared.lines, looked_up(directory, prepared, Console(quiet=True))])


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


def _measured(prepared: Prepared, place: Path, console: Console) -> Report:
    table, per_datapoint, outcomes, latents, pictures = [], {}, {}, {}, {}
    for split, subject in prepared.subjects.items():
        measurement = Measurement(subject, prepared.points[split], place)
        (outcome,) = measure([measurement], split, console)
        outcomes[split] = outcome
        table += rows(subject, split, outcome)
        per_datapoint |= arrays(subject, split, outcome)
        latents |= measured.latents(subject, split, outcome)
        if prepared.image_shape:
            pictures |= measured.pictures(subject, split, outcome, table, per_datapoint, prepared.image_shape)
    notes = [*prepared.notes, *report.remarks(table)]
    look = partial(hints, prepared.subjects[GIVEN], outcomes[GIVEN])
    notes += stored_json(place / "stages" / "hints.json", look, console)
    shown = {"latents": latents, "pictures": pictures}
    per_datapoint |= prepared.columns
    table = [row | weighted(row, per_datapoint) for row in table]
    return Report(table, per_datapoint, notes, prepared.remarks, shown)
