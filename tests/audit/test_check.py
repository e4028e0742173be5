"""`check`: what it tells, that it measures nothing, and that an audit says the same of the same arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vaelab
from tests.audit.test_auditing import BAD, MODEL, QUICK, THETA, D, K, encode, log_likelihood, points, run
from vaelab.audit import auditing
from vaelab.audit.auditing import check


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
        ("log_likelihood", "all 24 datapoints, likewise"),
        ("log_likelihood", "256 z of N(0, I) and of the encoder's q at 4 of 24 datapoints, one at 24"),
        ("log_likelihood", "24 of 24 datapoints, each at the same 4 z"),
        ("sample", "a draw at one z"),
        ("normalisation", "3,000 draws of sample at 2 z"),
        ("x against sample", "8,192 draws of sample at the z of 24 datapoints"),
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


def masked(mask):
    return np.ma.array(points(), mask=np.zeros((24, D), bool) | mask)


def with_nan(row=5):
    x_NxD = points().copy()
    x_NxD[row, 1] = np.nan
    return x_NxD


def in_units(x_NxD):
    return {"x": x_NxD, "log_likelihood": lambda x, z: -jnp.sum(z**2), "encode": None}


MISTAKEN = {
    "a mask": ({"x": masked(points() > 1.5)}, r"x has \d+ masked entries"),
    "a mask in a pytree": ({"x": {"a": points(), "b": masked(points() > 1.5)}}, "masked entries"),
    "masked weights": ({"weights": np.ma.array(np.ones(24), mask=np.eye(24)[3])}, "weights has 1 masked"),
    "masked encode": ({"encode": (masked(points() > 1.5)[:, :K], np.ones((24, K)))}, "encode has"),
    "milliseconds": (in_units(1_700_000_000_000 + np.arange(24)[:, None]), "which int32 does not hold"),
    "below int32": (in_units(-(2**31) - np.arange(24)[:, None]), "which int32 does not hold"),
    "hashes": (in_units((2**63 + np.arange(24, dtype=np.uint64))[:, None]), "which uint32 does not hold"),
    "an offset": (in_units(1e7 + points().astype(np.float64)), "x is float64 and an audit is in float32"),
    "too large": (in_units(1e200 * points().astype(np.float64)), "rounds dimension 0 by up to inf"),
    "one dimension": (
        in_units(points().astype(np.float64) + 1e8 * (np.arange(D) == 4)), "float32, which rounds dimension 4"
    ),
    "NaN in a row that is not tried": (
        {"x": with_nan(), "encode": None},
        "log_likelihood is nan at 1 of 24 datapoints, index 5 first, there at z = .* an x with NaN",
    ),
    "a density that is no number at one row": (
        {"log_likelihood": lambda x, z: jnp.where(jnp.all(x == points()[5]), jnp.inf, log_likelihood(x, z))},
        "log_likelihood is inf at 1 of 24 datapoints, index 5",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKEN)
def test_data_that_would_be_taken_for_other_data_are_refused(case):
    changes, line = MISTAKEN[case]
    with pytest.raises(vaelab.AuditError, match=line) as raised:
        looked(**changes)
    assert "\n" not in str(raised.value)


def missing_left_out(x_D, z_K):
    return jnp.where(jnp.isnan(x_D[1]), 0.0, log_likelihood(jnp.nan_to_num(x_D), z_K))


RIGHT = {
    "a mask that hides nothing": {"x": masked(False)},
    "NaN as a missing value": {"x": with_nan(), "encode": None, "log_likelihood": missing_left_out},
    "float64 of about unit scale": {"x": points().astype(np.float64)},
    "float64 with a constant dimension": in_units(np.concatenate([points(), np.full((24, 1), 0.1)], axis=1)),
    "a constant but for rounding": in_units(0.1 + 1e-17 * np.arange(24)[:, None] / 3.0),
    "years": in_units(2000.0 + np.arange(24.0)[:, None] / 7.0),
    "a wide range": in_units(10.0 ** np.linspace(-6.0, 9.0, 24)[:, None]),
    "float64 with NaN": in_units(with_nan().astype(np.float64)),
    "int64 that int32 holds": in_units(2_000_000_000 + np.arange(24)[:, None]),
    "an offset that was rounded on purpose": in_units((1e7 + points()).astype(np.float32)),
    "a density that is 0 at one row": {
        "log_likelihood": lambda x, z: jnp.where(jnp.all(x == points()[5]), -jnp.inf, log_likelihood(x, z))
    },
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
def test_data_that_are_what_they_seem_raise_no_alarm(case):
    assert looked(**RIGHT[case]).checks
