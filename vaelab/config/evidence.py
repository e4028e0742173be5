"""Estimators of log p(x) from a config."""

import math
from collections.abc import Callable

from vaelab import evidence
from vaelab.config.section import Section
from vaelab.evidence import Estimator, annealing
from vaelab.evidence.annealing import Annealing
from vaelab.evidence.smc import Tempering
from vaelab.measure.subject import EvidenceSettings
from vaelab.types import PosteriorFamily

SCHEDULES = {
    "linear": annealing.linear,
    "sigmoid": annealing.sigmoid,
    "equal_length": annealing.equal_length,
}
# The families whose q* is nearest to the posterior come first: there the paths of annealing begin.
RICHEST = ("full", "cholesky", "low_rank", "householder", "diagonal")


def evidence_settings(
    section: Section, families: dict[str, PosteriorFamily], encoded: tuple[str, ...]
) -> EvidenceSettings:
    """encoded: the names of the families that have an encoder. Raises ConfigError."""
    proposals = tuple(
        (name, source)
        for source in section.choice("proposals", PROPOSALS)
        for name in families
        if source == "optimum" or name in encoded
    )
    if not proposals:
        raise section.error("proposals", "no family has an encoder: take optima, or set refit.num_steps")
    proposed = tuple(families[name] for name, _ in proposals)
    names = [name for name, _ in proposals]
    gaussian = [name for name in RICHEST if name in names]
    richest = gaussian[0] if gaussian else names[0]
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
    )


PROPOSALS = {"optima": ("optimum",), "encoder": ("encoder",), "both": ("optimum", "encoder")}


def _candidates(
    section: Section, families: tuple[PosteriorFamily, ...], start: str, settings: Annealing
) -> dict[str, Callable[[], tuple[Estimator, ...]]]:
    """Each choice of config.evidence.estimator; every number is checked, whatever is chosen."""
    draws = {
        "num_samples": section.integer("num_samples", 2),
        "chunk_size": section.integer("draw_chunk_size", 2),
    }
    degrees_of_freedom = section.integer("degrees_of_freedom", 1)
    tempering = _tempering(section.section("smc"), settings)
    grid = section.section("quadrature")
    nodes = {
        "num_nodes": grid.integer("num_nodes", 3),
        "half_width": grid.number("half_width", above=True),
    }
    if nodes["num_nodes"] % 2 == 0:
        raise grid.error("num_nodes", "must be odd, so that half of them are a rule of their own")
    latent_dim = families[0].latent_dim

    def quadrature() -> tuple[Estimator, ...]:
        if latent_dim > 2:
            raise section.error(
                "estimator",
                f"is for at most 2 latent dimensions and the model has {latent_dim}: take annealing or auto",
            )
        return (evidence.by_quadrature(families, start=start, **nodes),)

    def student_t() -> tuple[Estimator, ...]:
        return (evidence.by_importance(families, degrees_of_freedom=degrees_of_freedom, **draws),)

    single = {
        "importance": lambda: (evidence.by_importance(families, **draws),),
        "student_t": student_t,
        "annealing": lambda: (evidence.by_annealing(families, settings, start=start),),
        "smc": lambda: (
            evidence.by_smc(families, tempering, start=start, expected_temperatures=EXPECTED_TEMPERATURES),
        ),
    }

    def auto() -> tuple[Estimator, ...]:
        return quadrature() if latent_dim <= 2 else tuple(one for make in single.values() for one in make())

    return {**single, "quadrature": quadrature, "auto": auto}


EXPECTED_TEMPERATURES = 10.0  # from a q* near the posterior


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


def _tempering(section: Section, annealing: Annealing) -> Tempering:
    """The pilot is that of annealing."""
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
