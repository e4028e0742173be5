"""vaelab: train variational autoencoders and measure, with error bars, what their inference loses."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaelab.auditing import Report, audit
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

_HOMES = {
    "auditing": ("Report", "audit"),
    "given": ("AuditError",),
    "inference": ("infer",),
    "local_fit": ("fit_locally",),
    "model": ("decoder_model", "linear_gaussian"),
    "objective": ("elbo", "elbo_from_draws", "estimate_elbo", "stick_the_landing"),
    "parallel": ("on_devices",),
    "posterior": ("cholesky", "diagonal", "full", "householder", "iaf", "low_rank", "real_nvp"),
    "types": ("ConfigError", "LatentModel", "PosteriorFamily"),
}


def __getattr__(name: str) -> Any:
    """A public name, imported where it is first used: a module of vaelab imports no more than it needs."""
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"vaelab.{home}"), name)
    raise AttributeError(f"module 'vaelab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
