"""The audit of a user's own model: against closed forms, and what it says of what is wrong with it."""

import functools
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import vaelab
from vaelab import model, posterior
from vaelab.audit import auditing
from vaelab.measure import gap
from vaelab.measure import stages as measure
from vaelab.runtime import directory as rundir

K, D, N = 2, 6, 24
MODEL = model.linear_gaussian(K, (2.0, 0.7), 0.6, D)
THETA = MODEL.init(jax.random.key(0))
QUICK = {"evaluate.elbo_samples": 100}


@functools.lru_cache
def points():
    def one(key):
        key_z, key_x = jax.random.split(key)
        return MODEL.sample(THETA, key_x, jax.random.normal(key_z, (K,)))

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), N)))


def log_likelihood(x_D, z_K):
    return MODEL.log_likelihood(THETA, x_D, z_K)


def encode(x_D):
    """Somewhat off the best mean, with a scale that is too small."""
    mean_K, precision_KxK = model.linear_gaussian_posterior(THETA, x_D)
    return mean_K + 0.1, 0.8 / jnp.sqrt(jnp.diag(precision_KxK))


def run(log_likelihood=log_likelihood, encode=encode, x=None, **changes):
    arguments = {
        "latent_dim": K, "key": jax.random.key(2), "families": ("diagonal",), "settings": QUICK, "quiet": True
    }  # fmt: skip
    arguments |= changes
    return vaelab.audit(log_likelihood, encode, points() if x is None else x, **arguments)


@functools.lru_cache
def plain():
    settings = QUICK | {"evaluate.diagnostics.split_points": N, "evaluate.diagnostics.split_draws": 200}
    return run(families=("diagonal", "full"), settings=settings, labels=np.arange(N) % 2)


def of(report, family, split="given"):
    (row,) = [row for row in report.rows if (row["split"], row["family"]) == (split, family)]
    return row


def test_the_gaps_of_a_linear_gaussian_model_are_those_of_its_closed_forms():
    report, family = plain(), posterior.diagonal(K)
    project = family.gaussian.project
    phi_NxP = jax.vmap(lambda x_D: project(encode(x_D)[0], jnp.diag(encode(x_D)[1])))(points())
    exact = gap.exact_gap(MODEL, family, THETA, points(), np.asarray(phi_NxP))
    prefix = report.per_datapoint
    for name, values_N in (("elbo_amortized", exact.elbo_amortized), ("elbo_optimal", exact.elbo_optimal)):
        error_N = np.abs(prefix[f"given/diagonal/{name}"] - values_N)
        # A fit may lack the tolerance.
        lacking = 0.02 if name == "elbo_optimal" else 0.0
        assert np.all(error_N <= 5.0 * prefix[f"given/diagonal/{name}_stderr"] + 1e-4 + lacking)
    np.testing.assert_allclose(prefix["given/log_evidence"], exact.log_evidence, atol=1e-3)
    assert of(report, "diagonal")["log_evidence"]["estimator"] == "quadrature"
    assert of(report, "full")["elbo_amortized"] is None
    assert abs(of(report, "full")["approximation_gap"]["mean"]) < 0.02


