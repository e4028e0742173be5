"""Studies from a config: experiments that train nothing."""

from collections.abc import Callable
from typing import Any

import jax

from vaelab import study
from vaelab.config.section import Section
from vaelab.keys import named_key
from vaelab.posterior import OF_ANY_MODEL
from vaelab.study.family_cost import Sizes
from vaelab.study.finding import Finding


def build_study(config: Any) -> Callable[[], Finding]:
    """The study that `config.study` names, with every number checked. Raises ConfigError."""
    top = Section(config)
    key = named_key(top.integer("seed", 0), "study")
    section = top.section("study")
    make = section.choice(
        "name",
        {
            "reparameterization": _reparameterization,
            "family_cost": _family_cost,
            "full_covariance_kl": _full_covariance_kl,
            "gradient_variance": _gradient_variance,
        },
    )
    compute = make(key, section)
    if "smoke" in config:
        top.boolean("smoke")  # which concerns what is printed alone
    top.close()
    return compute


def _reparameterization(key: jax.Array, section: Section) -> Callable[[], Finding]:
    numbers = {
        "latent_dim": section.integer("latent_dim", 2),
        "num_draws": section.integer("num_draws", 100),
        "num_projections": section.integer("num_projections", 1),
    }
    return lambda: study.reparameterization(key, **numbers)


def _family_cost(key: jax.Array, section: Section) -> Callable[[], Finding]:
    numbers = {
        "families": section.choices("families", OF_ANY_MODEL),
        "latent_dims": section.numbers("latent_dims", 2, integers=True),
        "repeats": section.integer("repeats", 1),
        "sizes": Sizes(**{name: section.integer(name, 1) for name in Sizes._fields}),
    }
    return lambda: study.family_cost(key, **numbers)


def _full_covariance_kl(key: jax.Array, section: Section) -> Callable[[], Finding]:
    numbers = {
        "latent_dims": section.numbers("latent_dims", 1, integers=True),
        "num_draws": section.integer("num_draws", 100),
        "batch_size": section.integer("batch_size", 1),
        "repeats": section.integer("repeats", 1),
    }
    return lambda: study.full_covariance_kl(key, **numbers)


def _gradient_variance(key: jax.Array, section: Section) -> Callable[[], Finding]:
    numbers = {
        "singular_values": section.numbers("singular_values", 0.0),
        "distances": section.numbers("distances", 0.0),
        "num_samples": section.integer("num_samples", 1),
        "repeats": section.integer("repeats", 10),
    }
    return lambda: study.gradient_variance(key, **numbers)
