"""A finished run as functions, and its weights as a file."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from rich.console import Console

import vaelab
from experiments import defaults, digits_gap, linear_gaussian
from vaelab import model as models
from vaelab.errors import ConfigError
from vaelab.model import networks
from vaelab.report.weights import FILE, read_weights
from vaelab.runs import load as load_module
from vaelab.runs.run import run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A smoke run of a flow, a diagonal and a full family, each with an encoder."""
    config = digits_gap.get_config("smoke")
    config.inference.families = ("diagonal", "full", "real_nvp")
    config.objective.name = "elbo_from_draws"
    directory = tmp_path_factory.mktemp("load") / "run"
    run(config, directory, Console(quiet=True))
    return directory


@pytest.fixture(scope="module")
def loaded(workdir):
    return vaelab.load(workdir)


def test_what_is_measured_is_what_the_directory_holds(loaded, workdir):
    assert loaded.rows == json.loads((workdir / "gap.json").read_text())["rows"]
    with np.load(workdir / "per_datapoint.npz") as arrays:
        for name in arrays.files:
            np.testing.assert_array_equal(loaded.per_datapoint[name], arrays[name])
    assert loaded.config.model.latent_dim == 10
    assert list(loaded.families) == list(loaded.encoders) == ["diagonal", "full", "real_nvp"]


def test_the_bounds_of_its_encoders_are_those_of_the_run(loaded):
    """L[q_phi] from `encode` and `log_joint` alone, against what the run printed."""
    x_NxD = points(loaded)
    eps_NxSxK = jax.random.normal(jax.random.key(1), (len(x_NxD), 2000, 10))
    for name in ("diagonal", "full"):
        mu_NxK, scale = loaded.encode(x_NxD, family=name)
        dense = scale[:, :, None] * jnp.eye(10)[None] if scale.ndim == 2 else scale
        z_NxSxK = mu_NxK[:, None] + jnp.einsum("nkj,nsj->nsk", dense, eps_NxSxK)
        log_p = jax.vmap(lambda x, z: loaded.log_joint(jnp.broadcast_to(x, (2000, 64)), z))(x_NxD, z_NxSxK)
        log_det_N = jnp.linalg.slogdet(dense)[1]
        log_q = -0.5 * jnp.sum(eps_NxSxK**2 + jnp.log(2.0 * jnp.pi), axis=2) - log_det_N[:, None]
        weights = np.float64(log_p - log_q)
        measured = loaded.per_datapoint[f"test/{name}/elbo_amortized"]
        errors = np.hypot(
            np.std(weights, axis=1) / np.sqrt(2000),
            loaded.per_datapoint[f"test/{name}/elbo_amortized_stderr"],
        )
        assert np.all(np.abs(np.mean(weights, axis=1) - measured) < 5.0 * errors)


def points(loaded):
    """The datapoints that the run measured, observed as it observed them."""
    from vaelab.config.experiment import build

    return build(digits_gap.get_config("smoke")).inputs["test"].x_NxD[:16]


def test_one_datapoint_is_a_row_of_several(loaded):
    x_NxD, z_NxK = loaded.sample(jax.random.key(0), 3), jnp.zeros((3, 10))
    for several, one in (
        (loaded.encode(x_NxD), loaded.encode(x_NxD[1])),
        (loaded.encode(x_NxD, family="full"), loaded.encode(x_NxD[1], family="full")),
        (loaded.encode(x_NxD, family="real_nvp"), loaded.encode(x_NxD[1], family="real_nvp")),
        (loaded.decode(z_NxK), loaded.decode(z_NxK[1])),
        (loaded.log_likelihood(x_NxD, z_NxK), loaded.log_likelihood(x_NxD[1], z_NxK[1])),
        (loaded.log_joint(x_NxD, z_NxK), loaded.log_joint(x_NxD[1], z_NxK[1])),
    ):
        # Two programs for the same arithmetic.
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-5), several, one)
    # An image is its rows, one after the other.
    np.testing.assert_array_equal(loaded.encode(x_NxD.reshape(3, 8, 8))[0], loaded.encode(x_NxD)[0])


