"""The command that sets runs and audits side by side: what it prints and writes, and how it refuses."""

import csv
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vaelab
from tests.support.directories import write_audit, write_run
from vaelab import compare
from vaelab.report import paired


@pytest.mark.slow
def test_the_wider_encoder_of_two_audits_loses_what_its_width_costs(tmp_path, capsys):
    """Linear-Gaussian, one latent dimension; q has the posterior's mean, and r times its standard deviation.

    Its amortization gap is KL(q || posterior) = (r^2 - 1 - log r^2) / 2, at every datapoint.
    """
    ratio, noise, num_points = 1.5, 0.5, 40
    rng = np.random.default_rng(0)
    w_D = rng.normal(size=4)
    x_NxD = np.float32(rng.normal(size=(num_points, 1)) * w_D + noise * rng.normal(size=(num_points, 4)))
    variance = 1.0 / (1.0 + np.sum(w_D**2) / noise**2)
    mean_NxK = np.float32(x_NxD @ w_D * variance / noise**2)[:, None]

    def log_likelihood(x_D, z_K):
        return jax.scipy.stats.norm.logpdf(x_D, jnp.float32(w_D) * z_K, noise).sum()

    for name, factor in (("exact", 1.0), ("wide", ratio)):
        sigma_NxK = np.full((num_points, 1), factor * variance**0.5, np.float32)
        vaelab.audit(
            log_likelihood, (mean_NxK, sigma_NxK), x_NxD, latent_dim=1, key=jax.random.key(0),
            families=("diagonal",), evidence="quadrature", quiet=True, directory=tmp_path / name,
            settings={"inference.max_rounds": 1},
        )  # fmt: skip
    exact, wide = tmp_path / "exact", tmp_path / "wide"
    lead = paired.difference(
        compare.read(exact), compare.read(wide), ("given", "diagonal"), "amortization_gap"
    )
    assert lead["paired"]
    assert abs(lead["mean"] - (ratio**2 - 1 - math.log(ratio**2)) / 2) < 5 * lead["stderr"]
    assert compare.main([str(exact), str(wide)]) == 0
    printed = capsys.readouterr().out
    assert "wide: the same config" in printed
    assert f"less the first, over {num_points} datapoints" in printed


def test_the_command_prints_and_writes(tmp_path, capsys):
    first = write_run(tmp_path / "a", learning="amortized")
    other = write_run(tmp_path / "b", 0.5, learning="mean_field")
    assert compare.main([str(first), str(other), "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "b: config.learning 'amortized' -> 'mean_field'" in printed
    (less,) = [line for line in printed.splitlines() if "less the first, over 50 datapoints" in line]
    leads = [float(lead) for lead in re.findall(r"([+-]\d+\.\d+) ±", less)]
    assert leads[:3] == pytest.approx([0.5] * 3, abs=0.01)
    with (tmp_path / "out" / "compare.csv").open() as file:
        one, two = csv.DictReader(file)
    assert (one["run"], two["run"], one["log_evidence_less_first"]) == ("a", "b", "")
    assert float(two["log_evidence_less_first"]) == pytest.approx(0.5, abs=0.01)
    assert two["log_evidence_less_first_paired"] == "True"
    assert (tmp_path / "out" / "compare.png").stat().st_size > 5000


def test_runs_whose_family_has_no_encoder_are_drawn(tmp_path):
    """The first quantity is missing; each run has its line in the legend all the same."""
    runs = [write_run(tmp_path / name, lead) for name, lead in (("a", 0.0), ("b", 0.5))]
    for run in runs:
        arrays = dict(np.load(run / "per_datapoint.npz"))
        del arrays["test/diagonal/elbo_amortized"]
        np.savez(run / "per_datapoint.npz", **arrays)
    assert compare.main([*map(str, runs), "--output", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "compare.png").exists()


def test_runs_of_the_same_name_are_told_apart_by_their_folders(tmp_path, capsys):
    first = write_run(tmp_path / "one" / "seed=0")
    other = write_run(tmp_path / "two" / "seed=0", 0.5)
    assert compare.main([str(first), str(other)]) == 0
    assert "two/seed=0: the same config" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda at: [write_run(at / "a")], "give two runs or more"),
        (lambda at: [write_run(at / "a"), at / "none"], "none has no config.json: give the directory"),
        (lambda at: [write_run(at / "a"), at / "a"], "a run is given twice"),
        (
            lambda at: [write_run(at / "a"), write_run(at / "b", family="full")],
            "no split and family in common",
        ),
        (lambda at: [write_run(at / "a"), _spoil(write_run(at / "b"))], "cannot be read"),
        (lambda at: [write_run(at / "a"), _unfinished(write_run(at / "b"))], "b has no gap.json"),
        (lambda at: [write_audit(at / "a"), write_run(at / "b")], "no split and family in common"),
        (lambda at: [write_run(at / "a"), _saved(write_audit(at / "b"))], "b has no config.json"),
        (lambda at: [write_audit(at / "a"), _configured(at / "b", [])], "neither of a run nor of an audit"),
        (lambda at: [write_audit(at / "a"), _configured(at / "b", {})], "neither of a run nor of an audit"),
        (
            lambda at: [write_audit(at / "a"), _configured(at / "b", {"given": {"x": 0}})],
            "neither of a run nor of an audit",
        ),
        (lambda at: [write_run(at / "a"), _changed(write_run(at / "b"), "test/index", 0)], "no test/index"),
        (
            lambda at: [_changed(write_audit(at / "a"), "given/log_evidence", 0), write_audit(at / "b")],
            "a cannot be read: per_datapoint.npz has no given/log_evidence for each datapoint",
        ),
        (
            lambda at: [
                write_run(at / "a"),
                _changed(write_run(at / "b"), "test/diagonal/elbo_amortized", 9),
            ],
            "has no test/diagonal/elbo_amortized for each datapoint",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_line(make, says, tmp_path, capsys):
    assert compare.main([str(path) for path in make(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def _spoil(directory):
    (directory / "per_datapoint.npz").write_bytes(b"PK not a zip")
    return directory


def _unfinished(directory):
    (directory / "gap.json").unlink()
    return directory


def _saved(directory):
    """What `Report.save` writes for an audit that was given no directory."""
    (directory / "config.json").unlink()
    return directory


def _configured(directory, config):
    write_audit(directory)
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def _changed(directory, name, count):
    """Keeps the first numbers of an array alone, or drops it."""
    arrays = dict(np.load(directory / "per_datapoint.npz"))
    array = arrays.pop(name)
    np.savez(directory / "per_datapoint.npz", **arrays, **({name: array[:count]} if count else {}))
    return directory
