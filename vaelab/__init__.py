"""vaelab: train variational autoencoders and measure, with error bars, what their inference loses."""

# ruff: noqa: F403, F405

import importlib.util
from typing import TYPE_CHECKING, Any

from vaelab import audit  # the package: imported later, it would take the place of the function
from vaelab.errors import VERSION

if TYPE_CHECKING:
    from vaelab.public import *

del audit
__version__ = VERSION


def __getattr__(name: str) -> Any:
    """Imports a public name, or a module, when it is asked for: JAX takes seconds, and not all need it."""
    if name in __all__:
        public = importlib.import_module("vaelab.public")
        globals().update({each: vars(public)[each] for each in __all__})
        return globals()[name]
    if not name.startswith("_") and importlib.util.find_spec(f"vaelab.{name}"):
        return importlib.import_module(f"vaelab.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
