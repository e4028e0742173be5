"""A user's own network, likelihood or prior by its name: taken as one of ours, or refused in one line."""

import sys

import numpy as np
import pytest

from tests.support.configs import changed, refused, smoke_with
from vaelab import data
from vaelab.config import defaults, own
from vaelab.config import model as reading
from vaelab.config.experiment import build
from vaelab.config.section import Section
from vaelab.errors import ConfigError
from vaelab.model import NETWORKS, NetworkEntry

MODULE = """
from vaelab.model import LIKELIHOODS, NETWORKS, NetworkEntry
from vaelab.types import Network
import jax.numpy as jnp

MLP = NETWORKS["mlp"]
FLAT = LIKELIHOODS["gaussian"]
number = 3

def _entry(apply):
    network = Network(lambda key: {}, apply)
    return NetworkEntry(lambda *a, **k: network, lambda *a, **k: network, lambda *shapes: None)

SHORT = _entry(lambda params, z_K: jnp.zeros(3))
TUPLE = _entry(lambda params, z_K: (z_K, z_K))
FAILING = _entry(lambda params, z_K: z_K @ jnp.zeros((99, 4)))
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "nets_of_a_user.py").write_text(MODULE)
    (tmp_path / "nets_that_fail.py").write_text("import nothing_of_this_name")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield
    assert sys.path == before
    for name in ("nets_of_a_user", "nets_that_fail"):
        sys.modules.pop(name, None)


def decoder(observation="binarize", **changes):
    config = defaults.model()
    config.hidden, config.latent_dim = (5,), 3
    for name, value in changes.items():
        changed(config, name.replace("__", "."), value)
    described = data.DataSet("made", (2, 2), 1, {})
    section = Section(config, "config.model")
    return reading.decoder_model(section, described, observation, lambda network: network)


def test_a_network_and_a_likelihood_of_the_users_file_are_taken(module):
    section = Section({"network": "nets_of_a_user:MLP"}, "config.model")
    assert own.entry(section, "network", NETWORKS, NetworkEntry) is NETWORKS["mlp"]
    model = decoder("dequantize", network="nets_of_a_user:MLP", likelihood__name="nets_of_a_user:FLAT")
    ours = decoder("dequantize", network="mlp", likelihood__name="gaussian")
    import jax

    theta = model.init(jax.random.key(0))
    z_K = np.ones(3, np.float32)
    np.testing.assert_array_equal(model.mean(theta, z_K), ours.mean(ours.init(jax.random.key(0)), z_K))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"network": "nothing_here:X"}, "nothing_here cannot be imported (ModuleNotFoundError"),
        ({"network": "nets_that_fail:X"}, "No module named 'nothing_of_this_name'"),
        ({"network": "nets_of_a_user:X"}, "has no X, and a NetworkEntry is needed; it has MLP, SHORT, TUPLE"),
        ({"network": "nets_of_a_user:number"}, "number is a int, and a NetworkEntry is needed"),
        ({"network": "nets_of_a_user:FLAT"}, "FLAT is a LikelihoodEntry, and a NetworkEntry is needed"),
        (
            {"likelihood__name": "nets_of_a_user:MLP"},
            "MLP is a NetworkEntry, and a LikelihoodEntry is needed",
        ),
        ({"network": "nets_of_a_user:SHORT"}, "gives shape [3] for an input of shape [3], and [4] is needed"),
        ({"network": "nets_of_a_user:TUPLE"}, "gives no array for an input of shape [3]"),
        ({"network": "nets_of_a_user:FAILING"}, "failed on an input of shape [3] (TypeError"),
    ],
)
def test_what_is_none_is_one_line(module, changes, says):
    with pytest.raises(ConfigError) as caught:
        decoder(**changes)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


PRIORS_OF_A_USER = """
import jax
import jax.numpy as jnp
from vaelab.model import Prior, PriorEntry

def laplace(latent_dim, scale=1.0, **changes):
    def log_prob(params, z_K):
        return -jnp.sum(jnp.abs(z_K - params["location_K"]) / scale + jnp.log(2.0 * scale))

    def sample(params, key):
        return params["location_K"] + scale * jax.random.laplace(key, (latent_dim,))

    init = lambda key: {"location_K": jnp.zeros(latent_dim)}
    return Prior("laplace", init, log_prob, sample)._replace(**changes)

def _entry(**changes):
    return PriorEntry(lambda latent_dim: laplace(latent_dim, **changes))

