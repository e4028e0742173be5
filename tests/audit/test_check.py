"""`check`: what it tells, that it measures nothing, and that an audit says the same of the same arguments."""

import jax
import numpy as np
import pytest

import vaelab
from tests.audit.test_audit import BAD, MODEL, QUICK, THETA, D, K, encode, log_likelihood, points, run
from vaelab.audit import auditing, check


def looked(log_likelihood=log_likelihood, encode=encode, x=None, **changes):
    given = {"latent_dim": K, "key": jax.random.key(2), "families": ("diagonal",), "settings": QUICK}
    return check(log_likelihood, encode, points() if x is None else x, **given | changes)


def sample(key, z_K):
    return MODEL.sample(THETA, key, z_K)


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch):
    monkeypatch.setattr(auditing, "measure", None)


def test_each_check_is_a_line_with_what_it_looked_at(capsys):
    checked = looked(sample=sample, num_simulated=3, labels=np.arange(24))
    assert [(name, at) for name, at, _ in checked.checks] == [
        ("x", "24 datapoints"),
        ("labels", "24 datapoints"),
        ("encode", "4 of 24 datapoints"),
        ("settings", "diagonal"),
        ("encode", "all 24 datapoints"),
        ("log_likelihood", "4 of 24 datapoints, each at a draw of the encoder's q"),
        ("sample", "a draw at one z"),
        ("normalisation", "1,000 draws of sample at one z"),
        ("encode", "all 3 datapoints drawn by sample"),
    ]
    assert [name for name, _ in checked.could_not] == ["decode", "directory"]
    assert len(str(checked).splitlines()) == len(checked.checks) + len(checked.could_not)
    checked.table()
    assert capsys.readouterr().out == f"{checked}\n"


def test_what_was_not_given_is_not_called_checked():
    could_not = dict(looked(None, None, log_joint=log_likelihood).could_not)
    assert could_not["encode"] == "none was given, and there is no amortized bound"
    assert could_not["normalisation"] == "log_joint holds a prior of its own"
    assert dict(looked(encode=None).could_not)["normalisation"] == "no sample was given"


def test_an_audit_makes_the_checks_of_check(monkeypatch):
    seen = []
    monkeypatch.setattr(auditing, "_measured", lambda prepared, *_: seen.extend(prepared.lines))
    run(sample=sample)
    checked = looked(sample=sample)
    assert vaelab.audit is auditing.audit
    assert seen
    assert [line for line in seen if len(line) == 3] == checked.checks
    assert [line for line in seen if len(line) == 2] == checked.could_not[:-1]


@pytest.mark.parametrize(
    "case",
    ["families as a word", "neither", "x rows", "labels", "sigma", "tolerance", "key", "gradient", "sample"],
)
def test_check_raises_what_the_audit_raises(case):
    changes, _ = BAD[case]
    with pytest.raises(vaelab.AuditError) as of_audit:
        run(**changes)
    with pytest.raises(vaelab.AuditError) as of_check:
        looked(**changes)
    assert str(of_check.value) == str(of_audit.value)


def test_a_directory_is_looked_at_and_stays_as_it_is(tmp_path, monkeypatch):
    new = tmp_path / "new"
    assert dict(looked(directory=new).could_not)["directory"].startswith(f"{new} holds no audit yet")
    assert not new.exists()
    monkeypatch.setattr(auditing, "_measured", lambda *_: vaelab.Report([], {}))
    monkeypatch.setattr(vaelab.Report, "save", lambda self, directory: None)
    run(directory=new)
    kept = {path: path.read_bytes() for path in new.rglob("*") if path.is_file()}
    assert looked(directory=new).checks[-1] == (
        "directory",
        str(new),
        "belongs to an audit of the same arguments",
    )
    for changes, line in (
        ({"x": np.ones((3, D), np.float32) * 0.5}, "belongs to another audit"),
        ({"encode": lambda x_D: (encode(x_D)[0], 2.0 * encode(x_D)[1])}, "an audit with another encode"),
    ):
        with pytest.raises(vaelab.AuditError, match=line):
            looked(directory=new, **changes)
    assert {path: path.read_bytes() for path in new.rglob("*") if path.is_file()} == kept
