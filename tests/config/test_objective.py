"""Objectives from a config, and which of them fit together with what."""

import pytest

from tests.support.configs import refused
from vaelab.config import defaults
from vaelab.config.objective import ELBOS, check_pair, local_objective, training_objective
from vaelab.config.section import Section
from vaelab.inference.optimizer import LocalObjective
from vaelab.posterior import FAMILIES


def section(**changes):
    config = defaults.objective()
    config.update(changes)
    return Section(config, "config.objective")


@pytest.mark.parametrize(
    ("changes", "settings", "warmup_steps"),
    [
        ({"name": "elbo"}, (), None),
        ({"name": "beta_elbo", "beta": 0.5}, (("beta", 0.5),), None),
        ({"name": "beta_elbo", "beta": 2.0, "warmup_steps": 100}, (("beta", 2.0),), 100),
        ({"name": "free_bits", "min_kl": 3.0}, (("min_kl", 3.0),), None),
        ({"name": "renyi", "alpha": -0.5}, (("alpha", -0.5),), None),
    ],
)
def test_a_bound_takes_its_own_numbers_and_no_others(changes, settings, warmup_steps):
    read = training_objective(section(num_samples=4, antithetic=True, **changes), 100)
    assert read == (changes["name"], 4, True, settings, warmup_steps)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"beta": 0.5}, "beta=0.5: needs --config.objective.name=beta_elbo"),
        ({"warmup_steps": 5}, "warmup_steps=5: needs --config.objective.name=beta_elbo"),
        ({"name": "iwae", "min_kl": 0.1}, "min_kl=0.1: needs --config.objective.name=free_bits"),
        ({"name": "beta_elbo", "warmup_steps": 101}, "at most the 100 steps of the training"),
        ({"name": "dreg", "num_samples": 2, "antithetic": True}, "unbiased for independent draws only"),
        ({"name": "renyi", "alpha": 1.0}, "alpha=1.0: is the ELBO"),
        ({"num_samples": 3, "antithetic": True}, "draws come in pairs: take an even number"),
        ({"name": "elbow"}, "did you mean 'elbo'"),
    ],
)
def test_a_training_bound_that_cannot_be(changes, says):
    refused(lambda: training_objective(section(**changes), 100), says)


def test_the_inner_loop_climbs_an_elbo_alone():
    for name in ELBOS:
        assert local_objective(section(name=name, num_samples=6)) == LocalObjective(name, 6, False)
    for name in ("iwae", "beta_elbo", "free_bits"):
        refused(
            lambda name=name: local_objective(section(name=name)),
            "q* is the optimum of the ELBO; here it can be",
        )


def test_a_flow_has_no_closed_kl():
    flow = FAMILIES["real_nvp"].make(2, num_layers=1, hidden=2)
    refused(
        lambda: check_pair(section(name="free_bits"), flow), "real_nvp has no closed-form KL to the prior"
    )
    for name, family in (("free_bits", FAMILIES["full"].make(2)), ("iwae", flow), ("beta_elbo", flow)):
        check_pair(section(name=name), family)