LAPLACE = PriorEntry(laplace)
MUTE = _entry(sample=None)
VECTOR = _entry(log_prob=lambda params, z_K: -jnp.abs(z_K))
PAIR = _entry(log_prob=lambda params, z_K: (0.0, z_K))
WHOLE = _entry(log_prob=lambda params, z_K: 3)
SHORT = _entry(sample=lambda params, key: jnp.zeros(3))
FLAT = _entry(concavity=lambda params: jnp.ones(2))
FAILING = _entry(log_prob=lambda params, z_K: z_K @ jnp.zeros((99, 4)))
COUNTED = _entry(init=lambda key: {"location_K": jnp.zeros(2, int)})
FLOATS = _entry(init=lambda key: {"location_K": 1.0})
LISTS = _entry(init=lambda key: {"location_K": [jnp.zeros(2)]})
LEVELS = _entry(levels=(2, 1))
TIED = _entry(tie=lambda params, psi: params)
CALLED = _entry(name="standard_normal")
RAISING = PriorEntry(lambda latent_dim: 1 / 0)
NONE = PriorEntry(lambda latent_dim: None)
ASKING = PriorEntry(laplace, ("scale",))
OF_ENCODER = PriorEntry(lambda latent_dim, **given: laplace(latent_dim), of_encoder=True)
"""


@pytest.fixture
def priors(tmp_path, monkeypatch):
    (tmp_path / "priors_of_a_user.py").write_text(PRIORS_OF_A_USER)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("priors_of_a_user", None)


def experiment(name, **changes):
    changes = {"model.latent_dim": 2, "model.prior.name": f"priors_of_a_user:{name}", **changes}
    return build(smoke_with(changes))


def test_a_prior_of_the_users_file_is_that_of_the_model(priors):
    built = experiment("LAPLACE")
    theta = built.theta
    assert set(theta) == {"likelihood", "prior"}
    assert built.latent_model.prior == "laplace"
    moved = theta | {"prior": {"location_K": np.float32([1.0, -2.0])}}
    z_K = np.float32([0.5, 1.0])
    log_p = built.latent_model.log_prior(moved, z_K)
    np.testing.assert_allclose(log_p, -3.5 - 2.0 * np.log(2.0), rtol=1e-6)
    assert experiment("MUTE").latent_model.sample_prior is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("laplace", "laplace is a function, and a PriorEntry is needed; it has LAPLACE, MUTE"),
        ("VECTOR", "gives shape [2] as log_prob of z of shape [2], and [] is needed"),
        ("PAIR", "gives no array as log_prob of z of shape [2], and shape [] is needed"),
        ("WHOLE", "gives int32 as log_prob of z of shape [2], and floats are needed"),
        ("SHORT", "gives shape [3] as sample of z of shape [2], and [2] is needed"),
        ("FLAT", "gives shape [2] as concavity of z of shape [2], and [2, 2] is needed"),
        ("FAILING", "failed in log_prob of z of shape [2] (TypeError"),
        ("COUNTED", "has parameters of int32, shape [2], which cannot be learned; give floats"),
        ("FLOATS", "has an init with a float at ['location_K']; give a dict of arrays"),
        ("LISTS", "has an init with an array in a list or tuple at ['location_K'][0]; give a dict of"),
        ("LEVELS", "has levels (2, 1), and z has 2 dimensions in all"),
        ("TIED", "has a tie to an encoder; set of_encoder=True of its PriorEntry"),
        ("CALLED", "is called standard_normal, which is N(0, I); call it otherwise"),
        ("RAISING", "could not be made (ZeroDivisionError"),
        ("NONE", "makes a NoneType, and a Prior is needed"),
        ("ASKING", "asks for scale, which no setting is; bind it in your function"),
    ],
)
def test_a_prior_that_is_none_is_one_line(priors, name, says):
    refused(lambda: experiment(name), f"model.prior.name='priors_of_a_user:{name}': {says}")


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("MUTE", {"evaluate.splits": ("test", "simulated")}, "the prior laplace has no sample; give it one"),
        ("LAPLACE", {"objective.name": "free_bits"}, "in closed form, and to laplace there is none"),
        ("OF_ENCODER", {"model.condition.name": "label"}, "has pseudo-inputs x, and with model.condition"),
    ],
)
def test_what_a_prior_of_the_users_has_not_is_refused_where_it_is_asked_for(priors, name, changes, says):
    refused(lambda: experiment(name, **changes), says)
