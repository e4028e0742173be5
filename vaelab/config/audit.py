"""The families and settings of an audit: the defaults, with what its caller asks for."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from vaelab.config import defaults
from vaelab.config.evaluate import evaluate_settings, inference_settings
from vaelab.config.posterior import families
from vaelab.config.section import Section
from vaelab.errors import ConfigError, did_you_mean
from vaelab.measure.subject import EvaluateSettings
from vaelab.posterior import OF_ANY_MODEL
from vaelab.types import PosteriorFamily

# Settings of an experiment, by what an audit has in their place.
ELSEWHERE = {
    "evaluate.max_points": "give fewer datapoints",
    "evaluate.splits": "give other datapoints",
    "evaluate.corruption": "give other datapoints",
    "evaluate.inference_times": "take it out",
    "posterior.family": "give family=",
    "inference.families": "give families=",
    "inference.tolerance": "give tolerance=",
    "evidence.estimator": "give evidence=",
}


def audit_config(
    names: tuple[str, ...],
    encoded: str | None,
    *,
    evidence: str,
    tolerance: float,
    changes: Mapping[str, Any],
) -> ConfigDict:
    """changes: other settings of `defaults`, by dotted names. Raises ConfigError for one there is not."""
    config = ConfigDict()
    config.posterior, config.evaluate = defaults.posterior(), defaults.evaluate()
    config.inference, config.evidence = defaults.inference(), defaults.evidence()
    # What is given is audited once: more draws and rounds than in a study, for all to converge.
    config.inference.diagonal.objective.num_samples = 40
    config.inference.gaussian.objective.num_samples = 20
    config.inference.max_rounds = 6
    sizes = {"num_starts": 64, "num_steps": 60, "pilot_points": 16, "num_particles": 64}
    config.inference.modes = defaults.modes(**sizes)
    config.evidence.estimator = evidence
    config.inference.families, config.inference.tolerance = names, tolerance
    config.posterior.family = encoded or next(iter(names), "")
    for name, value in changes.items():
        names = _names(config)
        if name in ELSEWHERE:
            problem = "has no effect on an audit"
            raise ConfigError.of(setting=name, value=value, problem=problem, fix=ELSEWHERE[name])
        if name not in names:
            fix = did_you_mean(name, names)
            raise ConfigError.of(setting=name, value=value, problem="there is no such setting", fix=fix)
        try:
            config.update_from_flattened_dict({name: value})
        except TypeError as error:
            raise ConfigError.of(setting=name, value=value, problem=error.args[0]) from error
    return config


def _names(config: ConfigDict, path: str = "") -> list[str]:
    """The dotted names of all settings."""
    parts = ((f"{path}{name}", value) for name, value in config.items())
    return [n for name, v in parts for n in (_names(v, f"{name}.") if isinstance(v, ConfigDict) else [name])]


def audit_settings(
    config: ConfigDict, latent_dim: int, encoded: str | None, *, two_sided: bool
) -> tuple[dict[str, PosteriorFamily], EvaluateSettings]:
    """(the families that are fitted, the encoder's first; how). Raises ConfigError.

    two_sided: whether log p(x) is bounded from above too, on a path from a Gaussian distribution.
    """
    top = Section(config)
    names = top.section("inference").choices("families", OF_ANY_MODEL)
    made = families(top.section("posterior"), names, latent_dim)
    inference = inference_settings(top, made)
    settings = evaluate_settings(top, made, inference, (encoded,) if encoded else ())
    start = settings.evidence.start if settings.evidence.start in made else names[0]
    if two_sided and made[start].gaussian is None:
        raise ConfigError(
            f"num_simulated anneals from a Gaussian family, not {start!r}: have diagonal first in families"
        )
    return made, settings
