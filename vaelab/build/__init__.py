"""From a config to functions: the only place where a name in a config becomes code."""

from vaelab.build.evaluate import EvaluateSettings
from vaelab.build.experiment import Experiment, Inputs, Keys, Stage, build, renumbered
from vaelab.build.posterior import FAMILIES
from vaelab.build.study import build_study

__all__ = [
    "FAMILIES",
    "EvaluateSettings",
    "Experiment",
    "Inputs",
    "Keys",
    "Stage",
    "build",
    "build_study",
    "renumbered",
]
