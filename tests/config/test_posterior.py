"""Posterior families and their encoders from a config."""

import jax
import numpy as np
import pytest

from tests.support.configs import changed, refused
from vaelab.config import defaults
from vaelab.config import posterior as reading
from vaelab.config.section import Section
from vaelab.posterior import FAMILIES


def section(**changes):
    config = defaults.posterior()
    for name, value in changes.items():
        changed(config, name.replace("__", "."), value)
    return Section(config, "config.posterior")


def test_the_trained_family_is_first_and_the_others_keep_their_order():
    made = reading.families(section(family="full"), ("cholesky", "full", "diagonal"), 3)
    assert list(made) == ["full", "cholesky", "diagonal"]
    assert {name: family.name for name, family in made.items()} == {name: name for name in made}
    refused(
        lambda: reading.families(section(family="iaf"), ("full",), 3), "must be one of --config.inference"
    )


@pytest.mark.parametrize(("name", "setting"), [("low_rank", "rank"), ("householder", "num_reflections")])
def test_a_size_reaches_its_family_and_is_at_most_the_latent_dimension(name, setting):
    def read(size):
        return reading.families(section(**{"family": name, setting: size}), (name,), 4)[name]

    assert [read(size).param_size for size in (1, 4)] == [2 * 4 + 4, 2 * 4 + 4 * 4]
    refused(lambda: read(5), f"{setting}=5: must be at most model.latent_dim=4")


@pytest.mark.parametrize("setting", sorted({size for entry in FAMILIES.values() for size in entry.sizes}))
def test_each_size_is_checked_whatever_the_family(setting):
    wrong = section(**{setting.replace(".", "__"): 0})
    refused(
        lambda: reading.families(wrong, ("diagonal",), 3), f"{setting}=0: must be an integer of 1 or more"
    )


def test_an_encoder_of_no_scale_gives_the_prior_of_its_family_whatever_x():
    config = defaults.encoder()
    config.hidden, config.output_scale = (4,), 0.0
    family = FAMILIES["cholesky"].make(2)
    network = reading.encoder(Section(config, "config.encoder"), family, (3,), lambda network: network)
    phi_P = network.apply(network.init(jax.random.key(0)), np.float32([1.0, -2.0, 3.0]))
    np.testing.assert_array_equal(phi_P, family.init())


def test_outputs_that_do_not_fit_the_machine_are_refused_with_their_bytes(monkeypatch):
    """K + K^2 = 110 outputs, 4 bytes times 4 (20 + 1) of the layer and 2 of each of 8 examples: 44,000."""
    model = Section(defaults.model(), "config.model")
    monkeypatch.setattr(reading, "of_machine", lambda: 44_000)
    reading.check_memory(model, "full", 10, 20, 8)
    monkeypatch.setattr(reading, "of_machine", lambda: 43_999)
    line = "the 110 outputs of posterior family full take 44,000 bytes and this machine has 43,999"
    refused(lambda: reading.check_memory(model, "full", 10, 20, 8), line)
    reading.check_memory(model, "diagonal", 10**9, 20, 8)  # in proportion to latent_dim