def test_what_stands_beside_the_gaps_is_in_closed_form():
    """The mean is 0.1 off, every scale 0.8 of the best: u = 0.64."""
    report, precision = plain(), np.asarray(model.linear_gaussian_posterior(THETA, points()[0])[1], float)
    row, split = of(report, "diagonal"), of(report, "diagonal")["amortization_split"]
    of_mean, of_scale = 0.005 * np.sum(precision), 0.5 * (0.64 - 1.0 - np.log(0.64))
    for way in (split, split["mean_first"], split["scale_first"]):
        assert way["mean"]["mean"] == pytest.approx(of_mean, abs=0.02 + 5.0 * way["mean"]["stderr"])
        assert way["scale"]["mean"] == pytest.approx(K * of_scale, abs=0.02 + 5.0 * way["scale"]["stderr"])
    by_dimension = split["by_dimension"]
    for k in range(K):
        wanted = 0.005 * np.sum(precision[k]), of_scale
        for part, value in zip((by_dimension["mean"][k], by_dimension["scale"][k]), wanted, strict=True):
            assert part["mean"] == pytest.approx(value, abs=0.02 + 5.0 * part["stderr"])
    rate_N = report.per_datapoint["given/diagonal/rate"]
    assert row["diagnostics"]["rate"]["mean"] == pytest.approx(np.mean(rate_N))
    whole = rate_N + report.per_datapoint["given/diagonal/distortion"]
    np.testing.assert_allclose(whole, -report.per_datapoint["given/diagonal/elbo_amortized"], rtol=1e-5)
    pair = -0.5 * np.log(1.0 - precision[0, 1] ** 2 / (precision[0, 0] * precision[1, 1]))
    assert row["correlations"]["pairs"][0]["mean"] == pytest.approx(pair, abs=0.02)
    assert row["correlations"]["gap"]["mean"] == pytest.approx(pair, abs=0.04)
    assert of(report, "full")["diagnostics"]["of"] == "q*"
    assert "amortization_split" not in of(report, "full")
    assert list(row["by_label"]) == ["0", "1"]
    # Every datapoint loses the same: no label stands out.
    assert row["extremes"]["label"]["approximation_gap"]["highest"] is None
    assert report.notes == []


def test_a_dense_scale_is_amortized_in_the_full_family():
    def dense(x_D):
        mean_K, precision_KxK = model.linear_gaussian_posterior(THETA, x_D)
        return mean_K, jnp.linalg.inv(jnp.linalg.cholesky(precision_KxK)).T

    row = of(run(encode=dense, families=("full",)), "full")
    assert row["amortized_by"] == "encoder"
    assert abs(row["amortization_gap"]["mean"]) < 5e-3
    assert of(run(encode=dense, families=("cholesky",)), "cholesky")["amortized_by"] == "encoder"


def test_arrays_phi_and_params_are_measured_as_the_plain_functions_are(monkeypatch):
    seen = []

    def look(prepared, *_):
        seen.append(prepared.functions)
        return vaelab.Report([], {})

    monkeypatch.setattr(auditing, "_measured", look)
    family = posterior.diagonal(K)

    def as_phi(x_D):
        mu_K, sigma_K = encode(x_D)
        return family.gaussian.project(mu_K, jnp.diag(sigma_K))

    run()
    run(encode=tuple(jax.vmap(encode)(points())))
    run(encode=as_phi, family="diagonal")
    run(
        lambda theta, x_D, z_K: MODEL.log_likelihood(theta, x_D, z_K),
        lambda theta, x_D: encode(x_D),
        params=THETA,
    )
    wanted, *others = seen
    for functions in others:
        for name in ("encode", "log_likelihood"):
            np.testing.assert_allclose(functions[name], wanted[name], rtol=1e-5, atol=1e-5)


def test_a_datapoint_may_be_any_pytree():
    report = run(
        lambda x, z_K: log_likelihood(jnp.concatenate([x["left"], x["right"]]), z_K),
        lambda x: encode(jnp.concatenate([x["left"], x["right"]])),
        {"left": points()[:, :2], "right": points()[:, 2:]},
    )
    wanted = plain().per_datapoint["given/diagonal/elbo_optimal"]
    np.testing.assert_allclose(report.per_datapoint["given/diagonal/elbo_optimal"], wanted, atol=2e-4)


def test_a_prior_of_ones_own_is_in_log_joint():
    shift_K, scale_K = jnp.array([1.0, -0.5]), jnp.array([0.7, 1.5])

    def log_joint(x_D, z_K):
        """p(x, z) of z = shift + scale * u, u ~ N(0, I), and x given u of the linear-Gaussian model."""
        u_K = (z_K - shift_K) / scale_K
        log_prior = model.standard_normal_log_prob(u_K) - jnp.sum(jnp.log(scale_K))
        return log_likelihood(x_D, u_K) + log_prior

    def shifted(x_D):
        mu_K, sigma_K = encode(x_D)
        return shift_K + scale_K * mu_K, scale_K * sigma_K

    report = run(None, shifted, log_joint=log_joint)
    exact_N = jax.vmap(lambda x_D: model.linear_gaussian_log_evidence(THETA, x_D))(points())
    np.testing.assert_allclose(report.per_datapoint["given/log_evidence"], exact_N, atol=1e-3)
    gaps = [of(r, "diagonal")["amortization_gap"]["mean"] for r in (report, plain())]
    assert abs(gaps[0] - gaps[1]) < 0.02


