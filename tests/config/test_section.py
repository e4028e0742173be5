"""Reading a config: a bad value, a missing one and one that nothing reads are each one clear line."""

import pickle

import pytest
from ml_collections import ConfigDict

from vaelab.config.section import Section
from vaelab.errors import ConfigError


def section(**values):
    return Section(ConfigDict({"train": values})).section("train")


@pytest.mark.parametrize(
    ("read", "value", "problem"),
    [
        (lambda s: s.boolean("a"), 1, "must be True or False"),
        (lambda s: s.integer("a", 1), 0, "must be an integer of 1 or more"),
        (lambda s: s.integer("a", 1), True, "must be an integer of 1 or more"),
        (lambda s: s.integer("a", 1), 2**31, "must be below 2147483648"),
        (lambda s: s.number("a", above=True), 0.0, "must be above 0"),
        (lambda s: s.number("a", 0.0, below=1.0), 1.0, "must be 0 or more and below 1"),
        (lambda s: s.number("a"), float("nan"), "must be a finite number, 0 or more"),
        (lambda s: s.widths("a"), (3, 0), "must be a tuple of positive layer widths"),
        (lambda s: s.choices("a", {"x": 1}), (), "must be a tuple that names at least one, each once"),
        (lambda s: s.choices("a", {"x": 1}), ("x,x",), "must be a tuple that names at least one, each once"),
        (lambda s: s.choices("a", {"x": 1}), ([1],), "unknown; there are x"),
        (lambda s: s.choice("a", {"adam": 1, "adamw": 2}), "adm", "unknown; there are adam, adamw"),
    ],
)
def test_a_bad_value_is_an_error_that_holds_its_parts(read, value, problem):
    with pytest.raises(ConfigError) as caught:
        read(section(a=value))
    error = caught.value
    assert (error.setting, error.problem) == ("train.a", problem)
    assert repr(error.value) == repr(ConfigDict({"a": value}).a)
    assert str(error).startswith(f"--config.train.a={error.value!r}: {problem}")
    assert error.said("setting ") == str(error).replace("--config.", "setting ", 1)


def test_the_nearest_name_is_the_fix():
    with pytest.raises(ConfigError) as caught:
        section(a="adm").choice("a", {"adam": 1})
    assert caught.value.fix == "did you mean 'adam'?"
    assert str(caught.value).endswith("unknown; there are adam; did you mean 'adam'?")


def test_a_value_that_is_missing_has_none():
    with pytest.raises(ConfigError) as caught:
        section().integer("num_steps", 1)
    assert caught.value.value is ...
    assert str(caught.value) == "--config.train.num_steps: is needed; give it a value"


def test_what_nothing_reads_is_an_error_with_the_nearest_name_that_was_read():
    read = section(num_steps=3, num_step=4)
    read.integer("num_steps", 1)
    with pytest.raises(ConfigError, match=r"num_step=4: has no effect .*; did you mean 'num_steps'"):
        read.close()


def test_names_after_a_comma_are_names_of_their_own():
    assert section(a=("x,y",)).choices("a", {"x": 1, "y": 2}) == ("x", "y")


def test_an_error_is_the_same_after_a_pickle():
    """As the first of several processes sends what it raises to the others."""
    error = section(a=3).error("a", "is odd", fix="take 4")
    same = pickle.loads(pickle.dumps(error))
    assert type(same) is ConfigError
    assert (str(same), vars(same)) == (str(error), vars(error))
    assert same.said("setting ") == "setting train.a=3: is odd; take 4"


def test_a_section_that_was_added_later_has_its_values_where_it_is_missing():
    read = Section(ConfigDict({"model": {"latent_dim": 2}})).section("model").section("prior")
    assert read.value("name") == "standard_normal"
    assert read.integer("num_components", 1) == 500
    read.close()
    with pytest.raises(ConfigError, match=r"config.model.priors: is needed"):
        Section(ConfigDict({"model": {"latent_dim": 2}})).section("model").section("priors")
