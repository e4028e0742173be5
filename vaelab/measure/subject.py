"""What is measured, how, and what came out: the records that all stages of measuring share."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vaelab.evidence import Estimator, Evidence
from vaelab.evidence.annealing import Annealing
from vaelab.evidence.bdmc import Bidirectional
from vaelab.evidence.smc import Tempering
from vaelab.inference.loop import Loop
from vaelab.keys import Keys
from vaelab.measure.calibration import Calibration
from vaelab.measure.fit import InferenceSettings, LocalFit
from vaelab.runtime.memory import Memory
from vaelab.types import LatentModel, Params, PosteriorFamily

if TYPE_CHECKING:
    from vaelab.measure.diagnostics import Diagnostics
    from vaelab.measure.other_modes import OtherModes
    from vaelab.measure.split_gap import GapSplit


class Inputs(NamedTuple):
    """Observed datapoints with their stable indices."""

    x_NxD: np.ndarray
    index_N: np.ndarray


class Measured(NamedTuple):
    """Observed datapoints.

    z_NxK: what simulated ones were drawn from, exact draws of their posteriors
    label_N: a label of each; None where there are none
    """

    inputs: Inputs
    z_NxK: np.ndarray | None = None
    label_N: np.ndarray | None = None


class Quantized(NamedTuple):
    """What x is where each of its dimensions is one of a few levels, as 256 of a byte.

    dequantized: whether x is (level + u) / levels, u uniform on [0, 1), and the likelihood a density; else
    the likelihood is of probabilities of the levels
    """

    levels: int
    num_dims: int
    dequantized: bool


class Sizes(NamedTuple):
    """What log p(x) from all modes takes: draws of importance sampling, num_samples in portions of
    chunk_size; nodes of quadrature along each axis, and how far they reach, in standard deviations.
    """

    num_samples: int
    chunk_size: int
    num_nodes: int
    half_width: float


class EvidenceSettings(NamedTuple):
    """How log p(x) is estimated.

    estimators: the one to use, or the candidates of a pilot of pilot_points datapoints.
    proposals: which phi they are given, as (family, "optimum" or "encoder").
    start, annealing: of bidirectional Monte Carlo on simulated data.
    wanted_width: of its two bounds, nats, that temperatures are planned for.
    by_modes: of datapoints with several modes, whose evidence is estimated from all of them.
    """

    estimators: tuple[Estimator, ...]
    pilot_points: int
    proposals: tuple[tuple[str, str], ...]
    start: str
    annealing: Annealing
    wanted_width: float
    by_modes: Sizes


MOST_DIM = 20  # in which a second search looks for modes


class SearchSettings(NamedTuple):
    """How other modes are looked for, see `measure.search`.

    num_starts: of the ascents at each datapoint that is searched; 0 for no search at all
    num_steps, polish_steps: of each ascent, and of Newton's method at its end
    num_nodes: of a grid that is looked over for starts, where latent_dim is 1 or 2
    max_modes: the most that are kept
    num_refits: the most modes at which a family is fitted anew
    pilot_points: datapoints that are searched in any case, and from the prior's side too
    look_starts, look_steps: ascents at every other datapoint, and steps of each
    tempering: sequential Monte Carlo from the prior's side; num_runs = 0 for none
    growth: times as many of its particles where several modes were seen; 1 for no second search
    """

    num_starts: int
    num_steps: int
    polish_steps: int
    num_nodes: int
    max_modes: int
    num_refits: int
    pilot_points: int
    look_starts: int
    look_steps: int
    tempering: Tempering
    growth: int

    def enlarged(self, latent_dim: int) -> Tempering:
        """The sampler of a second search: as many runs, as the error is theirs, of more particles.

        Above MOST_DIM dimensions of no more: the share of a narrower mode is too small for any number.
        """
        growth = self.growth if latent_dim <= MOST_DIM else 1
        return self.tempering._replace(num_particles=growth * self.tempering.num_particles)


class DiagnosticsSettings(NamedTuple):
    """What the rows say of the q of a split beside the gaps, see `measure.diagnostics`.

    enabled: whether they do
    max_points, num_draws: datapoints, the first, and draws of each, from which the aggregate posterior is
        estimated; a pair of datapoints and a draw is a density
    split_points: datapoints, the first, at which the amortization gap is split, see `measure.split_gap`; 0
        for none
    split_draws: of each bound and gradient of it
    """

    enabled: bool
    max_points: int
    num_draws: int
    split_points: int
    split_draws: int


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
    search: SearchSettings
    diagnostics: DiagnosticsSettings
    memory: Memory
    points_per_save: int
    inference_times: tuple[Loop, ...]


class Subject(NamedTuple):
    """A model with an encoder or a table of variational parameters: what `measure` measures.

    keys: the fields inference, evidence, pilot, bidirectional and calibrate are used.
    amortized: what gave each family's phi that the optimum is compared with; a family that is not in it has
        none, and is fitted from wherever the inner loop starts.
    start: (family, inputs) -> phi_NxP, where the inner loop of these datapoints starts.
    quantized: the levels of x; None where it has none, or they are not known.
    """

    model: LatentModel
    theta: Params
    families: dict[str, PosteriorFamily]
    settings: EvaluateSettings
    keys: Keys
    amortized: dict[str, str]
    start: Callable[[str, Inputs], np.ndarray]
    quantized: Quantized | None = None


class Outcome(NamedTuple):
    """All that was measured on one split; `rows` makes rows of it.

    choice: how the estimator was chosen, where a pilot was asked for.
    bidirectional, calibrations: both bounds, and those of each family's q*, on simulated data.
    others: what a search for other modes has shown, and done to the fits and log p(x); None without one.
    diagnostics: of each family's q beside its gaps; empty where they are switched off.
    splits: of the amortization gaps of Gaussian families with an encoder, likewise.
    optimal_scales: S_MxKxK of q*_full, by its family's name, of the first datapoints, likewise.
    """

    points: Measured
    fits: dict[str, LocalFit]
    seconds: dict[str, float]
    estimator: Estimator
    choice: dict[str, Any] | None
    evidence: Evidence
    bidirectional: Bidirectional | None
    calibrations: dict[str, Calibration]
    others: "OtherModes | None" = None
    diagnostics: "Mapping[str, Diagnostics]" = MappingProxyType({})
    splits: "Mapping[str, GapSplit]" = MappingProxyType({})
    optimal_scales: Mapping[str, np.ndarray] = MappingProxyType({})