def test_samples_are_of_the_model(loaded):
    x_NxD = loaded.sample(jax.random.key(0), 4000)
    assert set(np.unique(x_NxD)) == {0.0, 1.0}
    z_NxK = jax.random.normal(jax.random.key(5), (4000, 10))
    mean_D, share_D = np.mean(loaded.decode(z_NxK), axis=0), np.mean(x_NxD, axis=0)
    error_D = np.sqrt(2.0 * 0.25 / 4000)
    assert np.all(np.abs(mean_D - share_D) < 5.0 * error_D)
    assert not np.array_equal(x_NxD, loaded.sample(jax.random.key(1), 4000))


def test_the_density_and_the_encoder_are_those_of_an_audit(loaded):
    """Its functions are what `vaelab.check` takes."""
    checked = vaelab.check(
        loaded.log_likelihood, loaded.encode, np.asarray(loaded.sample(jax.random.key(0), 8)),
        latent_dim=10, key=jax.random.key(1),
    )  # fmt: skip
    assert "encode" in str(checked)


def test_without_its_safetensors_the_checkpoints_give_the_same(loaded, workdir, tmp_path):
    """A run directory of before there was such a file."""
    older = shutil.copytree(workdir, tmp_path / "older")
    (older / FILE).unlink()
    before = {path: path.stat().st_mtime_ns for path in older.rglob("*")}
    again = vaelab.load(older)
    jax.tree.map(np.testing.assert_array_equal, again.theta, loaded.theta)
    for name, (_, psi) in loaded.encoders.items():
        jax.tree.map(np.testing.assert_array_equal, again.encoders[name][1], psi)
    assert before == {path: path.stat().st_mtime_ns for path in older.rglob("*")}


def test_numpy_computes_the_decoder_from_the_named_weights(loaded, workdir):
    weights = read_weights(workdir / FILE)
    z_K = np.linspace(-1.0, 1.0, 10, dtype=np.float32)
    h = z_K
    for layer in ("Dense_0", "Dense_1"):
        h = np.maximum(h @ weights[f"theta/{layer}/kernel"] + weights[f"theta/{layer}/bias"], 0.0)
    logits = h @ weights["theta/output/kernel"] + weights["theta/output/bias"]
    np.testing.assert_allclose(loaded.decode(z_K), 1.0 / (1.0 + np.exp(-logits)), rtol=1e-5)
    assert weights["encoder/full/output/kernel"].shape == (200, 110)
    assert weights["encoder/real_nvp/shared"].ndim == 1
    from safetensors import safe_open

    with safe_open(workdir / FILE, "numpy") as file:
        metadata = file.metadata()
    assert json.loads(metadata["config"]) == json.loads((workdir / "config.json").read_text())
    assert metadata["version"] == vaelab.__version__


def test_a_run_of_simulated_data_has_its_closed_forms(tmp_path):
    config = linear_gaussian.get_config("smoke")
    config.inference.families = ("diagonal",)
    run(config, tmp_path / "run", Console(quiet=True))
    loaded = vaelab.load(tmp_path / "run")
    x_D = loaded.sample(jax.random.key(0), 1)[0]
    mean_K, precision_KxK = loaded.model.exact.posterior(loaded.theta, x_D)
    log_evidence = loaded.model.exact.log_evidence(loaded.theta, x_D)
    # log p(x, z) at the posterior's mean is log p(x) + log N(mean; mean, precision^-1).
    log_peak = 0.5 * (np.linalg.slogdet(precision_KxK)[1] - 5 * np.log(2.0 * np.pi))
    np.testing.assert_allclose(loaded.log_joint(x_D, mean_K), log_evidence + log_peak, rtol=1e-5)


