"""Learning regimes from a config: what goes together, and over how many steps."""

import os
from functools import partial

import numpy as np
import pytest

from tests.support.configs import learned_in, refused
from vaelab import data
from vaelab.config import regime as build_regime
from vaelab.config.experiment import build
from vaelab.config.regime import check_learning
from vaelab.config.section import Section
from vaelab.errors import ConfigError


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            learned_in("mean_field", **{"model.learn": False}),
            "with model.learn=False there is nothing to learn",
        ),
        (
            learned_in(
                "semi_amortized",
                **{"learning.local.optimizer.name": "quasi_newton", "learning.local.objective.name": "elbo"},
            ),
            "no derivative for unrolled steps",
        ),
        (
            learned_in(
                "mean_field",
                **{
                    "posterior.family": "real_nvp",
                    "inference.families": ("real_nvp",),
                    "objective.name": "elbo_from_draws",
                },
            ),
            "is for a Gaussian q(z)",
        ),
        (
            learned_in("mean_field", **{"posterior.family": "full", "inference.families": ("full",)}),
            "config.learning.local.optimizer.max_norm=5.0: a step of learning_rate * max_norm = 1.5 can",
        ),
        (
            learned_in("amortized", **{"inference.gaussian.optimizer.learning_rate": 0.3}),
            "take less than 4.71 for full",
        ),
        (
            learned_in("mean_field", **{"objective.name": "beta_elbo", "objective.warmup_steps": 10}),
            "the rows of mean_field climb the ELBO, so must the model",
        ),
    ],
)
def test_a_regime_that_cannot_be_is_refused(config, says):
    with pytest.raises(ConfigError) as caught:
        build(config)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_larger_than_the_memory_is_refused_with_its_bytes(monkeypatch):
    small = learned_in("mean_field", **{"evaluate.memory_bytes": 1, "inference.families": ("diagonal",)})
    monkeypatch.setattr(os, "sysconf", lambda name: 500)
    # 1,257 rows of 20 float32, with the schedule's count, three times over.
    with pytest.raises(ConfigError, match=r"the table of 1,257 x 20 .* take 316,764 bytes, .* has 250,000"):
        build(small)
    monkeypatch.setattr(os, "sysconf", lambda name: 600)
    build(small)


def test_rows_need_an_index_of_their_own(monkeypatch):
    original = data.load

    def load(*arguments, **settings):
        loaded = original(*arguments, **settings)
        train = loaded.splits["train"]
        loaded.splits["train"] = train._replace(index_N=np.zeros_like(train.index_N))
        return loaded

    monkeypatch.setattr(data, "load", load)
    with pytest.raises(ConfigError, match="no index of their own"):
        build(learned_in("mean_field"))


def spied(monkeypatch):
    """The numbers of steps that the solvers of section `learning.local` are made for."""
    seen, original = [], build_regime.gaussian_loop

    def solver(section, num_steps):
        seen.append(num_steps)
        return original(section, num_steps)

    monkeypatch.setattr(build_regime, "gaussian_loop", solver)
    return seen


def test_a_rows_schedule_spans_the_steps_it_takes_in_all(monkeypatch):
    """1,257 rows in batches of 100: 40 steps visit a row 3 or 4 times, with 5 steps of the solver each."""
    seen = spied(monkeypatch)
    build(learned_in("mean_field"))
    build(learned_in("semi_amortized", **{"learning.refinements": 7}))
    assert seen == [20, 7]


@pytest.mark.parametrize(
    ("regime", "objective", "fits"),
    [
        ("mean_field", "iwae", False),
        ("mean_field", "stick_the_landing", True),
        ("semi_amortized", "iwae", True),
        ("amortized", "beta_elbo", True),
    ],
)
def test_only_the_rows_of_a_table_must_climb_the_bound_of_the_model(regime, objective, fits):
    config = learned_in(regime, **{"objective.name": objective})
    check = partial(check_learning, Section(config.learning), Section(config.objective, "config.objective"))
    if fits:
        check()
    else:
        refused(check, "the rows of mean_field climb the ELBO, so must the model: elbo, ")
