"""Studies from a config: experiments that train nothing."""

from collections.abc import Callable
from typing import Any

import jax

from vaelab import study
from vaelab.settings import Section
from vaelab.study.finding import Finding


def build_study(config: Any) -> Callable[[], Finding]:
    """The study that `config.study` names, with every number checked. Raises ConfigError."""
    top = Section(config)
    key = jax.random.key(top.integer("seed", 0))
    section = top.section("study")
    make = section.choice(
        "name",
        {
            "reparameterization": _reparameterization,
            "full_covariance_kl": _full_covariance_kl,
            "gradient_variance": _gradient_variance,
        },
    )
    compute = make(key, section)
    top.close()
    return compute


def _numbers(section: Section, name: str, kind: type, minimum: float) -> tuple:
    values = tuple(section.value(name))
    if not values or not all(isinstance(v, kind | int) and v >= minimum for v in values):
        raise section.error(name, f"must be numbers of {minimum:g} or more")
    return values


def _reparameterization(key: jax.Array, section: Section) -> Callable[[], Finding]:
    numbers = {
        "latent_dim": section.integer("latent_dim", 2),
        "num_draws": section.integer("num_draws", 100),
        "num_projections": section.integer("num_projections", 1),
    }
    return lambda: study.reparameterization(key, **numbers)


def _full_covariance_kl(key: jax.Array, section: Section) -> Callable[[], Finding]:
    numbers = {
        "latent_dims": _numbers(section, "latent_dims", int, 1),
        "num_draws": section.integer("num_draws", 100),
        "batch_size": section.integer("batch_size", 1),
        "repeats": section.integer("repeats", 1),
    }
    return lambda: study.full_covariance_kl(key, **numbers)


def _gradient_variance(key: jax.Array, section: Section) -> Callable[[], Finding]:
    numbers = {
        "singular_values": _numbers(section, "singular_values", float, 0.0),
        "distances": _numbers(section, "distances", float, 0.0),
        "num_samples": section.integer("num_samples", 1),
        "repeats": section.integer("repeats", 10),
    }
    return lambda: study.gradient_variance(key, **numbers)
