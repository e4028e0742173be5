"""A user's own network or likelihood by its name: taken as one of ours, or refused in one line."""

import sys

import numpy as np
import pytest

from tests.support.configs import changed
from vaelab import data
from vaelab.config import defaults, own
from vaelab.config import model as reading
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