def test_without_an_encoder_there_is_no_amortized_row():
    row = of(run(encode=None), "diagonal")
    assert row["amortization_gap"] is None
    assert abs(row["elbo_optimal"]["mean"] - of(plain(), "diagonal")["elbo_optimal"]["mean"]) < 0.02


@pytest.mark.slow
def test_simulated_datapoints_have_bounds_from_both_sides():
    settings = QUICK | {"evidence.annealing.num_temperatures": 40, "evidence.annealing.num_chains": 8}
    report = run(
        sample=lambda key, z_K: MODEL.sample(THETA, key, z_K),
        num_simulated=16,
        settings=settings,
    )
    row = of(report, "diagonal", "simulated")
    assert row["amortized_by"] == "encoder"
    assert row["two_sided"]["lower"]["mean"] <= row["two_sided"]["upper"]["mean"] + 0.05
    np.testing.assert_allclose(
        report.per_datapoint["simulated/two_sided_upper"],
        report.per_datapoint["simulated/log_evidence"],
        atol=0.5,
    )


def test_labels_go_along_and_the_report_is_saved(tmp_path, capsys):
    labels = np.arange(N) % 3

    def decode(z_K):
        return MODEL.mean(THETA, z_K).reshape(2, 3)

    report = run(labels=labels, weights=np.ones(N), decode=decode, quiet=False)
    np.testing.assert_array_equal(report.per_datapoint["given/labels"], labels)
    np.testing.assert_array_equal(report.per_datapoint["given/weights"], np.ones(N))
    report.save(tmp_path / "there")
    assert {path.name for path in (tmp_path / "there").iterdir()} >= {
        "gap.json",
        "per_datapoint.npz",
        "gaps.png",
        "report.html",
    }
    assert json.loads((tmp_path / "there" / "gap.json").read_text())["rows"] == json.loads(
        json.dumps(report.rows)
    )
    assert (tmp_path / "there" / "report.html").read_text().count("<img ") == 3 * 8
    report.table()
    printed = capsys.readouterr().out
    assert "amortization gap" in printed
    assert "inference given diagonal" in printed


