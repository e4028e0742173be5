"""What is measured, and the inner loop of each family, from a config."""

import pytest

from tests.support.configs import changed, refused
from vaelab.config import defaults
from vaelab.config import evaluate as reading
from vaelab.config.section import Section
from vaelab.posterior import FAMILIES
from vaelab.runtime.memory import Memory

NAMES = ("diagonal", "full")


def top(**changes):
    config = defaults.get_config()
    config.inference.modes.num_starts = 3
    for name, value in changes.items():
        changed(config, name.replace("__", "."), value)
    return Section(config)


def read(names=NAMES, **changes):
    section, families = top(**changes), {name: FAMILIES[name].make(2) for name in names}
    settings = reading.inference_settings(section, families)
    return reading.evaluate_settings(section, families, settings, names)


def test_each_family_has_the_loop_of_its_kind_and_all_share_the_rounds():
    settings = read(
        inference__diagonal__num_steps=7,
        inference__gaussian__num_steps=9,
        inference__gaussian__average_last=9,
        inference__gaussian__certificate_groups=5,
        inference__max_rounds=4,
        evaluate__elbo_samples=6,
        evidence__draw_chunk_size=2,
    ).inference
    assert [settings[name].num_steps for name in NAMES] == [7, 9]
    assert [settings[name].solver.num_steps for name in NAMES] == [7, 9]
    assert [settings[name].solver.optimizer.name for name in NAMES] == ["quasi_newton", "natural_gradient"]
    assert [settings[name].average_last for name in NAMES] == [0, 9]
    assert settings["full"][2:6] == (4, 5, 6, 2)


def test_numbers_reach_the_record_of_what_is_measured():
    changes = {
        "splits": ("train", "simulated"),
        "max_points": 12,
        "corruption": 1.0,
        "points_per_save": 3,
        "memory_bytes": 4096,
    }
    settings = read(
        **{f"evaluate__{name}": value for name, value in changes.items()}, inference__tolerance=0.5
    )
    assert settings.splits == ("train", "simulated")
    assert (settings.max_points, settings.corruption, settings.points_per_save) == (12, 1.0, 3)
    assert settings.memory == Memory(4096)
    assert (settings.tolerance, settings.families) == (0.5, NAMES)
    assert settings.search.num_starts == 3


@pytest.mark.parametrize(("start", "starts"), [("prior", ("prior",)), ("both", ("encoder", "prior"))])
def test_where_fits_start(start, starts):
    assert read(inference__start=start).starts == starts


def test_a_search_has_the_moves_of_smc_and_sizes_of_its_own():
    config = defaults.get_config()
    numbers = {
        "num_steps": 6,
        "polish_steps": 7,
        "num_nodes": 10,
        "max_modes": 8,
        "num_refits": 9,
        "pilot_points": 11,
        "look_starts": 12,
        "look_steps": 13,
        "growth": 14,
    }
    config.inference.modes = defaults.modes(num_runs=15, num_particles=16, **numbers)
    config.evidence.smc.num_moves = 17
    config.inference.modes.num_starts = numbers["num_starts"] = 5  # which tests are without, as a rule
    settings = reading.search_settings(Section(config.inference.modes), Section(config.evidence))
    assert {name: getattr(settings, name) for name in numbers} == numbers
    assert (settings.tempering.num_runs, settings.tempering.num_particles, settings.tempering.num_moves) == (
        15,
        16,
        17,
    )


def test_loops_to_be_timed_are_of_the_trained_family_with_so_many_steps():
    loops = read(evaluate__inference_times=(3, 5)).inference_times
    assert [(loop.family.name, loop.num_steps) for loop in loops] == [("diagonal", 3), ("diagonal", 5)]
    assert read(evaluate__inference_times=()).inference_times == ()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"inference__gaussian__average_last": 101}, "average_last=101: must be at most num_steps=100"),
        (
            {"evaluate__inference_times": (1,), "evaluate__splits": ("simulated",)},
            "for inference_times one of train",
        ),
        ({"evaluate__diagnostics__split_draws": 3}, "must be even: draws come in pairs"),
        ({"evaluate__diagnostics__max_points": 1}, "2 or more"),
        ({"inference__modes__num_nodes": 8}, "9 or more"),
        ({"inference__flow__optimizer__b1": 1.0}, "below 1"),
        ({"evaluate__memory_bytes": 2**60}, "this machine has"),
    ],
)
def test_what_cannot_be_is_one_line(changes, says):
    refused(lambda: read(**changes), says)
