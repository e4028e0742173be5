"""Estimators of log p(x) from a config."""

import math
from collections.abc import Callable
from functools import partial

from vaelab.config.section import Section
from vaelab.evidence import ESTIMATORS, Estimator
from vaelab.evidence.annealing import SCHEDULES, Annealing
from vaelab.evidence.smc import Tempering
from vaelab.measure.subject import EvidenceSettings, Sizes
from vaelab.posterior import FAMILIES
from vaelab.types import PosteriorFamily


def evidence_settings(
    section: Section, families: dict[str, PosteriorFamily], encoded: tuple[str, ...]
) -> EvidenceSettings:
    """How log p(x) is estimated, from the q* and encoders of these families. Raises ConfigError.

    encoded: the names of the families that have an encoder.
    """
    proposals = tuple(
        (name, source)
        for source in section.choice("proposals", PROPOSALS)
        for name in families
        if source == "optimum" or name in encoded
    )
    if not proposals:
        raise section.error("proposals", "no family has an encoder: take optima, or set refit.num_steps")
    proposed = tuple(families[name] for name, _ in proposals)
    gaussian = [name for name, _ in proposals if FAMILIES[name].richness]
    richest = max(gaussian or [proposals[0][0]], key=lambda name: FAMILIES[name].richness)
    start = section.section("annealing").choice("start", {"optimum": richest, "prior": "prior"})
    settings = _annealing(section.section("annealing"))
    candidates = _candidates(section, proposed, start, settings)
    return EvidenceSettings(
        estimators=section.choice("estimator", candidates)(),
        pilot_points=section.integer("pilot_points", 2),
        proposals=proposals,
        start=start,
        annealing=settings,
        wanted_width=section.number("wanted_width", above=True),
        by_modes=_sizes(section),
    )


PROPOSALS = {"optima": ("optimum",), "encoder": ("encoder",), "both": ("optimum", "encoder")}


def _candidates(
    section: Section, families: tuple[PosteriorFamily, ...], start: str, settings: Annealing
) -> dict[str, Callable[[], tuple[Estimator, ...]]]:
    """Each choice of config.evidence.estimator; every number is checked, whatever is chosen."""
    grid = section.section("quadrature")
    values = {
        "num_samples": section.integer("num_samples", 2),
        "chunk_size": section.integer("draw_chunk_size", 2),
        "degrees_of_freedom": section.integer("degrees_of_freedom", 1),
        "annealing": settings,
        "tempering": _tempering(section.section("smc"), settings),
        "num_nodes": grid.integer("num_nodes", 3),
        "half_width": grid.number("half_width", above=True),
    }
    if values["num_nodes"] % 2 == 0:
        raise grid.error("num_nodes", "must be odd, so that half of them are a rule too")
    latent_dim = families[0].latent_dim

    def make(name: str) -> tuple[Estimator, ...]:
        entry = ESTIMATORS[name]
        if entry.max_latent_dim is not None and latent_dim > entry.max_latent_dim:
            raise section.error(
                "estimator",
                f"is for at most {entry.max_latent_dim} latent dimensions and the model has {latent_dim}: "
                "take annealing or auto",
            )
        return (entry.make(families, start, **{setting: values[setting] for setting in entry.settings}),)

    def auto() -> tuple[Estimator, ...]:
        exact = [name for name, e in ESTIMATORS.items() if latent_dim <= (e.max_latent_dim or 0)]
        samplers = [name for name, e in ESTIMATORS.items() if e.max_latent_dim is None]
        return tuple(one for name in exact[:1] or samplers for one in make(name))

    return {**{name: partial(make, name) for name in ESTIMATORS}, "auto": auto}


def _sizes(section: Section) -> Sizes:
    """The sizes of an estimate from all modes: those of importance sampling and of quadrature."""
    grid = section.section("quadrature")
    return Sizes(
        num_samples=section.integer("num_samples", 2),
        chunk_size=section.integer("draw_chunk_size", 2),
        num_nodes=grid.integer("num_nodes", 3),
        half_width=grid.number("half_width", above=True),
    )


def _annealing(section: Section) -> Annealing:
    return Annealing(
        num_temperatures=section.integer("num_temperatures", 2),
        num_chains=section.integer("num_chains", 2),
        num_leapfrogs=section.integer("num_leapfrogs", 1),
        schedule=section.choice("schedule", SCHEDULES),
        target_acceptance=section.number("target_acceptance", above=True, below=1.0),
        pilot_temperatures=section.integer("pilot_temperatures", 2),
        pilot_chains=section.integer("pilot_chains", 2),
    )


def tempering_settings(section: Section) -> Tempering:
    """The settings of SMC in the section of the evidence."""
    return _tempering(section.section("smc"), _annealing(section.section("annealing")))


def _tempering(section: Section, annealing: Annealing) -> Tempering:
    """The settings of SMC, its pilot that of annealing."""
    return Tempering(
        num_runs=section.integer("num_runs", 2),
        num_particles=section.integer("num_particles", 2),
        num_moves=section.integer("num_moves", 1),
        num_leapfrogs=section.integer("num_leapfrogs", 1),
        wanted_size=section.number("wanted_size", above=True, below=math.nextafter(1.0, 2.0)),
        max_temperatures=section.integer("max_temperatures", 1),
        target_acceptance=annealing.target_acceptance,
        pilot_temperatures=annealing.pilot_temperatures,
        pilot_chains=annealing.pilot_chains,
    )
