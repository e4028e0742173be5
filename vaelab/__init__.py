"""vaelab: train variational autoencoders and measure, with error bars, what their inference loses."""

from vaelab.audit import AuditError, Report, audit
from vaelab.inference.loop import infer
from vaelab.measure.fit import fit_locally
from vaelab.model import decoder_model, linear_gaussian
from vaelab.objective import elbo, elbo_from_draws, estimate_elbo, stick_the_landing
from vaelab.posterior import cholesky, diagonal, full, householder, iaf, low_rank, real_nvp
from vaelab.runtime.devices import on_devices
from vaelab.types import VERSION, ConfigError, LatentModel, PosteriorFamily

__version__ = VERSION

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
