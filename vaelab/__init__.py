"""vaelab: train variational autoencoders and measure, with error bars, what their inference loses."""

from vaelab.audit import Report, audit
from vaelab.given import AuditError
from vaelab.inference import infer
from vaelab.local_fit import fit_locally
from vaelab.model import decoder_model, linear_gaussian
from vaelab.objective import elbo, elbo_from_draws, estimate_elbo, stick_the_landing
from vaelab.parallel import on_devices
from vaelab.posterior import cholesky, diagonal, full, householder, iaf, low_rank, real_nvp
from vaelab.types import ConfigError, LatentModel, PosteriorFamily

__version__ = "0.1.0"

__all__ = [
    "AuditError",
    "ConfigError",
    "LatentModel",
    "PosteriorFamily",
    "Report",
    "audit",
    "cholesky",
    "decoder_model",
    "diagonal",
    "elbo",
    "elbo_from_draws",
    "estimate_elbo",
    "fit_locally",
    "full",
    "householder",
    "iaf",
    "infer",
    "linear_gaussian",
    "low_rank",
    "on_devices",
    "real_nvp",
    "stick_the_landing",
]
