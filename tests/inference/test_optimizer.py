"""Schedules of learning rates, and what a record of numbers makes of them."""

import numpy as np
import pytest

from experiments import digits_gap
from vaelab.config import optimizer
from vaelab.config.section import Section
from vaelab.inference.optimizer import learning_rates


def test_powers_of_three_are_eight_stages_each_three_times_as_long_as_the_last():
    config = digits_gap.get_config()
    changes = {"schedule": "powers_of_three", "final_scale": 0.1, "learning_rate": 1e-3}
    config.train.optimizer.update(changes)
    schedule = learning_rates(optimizer.read_optimizer(Section(config.train.optimizer), 3280), 3280)
    ends = np.cumsum([3**i for i in range(8)])
    assert ends[-1] == 3280
    for i, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        for step in (start, end - 1):
            assert float(schedule(step)) == pytest.approx(1e-3 * 10 ** (-i / 7), rel=1e-5), (i, step)


def test_exponential_falls_by_the_same_part_in_every_step():
    config = digits_gap.get_config()
    config.train.optimizer.update({"schedule": "exponential", "final_scale": 0.25, "learning_rate": 1e-3})
    schedule = learning_rates(optimizer.read_optimizer(Section(config.train.optimizer), 100), 100)
    for step, rate in ((0, 1e-3), (50, 0.5e-3), (100, 0.25e-3)):
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-6)