def test_an_interrupted_audit_goes_on_from_its_directory(tmp_path, monkeypatch):
    settings = QUICK | {"evaluate.points_per_save": 8}
    weigh, calls = measure.weigh_runs, []

    def stop(*arguments, **keywords):
        calls.append(len(arguments[2][0].data[1]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return weigh(*arguments, **keywords)

    monkeypatch.setattr(measure, "weigh_runs", stop)
    with pytest.raises(KeyboardInterrupt):
        run(settings=settings, directory=tmp_path)
    resumed = run(settings=settings, directory=tmp_path)
    assert calls == [8, 8, 8, 8]  # the first block of three is not weighed again
    whole = run(settings=settings)
    for name, values in whole.per_datapoint.items():
        np.testing.assert_array_equal(resumed.per_datapoint[name], values)
    assert (tmp_path / "gap.json").exists()
    with pytest.raises(vaelab.AuditError, match=r"belongs to another audit \(.*config.given.x is"):
        run(x=points() + 1.0, settings=settings, directory=tmp_path)
    with pytest.raises(vaelab.AuditError, match="belongs to an audit with another log_likelihood"):
        run(
            lambda x_D, z_K: log_likelihood(x_D, z_K) - 1.0,
            settings=settings,
            directory=tmp_path,
        )
    with pytest.raises(vaelab.AuditError, match=r"config.given.density is 'log_likelihood' there"):
        run(None, log_joint=log_likelihood, settings=settings, directory=tmp_path)


def test_a_directory_in_use_is_refused(tmp_path):
    says = pytest.raises(
        vaelab.AuditError, match=r"is in use by process \d+ on .*: wait for it, or take another"
    )
    with rundir.in_use(tmp_path, Console()), says:
        run(directory=tmp_path)


def test_every_leaf_of_a_sample_is_looked_at():
    x = {"left": points()[:, :2], "right": points()[:, 2:]}
    with pytest.raises(vaelab.AuditError, match="they must agree"):
        run(
            lambda x, z_K: log_likelihood(jnp.concatenate([x["left"], x["right"]]), z_K),
            lambda x: encode(jnp.concatenate([x["left"], x["right"]])),
            x,
            sample=lambda key, z_K: {"left": jnp.zeros(2), "right": jnp.zeros(3)},
        )


def dropout(x_D, z_K):
    return log_likelihood(x_D, z_K) + np.random.default_rng().normal()


def branching(x_D, z_K):
    return log_likelihood(x_D, z_K) if z_K[0] > 0 else jnp.float32(-1.0)


def broken(x_D, z_K):
    raise ZeroDivisionError("my own bug")


def squared(x_D):
    mu_K, sigma_K = encode(x_D)
    return mu_K, 2.0 * jnp.log(sigma_K)


BAD = {
    "a vector": ({"log_likelihood": lambda x, z: -(x**2)}, r"float32\[6\] for one datapoint: sum it"),
    "half precision": (
        {"log_likelihood": lambda x, z: log_likelihood(x, z).astype(jnp.bfloat16)},
        r"bfloat16\[\]: compute it in float32",
    ),
    "not finite": ({"log_likelihood": lambda x, z: log_likelihood(x, z) / 0.0}, "it must be finite"),
    "not finite, the last one": (
        {"log_likelihood": lambda x, z: log_likelihood(x, z) / jnp.any(x != points()[-1])},
        "at datapoint 23 and z",
    ),
    "gradient": (
        {"log_likelihood": lambda x, z: log_likelihood(x, z) + jnp.sqrt(0.0 * z[0])},
        "the gradient of log_likelihood in z is not finite at datapoint 0",
    ),
    "not pure": ({"log_likelihood": dropout}, "it must be pure"),
    "python branch": (
        {"log_likelihood": branching},
        r"log_likelihood\(.*\) under jax.jit, .* raised TracerBoolConversionError.*test_auditing.py",
    ),
    "raises": ({"log_likelihood": broken}, r"raised ZeroDivisionError: my own bug \(.*_auditing.py:\d+\)"),
    "a probability above 1": (
        {"log_likelihood": lambda x, z: 1.0 + 0.0 * z[0], "x": np.ones((N, D), np.float32)},
        "a probability above 1",
    ),
    "unnormalised": (
        {
            "log_likelihood": lambda x, z: log_likelihood(x, z) + 0.5 * D * np.log(2.0 * np.pi),
            "sample": lambda key, z: MODEL.sample(THETA, key, z),
        },
        r"looks unnormalised: .* exp\(5\.\d \+- 0\.\d\)",
    ),
    "both": ({"log_joint": log_likelihood}, "one of the two"),
    "neither": ({"log_likelihood": None}, "one of the two"),
    "encode shape": ({"encode": lambda x: (x, x)}, r"latent_dim is 2; it must be \(mu, sigma\)"),
    "encode one": ({"encode": lambda x: x[:2]}, "or phi with family"),
    "sigma": ({"encode": lambda x: (encode(x)[0], 0.0 * encode(x)[1])}, "sigma <= 0 at 24 of 24 datapoints"),
    "log-variance": ({"encode": squared}, r"jnp.exp\(0.5 \* log_variance\)"),
    "mu": ({"encode": lambda x: (encode(x)[0] + jnp.nan, encode(x)[1])}, "mu that is not finite"),
    "singular": (
        {"encode": lambda x: (encode(x)[0], jnp.zeros((K, K))), "families": ("full",)}, "singular S at 24"
    ),
    "not a section": ({"settings": {"evaluate.elbo_samples.more": 10}}, "there is no such setting"),
    "setting of a kind": ({"settings": {"evaluate.elbo_samples": "many"}}, "evaluate.elbo_samples='many'"),
    "a draw": (
        {"encode": lambda x: (encode(x)[0] + np.random.default_rng().normal(), encode(x)[1])},
        "not a draw of it",
    ),
    "phi": ({"encode": lambda x: jnp.zeros(3), "family": "diagonal"}, "one vector of 4 numbers"),
    "phi not finite": (
        {"encode": lambda x: jnp.full(4, jnp.inf), "family": "diagonal"},
        "phi that is not finite at 24 of 24",
    ),
    "phi as a pair": ({"family": "diagonal"}, "is for an encode that returns phi"),
    "rows of encode": ({"encode": (np.zeros((3, K)), np.ones((3, K)))}, "encode has 3 rows and x has 24"),
    "family": ({"families": ("full",)}, "of the family 'diagonal': have it in families"),
    "families": ({"families": ("diagonal", "fulll")}, "did you mean 'full'"),
    "evidence": ({"evidence": "magic"}, "setting evidence.estimator='magic': unknown"),
    "tolerance": ({"tolerance": 0.0}, "setting inference.tolerance=0.0"),
    "setting": (
        {"settings": {"evaluate.elbo_sample": 10}},
        "^setting evaluate.elbo_sample=10: .*; did you mean 'evaluate.elbo_samples'",
    ),
    "x rows": ({"x": {"a": np.zeros((3, 2)), "b": np.zeros((4, 2))}}, "the same number in every array"),
    "families as a word": ({"families": "diagonal"}, r"families='diagonal' must be a tuple of names"),
    "family nearly": ({"encode": lambda x: jnp.zeros(4), "family": "diagnoal"}, "did you mean 'diagonal'"),
    "a setting that does nothing": ({"settings": {"evaluate.max_points": 3}}, "has no effect on an audit"),
    "x as lists": ({"x": [[0.0, 1.0], [1.0, 0.0]]}, r"give np.asarray\(x\)"),
    "x words": ({"x": np.array(["a", "b"])}, "x must be numbers"),
    "x empty": ({"x": np.zeros((0, D))}, "one row a datapoint"),
    "key": ({"key": 0}, "key must be a JAX key"),
    "latent_dim": ({"latent_dim": 0}, "latent_dim=0"),
    "labels": ({"labels": [1, 2]}, "labels must be one for each of the 24 datapoints"),
    "simulated": ({"num_simulated": 5}, "num_simulated=5 needs sample"),
    "decode": ({"decode": lambda z: z}, r"decode returned float32\[2\]"),
    "simulated from a flow": (
        {"families": ("real_nvp",), "encode": None, "num_simulated": 4, "sample": lambda key, z: points()[0]},
        "have diagonal first in families",
    ),
    "sample": ({"sample": lambda key, z: z}, r"sample returned float32\[2\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_spent(case, monkeypatch):
    monkeypatch.setattr(auditing, "measure", None)
    changes, line = BAD[case]
    with pytest.raises(vaelab.AuditError, match=line) as raised:
        run(**changes)
    assert "\n" not in str(raised.value)


def test_an_audit_in_float64_is_refused_in_one_line():
    with jax.enable_x64(True), pytest.raises(vaelab.AuditError, match=r"under jax.enable_x64\(False\)"):
        run()


def test_keys_of_the_older_kind_are_keys():
    with pytest.raises(vaelab.AuditError, match="sigma <= 0"):
        run(encode=squared, key=jax.random.PRNGKey(0))


@pytest.mark.slow
def test_the_example_of_the_docs_runs_as_written(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], {})
    printed = capsys.readouterr().out
    shown = page[: page.index("`report.rows`")]
    for quantity in ("amortized L", "amortization gap", "approximation gap"):
        (there,), (here,) = (re.findall(rf"{quantity}.*?(-?\d+\.\d+) ±", text) for text in (shown, printed))
        assert abs(float(there) - float(here)) < 0.02  # rounding differs from machine to machine
    assert (tmp_path / "runs" / "audit" / "gap.json").exists()
