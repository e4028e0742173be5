"""From a config to functions: the only place where a name in a config becomes code."""

from vaelab.build.experiment import Experiment, Inputs, Stage, build, renumbered
from vaelab.build.posterior import FAMILIES
from vaelab.build.study import build_study

__all__ = ["FAMILIES", "Experiment", "Inputs", "Stage", "build", "build_study", "renumbered"]
