"""Where a run is logged: names that there are, or none."""

import pytest

from tests.support.configs import refused
from vaelab.config.log import read_log
from vaelab.config.section import Section


@pytest.mark.parametrize(
    ("to", "names"),
    [
        ((), ()),
        ([], ()),
        (["tensorboard"], ("tensorboard",)),
        (("wandb", "mlflow"), ("wandb", "mlflow")),
        (("tensorboard,mlflow",), ("tensorboard", "mlflow")),  # as a flag has it
    ],
)
def test_any_of_them_may_be_named(to, names):
    assert read_log(Section({"to": to}, "config.log")) == names


def test_runs_from_before_the_setting_are_logged_as_they_were():
    assert read_log(Section({}).section("log")) == ("tensorboard",)


def test_another_is_refused_with_the_nearest():
    refused(lambda: read_log(Section({"to": ("mlfow",)}, "config.log")), "did you mean 'mlflow'?")