def test_loading_needs_neither_data_nor_tensorflow(workdir):
    script = (
        "import sys, vaelab; sys.modules['sklearn'] = None; sys.modules['tensorflow'] = None\n"
        "sys.modules['tensorflow_datasets'] = None\n"
        f"print(vaelab.load({str(workdir)!r}).decode([0.0] * 10).shape)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "(64,)", done.stderr


def test_what_cannot_be_loaded_is_one_clear_line(workdir, tmp_path):
    def refused(directory, line):
        with pytest.raises(ConfigError, match=line) as caught:
            vaelab.load(directory)
        assert "\n" not in str(caught.value)

    refused(tmp_path / "nowhere", "holds no config.json")
    unfinished = shutil.copytree(workdir, tmp_path / "unfinished")
    (unfinished / "gap.json").unlink()
    refused(unfinished, "is unfinished")
    cut = shutil.copytree(workdir, tmp_path / "cut")
    (cut / FILE).write_bytes((cut / FILE).read_bytes()[:1000])
    refused(cut, "cannot be loaded")
    other = shutil.copytree(workdir, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    config["model"]["latent_dim"] = 7
    (other / "config.json").write_text(json.dumps(config))
    refused(other, r"theta/Dense_0/kernel is float32\[10, 200\] and should be float32\[7, 200\]")
    del config["model"]["hidden"]
    (other / "config.json").write_text(json.dumps(config))
    refused(other, "model.hidden: is needed")
    (other / "config.json").write_text("{")
    refused(other, "is damaged")


def test_a_sweep_and_a_family_without_an_encoder_say_what_there_is(loaded, tmp_path):
    config = digits_gap.get_config("smoke")
    config.sweep = defaults.sweep(num_seeds=2)
    (tmp_path / "config.json").write_text(config.to_json_best_effort())
    with pytest.raises(ConfigError, match="is a sweep: take one of its runs"):
        vaelab.load(tmp_path)
    with pytest.raises(
        ConfigError, match="no encoder of the family 'iaf': there are diagonal, full, real_nvp"
    ):
        loaded.encode(np.zeros(64), family="iaf")
    with pytest.raises(ConfigError, match=r"x has the shape \(3,\): give \[64\]"):
        loaded.encode(np.zeros(3))
    with pytest.raises(ConfigError, match="one datapoint of each, or N of each"):
        loaded.log_joint(np.zeros((2, 64)), np.zeros(10))


def test_a_program_is_compiled_once(loaded):
    loaded.decode(np.zeros((3, 10)))
    before = load_module._compiled.cache_info().misses
    loaded.decode(np.ones((3, 10)))
    assert load_module._compiled.cache_info().misses == before


@pytest.fixture(scope="module")
def conditional():
    """A model of labels 1 and 2, of which 0 has no training example, as `load` makes it, unfitted."""
    decoder = networks.mlp_decoder(2 + 3, (), 4, activation=jnp.tanh)
    bernoulli = models.decoder_model(5, decoder, models.LIKELIHOODS["bernoulli"].make(2))
    model = models.conditioned(bernoulli, models.Condition("label", 4, (0.0, 0.5, 0.5)))
    theta = model.init(jax.random.key(0))
    return load_module.FinishedRun(Path("run"), ConfigDict(), model, theta, {}, {}, (4,), [], {})


def test_a_label_that_no_training_example_has_is_refused(conditional):
    for call in (
        lambda y: conditional.sample(jax.random.key(0), 2, y=y),
        lambda y: conditional.decode(np.zeros((2, 2)), y=y),
        lambda y: conditional.log_joint(np.zeros((2, 4)), np.zeros((2, 2)), y=y),
    ):
        call([2, 1])
        for y in (0, [0, 2]):
            with pytest.raises(ConfigError, match="no training example has the label 0"):
                call(y)


def test_samples_given_y_take_keys_of_both_kinds(conditional):
    for key in (jax.random.key(0), jax.random.PRNGKey(0)):
        one = conditional.sample(key, 3, y=1)
        np.testing.assert_array_equal(one, conditional.sample(key, 3, y=[1, 1, 1]))
        np.testing.assert_array_equal(one, conditional.sample(jax.random.key(0), 3, y=1))


def test_a_ragged_y_is_one_line(conditional):
    with pytest.raises(ConfigError, match="give one, or one for each datapoint; a label is an integer"):
        conditional.sample(jax.random.key(0), 2, y=[[1], [1, 2]])
