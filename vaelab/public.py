"""What `import vaelab` gives, in `vaelab.__all__`: imported when the first of it is asked for."""

# ruff: noqa: F401

from vaelab.audit.auditing import audit, check
from vaelab.audit.checked import Checked
from vaelab.audit.given import AuditError
from vaelab.audit.numpyro_model import from_numpyro
from vaelab.audit.results import Report
from vaelab.errors import ConfigError
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
from vaelab.types import LatentModel, PosteriorFamily
