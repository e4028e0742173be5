"""What is measured, how, and what came out: the records that all stages of measuring share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vaelab.evidence import Estimator, Evidence
from vaelab.evidence.annealing import Annealing
from vaelab.evidence.bdmc import Bidirectional
from vaelab.inference.loop import Loop
from vaelab.keys import Keys
from vaelab.measure.calibration import Calibration
from vaelab.measure.fit import InferenceSettings, LocalFit
from vaelab.runtime.memory import Memory
from vaelab.types import LatentModel, Params, PosteriorFamily


class Inputs(NamedTuple):
    """Observed datapoints with their stable indices."""

    x_NxD: np.ndarray
    index_N: np.ndarray


class Measured(NamedTuple):
    """Observed datapoints; z_NxK: what simulated ones were drawn from, exact draws of their posteriors."""

    inputs: Inputs
    z_NxK: np.ndarray | None = None


class EvidenceSettings(NamedTuple):
    """How log p(x) is estimated.

    estimators: the one to use, or the candidates of a pilot of pilot_points datapoints.
    proposals: which phi they are given, as (family, "optimum" or "encoder").
    start, annealing: of bidirectional Monte Carlo on simulated data.
    wanted_width: of its two bounds, nats, that temperatures are planned for.
    """

    estimators: tuple[Estimator, ...]
    pilot_points: int
    proposals: tuple[tuple[str, str], ...]
    start: str
    annealing: Annealing
    wanted_width: float


class EvaluateSettings(NamedTuple):
    """What is measured on the trained model, and in what portions; `inference` for each family.

    splits: of the data, and "simulated" (from the trained model) and "corrupted" (the test split, see
        `splits.corrupted`), of at most max_points datapoints each where that is not 0.
    tolerance: nats, by which a fit may fall short of its optimum and is called converged.
    points_per_save: datapoints after which a stage keeps what it has.
    inference_times: loops of the trained family, each with a number of steps, to be timed.
    """

    splits: tuple[str, ...]
    max_points: int
    corruption: float
    families: tuple[str, ...]
    starts: tuple[str, ...]
    inference: dict[str, InferenceSettings]
    tolerance: float
    evidence: EvidenceSettings
    memory: Memory
    points_per_save: int
    inference_times: tuple[Loop, ...]


class Subject(NamedTuple):
    """A model with what gives phi of a datapoint: what `measure` measures.

    keys: the fields inference, evidence, pilot, bidirectional and calibrate are used.
    amortized: what gave each family's phi that the optimum is compared with; a family that is not in it has
        none, and is fitted from wherever the inner loop starts.
    start: (family, inputs) -> phi_NxP, where the inner loop of these datapoints starts.
    """

    model: LatentModel
    theta: Params
    families: dict[str, PosteriorFamily]
    settings: EvaluateSettings
    keys: Keys
    amortized: dict[str, str]
    start: Callable[[str, Inputs], np.ndarray]


class Outcome(NamedTuple):
    """All that was measured on one split; `rows` makes rows of it.

    choice: how the estimator was chosen, where a pilot was asked for.
    bidirectional, calibrations: both bounds, and those of each family's q*, on simulated data.
    """

    points: Measured
    fits: dict[str, LocalFit]
    seconds: dict[str, float]
    estimator: Estimator
    choice: dict[str, Any] | None
    evidence: Evidence
    bidirectional: Bidirectional | None
    calibrations: dict[str, Calibration]
