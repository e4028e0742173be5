"""Estimators of log p(x) from a config."""

import pytest

from tests.support.configs import changed, refused
from vaelab.config import defaults
from vaelab.config.evidence import evidence_settings, tempering_settings
from vaelab.config.section import Section
from vaelab.evidence.annealing import SCHEDULES
from vaelab.posterior import FAMILIES


def section(**changes):
    config = defaults.evidence()
    for name, value in changes.items():
        changed(config, name.replace("__", "."), value)
    return Section(config, "config.evidence")


def families(*names, latent_dim=2):
    sizes = {"real_nvp": {"num_layers": 1, "hidden": 2}}
    return {name: FAMILIES[name].make(latent_dim, **sizes.get(name, {})) for name in names}


def read(*names, encoded=(), latent_dim=2, **changes):
    return evidence_settings(section(**changes), families(*names, latent_dim=latent_dim), encoded)


@pytest.mark.parametrize(
    ("proposals", "pairs"),
    [
        ("optima", [("diagonal", "optimum"), ("full", "optimum")]),
        ("encoder", [("full", "encoder")]),
        ("both", [("diagonal", "optimum"), ("full", "optimum"), ("full", "encoder")]),
    ],
)
def test_proposals_are_of_the_families_that_have_them(proposals, pairs):
    assert list(read("diagonal", "full", encoded=("full",), proposals=proposals).proposals) == pairs


def test_no_encoder_is_no_proposal():
    refused(
        lambda: read("diagonal", proposals="encoder"), "no family has an encoder: take optima, or set refit"
    )


@pytest.mark.parametrize(
    ("names", "start", "begins"),
    [
        (("diagonal", "full", "cholesky"), "optimum", "full"),
        (("real_nvp", "diagonal"), "optimum", "diagonal"),
        (("real_nvp",), "optimum", "real_nvp"),
        (("diagonal", "full"), "prior", "prior"),
    ],
)
def test_a_path_begins_at_the_richest_gaussian_family(names, start, begins):
    settings = read(*names, annealing__start=start, estimator="annealing")
    assert settings.start == begins
    assert [estimator.name for estimator in settings.estimators] == [f"annealing from {begins}"]


@pytest.mark.parametrize(
    ("latent_dim", "kinds"),
    [
        (2, ["quadrature"]),
        (
            3,
            [
                "importance sampling",
                "importance sampling, Student-t",
                "annealing from full",
                "sequential Monte Carlo from full",
            ],
        ),
    ],
)
def test_auto_is_the_exact_one_where_it_can_be_and_else_every_sampler(latent_dim, kinds):
    made = read("full", latent_dim=latent_dim, estimator="auto").estimators
    assert [estimator.name for estimator in made] == kinds


def test_every_number_reaches_its_record():
    numbers = {
        "annealing__num_temperatures": 7,
        "annealing__num_chains": 5,
        "annealing__num_leapfrogs": 3,
        "annealing__target_acceptance": 0.5,
        "annealing__pilot_temperatures": 6,
        "annealing__pilot_chains": 4,
        "num_samples": 12,
        "draw_chunk_size": 3,
        "quadrature__num_nodes": 9,
        "quadrature__half_width": 2.5,
        "pilot_points": 8,
        "wanted_width": 0.3,
    }
    settings = read("full", **numbers)
    annealing = settings.annealing._asdict()
    assert annealing.pop("schedule") is SCHEDULES[defaults.evidence().annealing.schedule]
    assert annealing == {
        name.removeprefix("annealing__"): numbers[name] for name in numbers if "annealing" in name
    }
    assert settings.by_modes == (12, 3, 9, 2.5)
    assert (settings.pilot_points, settings.wanted_width) == (8, 0.3)
    smc = {"num_runs": 3, "num_particles": 6, "num_moves": 4, "num_leapfrogs": 5, "wanted_size": 1.0}
    wanted = smc | {
        "max_temperatures": 11,
        "target_acceptance": 0.5,
        "pilot_temperatures": 6,
        "pilot_chains": 4,
    }
    smc = {f"smc__{name}": value for name, value in (smc | {"max_temperatures": 11}).items()}
    assert tempering_settings(section(**numbers, **smc))._asdict() == wanted


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("quadrature__num_nodes", 8, "must be odd"),
        ("quadrature__half_width", 0.0, "above 0"),
        ("num_samples", 1, "2 or more"),
        ("degrees_of_freedom", 0, "1 or more"),
        ("smc__wanted_size", 1.1, "above 0 and below 1"),
        ("annealing__start", "posterior", "there are optimum, prior"),
    ],
)
def test_every_number_is_checked_whatever_is_chosen(setting, value, says):
    refused(lambda: read("full", **{setting: value}), says)
