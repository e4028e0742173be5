"""An error about a setting, in the words of whoever asks, and the nearest of some names."""

import pickle

import pytest

from vaelab.errors import ConfigError, did_you_mean


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({"value": 3, "problem": "is odd", "fix": "take 4"}, "a.b=3: is odd; take 4"),
        ({"value": None, "problem": "is none"}, "a.b=None: is none"),
        ({"value": "x y", "fix": "take x", "problem": ""}, "a.b='x y': take x"),
        ({"problem": "is needed"}, "a.b: is needed"),
    ],
)
def test_an_error_about_a_setting_has_a_line_for_each_edge(parts, line):
    error = ConfigError.of(setting="a.b", **parts)
    assert str(error) == f"--config.{line}"
    assert error.said("setting ") == f"setting {line}"
    same = pickle.loads(pickle.dumps(error))
    assert (str(same), vars(same)) == (str(error), vars(error))


def test_a_line_about_no_setting_is_the_same_at_every_edge():
    error = ConfigError("num_simulated needs a sampler")
    assert error.said("anything ") == str(error) == "num_simulated needs a sampler"
    assert error.value is ...


def test_only_what_is_near_is_asked_for():
    assert did_you_mean("diagnal", ("full", "diagonal")) == "did you mean 'diagonal'?"
    assert did_you_mean("laplace", ("full", "diagonal")) == ""
    assert did_you_mean("full", iter(("fulll", "full"))) == "did you mean 'full'?"
