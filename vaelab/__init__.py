"""vaelab: train variational autoencoders and measure, with error bars, what their inference loses."""

from vaelab.audit import AuditError, Checked, Report, audit, check, from_numpyro
from vaelab.evidence import (
    Evidence,
    by_annealing,
    by_importance,
    by_quadrature,
    by_smc,
)
from vaelab.inference.loop import Inference, infer
from vaelab.inference.solver import natural_gradient, quasi_newton, stochastic_gradient
from vaelab.measure.evidence import estimate_log_evidence
from vaelab.measure.fit import InferenceSettings, LocalFit, fit_locally
from vaelab.measure.gap import Gap
from vaelab.model import decoder_model, linear_gaussian
from vaelab.objective import (
    Estimate,
    beta_elbo,
    dreg,
    elbo,
    elbo_from_draws,
    estimate_elbo,
    free_bits,
    iwae,
    renyi,
    stick_the_landing,
)
from vaelab.posterior import cholesky, diagonal, full, householder, iaf, low_rank, real_nvp
from vaelab.report.arviz import to_arviz
from vaelab.report.export import to_dataframe, to_latex
from vaelab.runs.load import FinishedRun, load
from vaelab.runs.run import run
from vaelab.runs.sweep import run_sweep as sweep
from vaelab.runtime.devices import on_devices
from vaelab.types import VERSION, ConfigError, LatentModel, PosteriorFamily

__version__ = VERSION

__all__ = [
    "AuditError",
    "Checked",
    "ConfigError",
    "Estimate",
    "Evidence",
    "FinishedRun",
    "Gap",
    "Inference",
    "InferenceSettings",
    "LatentModel",
    "LocalFit",
    "PosteriorFamily",
    "Report",
    "audit",
    "beta_elbo",
    "by_annealing",
    "by_importance",
    "by_quadrature",
    "by_smc",
    "check",
    "cholesky",
    "decoder_model",
    "diagonal",
    "dreg",
    "elbo",
    "elbo_from_draws",
    "estimate_elbo",
    "estimate_log_evidence",
    "fit_locally",
    "free_bits",
    "from_numpyro",
    "full",
    "householder",
    "iaf",
    "infer",
    "iwae",
    "linear_gaussian",
    "load",
    "low_rank",
    "natural_gradient",
    "on_devices",
    "quasi_newton",
    "real_nvp",
    "renyi",
    "run",
    "stick_the_landing",
    "stochastic_gradient",
    "sweep",
    "to_arviz",
    "to_dataframe",
    "to_latex",
]
