"""The runs of a sweep from a config."""

import pytest

from tests.support.configs import refused
from vaelab.config import defaults
from vaelab.config.sweep import read_sweep, text, varied

RATE, BETA, HIDDEN = "train.optimizer.learning_rate", "objective.beta", "encoder.hidden"


def swept(*axes, num_seeds=1, seed=3, **changes):
    config = defaults.get_config()
    config.seed = seed
    config.sweep = defaults.sweep(*axes, num_seeds=num_seeds)
    config.sweep.update(changes)
    return config


def test_a_point_has_its_settings_its_seeds_and_a_name_that_says_both_axes():
    config = swept((RATE, (0.1, 0.2)), (HIDDEN, ((), (8, 4))), num_seeds=2)
    points = read_sweep(config).points
    assert [point.name for point in points] == [
        "learning_rate=0.1,hidden=none",
        "learning_rate=0.1,hidden=8x4",
        "learning_rate=0.2,hidden=none",
        "learning_rate=0.2,hidden=8x4",
    ]
    last = points[-1]
    assert last.settings == {RATE: 0.2, HIDDEN: (8, 4)}
    assert last.numbers == {RATE: 0.2}
    assert [run.seed for run in last.configs] == [3, 4]
    assert {run.train.optimizer.learning_rate for run in last.configs} == {0.2}
    assert {run.encoder.hidden for run in last.configs} == {(8, 4)}
    assert "sweep" not in last.configs[0]
    assert config.train.optimizer.learning_rate == defaults.get_config().train.optimizer.learning_rate


@pytest.mark.parametrize(
    ("axes", "one_program", "programs"),
    [
        ([(RATE, (0.1, 0.2)), (HIDDEN, ((), (8,)))], ("auto",), ((0, 2), (1, 3))),
        ([(RATE, (0.1, 0.2)), (HIDDEN, ((), (8,)))], (), ((0,), (1,), (2,), (3,))),
        ([(RATE, (0.1, 0.2)), (BETA, (0.5, 2.0))], (f"{RATE},{BETA}",), ((0, 1, 2, 3),)),
        ([(RATE, (0.1, 0.2)), (BETA, (0.5, 2.0))], (BETA,), ((0, 1), (2, 3))),
        ([(BETA, (0.0, 1.0, 2.0))], ("auto",), ((0,), (1, 2))),  # a weight of 0 takes the KL out
        ([], ("auto",), ((0,),)),
    ],
)
def test_points_that_differ_in_such_numbers_alone_are_one_program(axes, one_program, programs):
    config = swept(*axes)
    with config.sweep.ignore_type():
        config.sweep.one_program = one_program
    assert read_sweep(config).programs == programs


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ([(RATE, (0.1, 0.1))], "has a place twice"),
        ([("train.optimizer.learning_rates", (0.1,))], "did you mean 'train.optimizer.learning_rate'"),
        ([("seed", (1, 2))], "seeds are varied by sweep.num_seeds"),
        ([(RATE, ())], "is not a pair of a name, or names, and values"),
        ([((RATE, BETA), ((0.1,),))], "has 1 values for the 2"),
        ([("train.num_steps", ("many",))], "train.num_steps cannot be 'many': it is of type int"),
    ],
)
def test_an_axis_that_cannot_be_is_one_line(axes, says):
    refused(lambda: read_sweep(swept(*axes)), says)


def test_what_is_varied_is_known_of_any_sweep():
    assert varied(swept((RATE, (0.1,)), ((BETA, HIDDEN), ((1.0, ()),)))) == (RATE, BETA, HIDDEN)
    assert varied(swept(RATE)) == ()


@pytest.mark.parametrize(
    ("value", "says"), [((), "none"), ((200, 100), "200x100"), (0.5, "0.5"), ("elbo", "elbo")]
)
def test_a_value_in_a_few_characters(value, says):
    assert text(value) == says
