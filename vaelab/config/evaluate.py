"""What is measured of a trained model, and the inner loop of each family, from a config."""

import math
from collections.abc import Callable

import jax

from vaelab.config.evidence import evidence_settings, tempering_settings
from vaelab.config.objective import check_pair
from vaelab.config.optimizer import check_steps, flow_loop, gaussian_loop
from vaelab.config.section import Section
from vaelab.data.sources import MADE_SPLITS, SPLITS
from vaelab.inference.loop import Loop
from vaelab.inference.optimizer import InnerLoop
from vaelab.measure.fit import InferenceSettings
from vaelab.measure.subject import DiagnosticsSettings, EvaluateSettings, SearchSettings
from vaelab.posterior import FAMILIES
from vaelab.posterior.project import searched_as
from vaelab.runtime.memory import Memory, of_machine
from vaelab.types import PosteriorFamily

LOOPS = {"diagonal": gaussian_loop, "gaussian": gaussian_loop, "flow": flow_loop}

STARTS = {"encoder": ("encoder",), "prior": ("prior",), "both": ("encoder", "prior")}


def _local_settings(
    top: Section, section: Section, make: Callable[[Section, int], InnerLoop]
) -> InferenceSettings:
    """The inner loop of one kind of family; `section` is a part of `inference`."""
    inference, evidence, evaluate = top.section("inference"), top.section("evidence"), top.section("evaluate")
    num_steps = section.integer("num_steps", 1)
    return InferenceSettings(
        solver=make(section, num_steps),
        num_steps=num_steps,
        max_rounds=inference.integer("max_rounds", 1),
        certificate_groups=section.integer("certificate_groups", 3),
        elbo_samples=evaluate.integer("elbo_samples", 4),
        elbo_chunk_size=evidence.integer("draw_chunk_size", 2),
        average_last=_at_most(section, "average_last", num_steps),
    )


def _at_most(section: Section, name: str, most: int) -> int:
    number = section.integer(name, 0)
    if number > most:
        raise section.error(name, f"must be at most num_steps={most}")
    return number


def inference_settings(top: Section, families: dict[str, PosteriorFamily]) -> dict[str, InferenceSettings]:
    """The inner loop of each family."""
    inference = top.section("inference")
    settings = {kind: _local_settings(top, inference.section(kind), make) for kind, make in LOOPS.items()}
    for name, family in families.items():
        section = inference.section(FAMILIES[name].loop)
        check_pair(section.section("objective"), family)
        optimizer = section.section("optimizer")
        if family.shared_of is not None and optimizer.value("name") == "adamw":
            raise optimizer.error("name", f"decays the prior's numbers in the q of {name}", fix="take adam")
        check_steps(section, settings[FAMILIES[name].loop].solver, searched_as(family))
    return {name: settings[FAMILIES[name].loop] for name in families}


def evaluate_settings(
    top: Section,
    families: dict[str, PosteriorFamily],
    settings: dict[str, InferenceSettings],
    encoded: tuple[str, ...],
) -> EvaluateSettings:
    inference, evidence, evaluate = top.section("inference"), top.section("evidence"), top.section("evaluate")
    return EvaluateSettings(
        splits=evaluate.choices("splits", dict.fromkeys((*SPLITS, *MADE_SPLITS))),
        max_points=evaluate.integer("max_points", 0),
        corruption=evaluate.number("corruption", below=math.nextafter(1.0, 2.0)),
        families=inference.choices("families", FAMILIES),
        starts=inference.choice("start", STARTS),
        inference=settings,
        tolerance=inference.number("tolerance", above=True),
        evidence=evidence_settings(evidence, families, encoded),
        search=search_settings(inference.section("modes"), evidence),
        diagnostics=diagnostics_settings(evaluate.section("diagnostics")),
        memory=_memory(evaluate),
        points_per_save=evaluate.integer("points_per_save", 1),
        inference_times=_timed_loops(top, next(iter(families.values()))),
    )


def search_settings(section: Section, evidence: Section) -> SearchSettings:
    """How other modes are looked for; the moves of the sampler from the prior's side are those of SMC."""
    tempering = tempering_settings(evidence)
    num_starts = section.integer("num_starts", 0)
    return SearchSettings(
        num_starts=num_starts,
        num_steps=section.integer("num_steps", 1),
        polish_steps=section.integer("polish_steps", 1),
        num_nodes=section.integer("num_nodes", 9),
        max_modes=section.integer("max_modes", 2),
        num_refits=section.integer("num_refits", 1),
        pilot_points=section.integer("pilot_points", 1),
        look_starts=section.integer("look_starts", 1),
        look_steps=section.integer("look_steps", 1),
        tempering=tempering._replace(
            num_runs=section.integer("num_runs", 0), num_particles=section.integer("num_particles", 2)
        ),
        growth=section.integer("growth", 1),
    )


def diagnostics_settings(section: Section) -> DiagnosticsSettings:
    """What the rows say beside the gaps."""
    return DiagnosticsSettings(
        enabled=section.boolean("enabled"),
        max_points=section.integer("max_points", 2),
        num_draws=section.integer("num_draws", 2),
        split_points=section.integer("split_points", 0),
        split_draws=_even(section, "split_draws"),
    )


def _even(section: Section, name: str) -> int:
    number = section.integer(name, 2)
    if number % 2:
        raise section.error(name, "must be even: draws come in pairs")
    return number


def _timed_loops(top: Section, family: PosteriorFamily) -> tuple[Loop, ...]:
    evaluate, fitted = top.section("evaluate"), searched_as(family)
    if not evaluate.value("inference_times"):
        return ()
    if family.shared_of is not None:
        raise evaluate.error("inference_times", f"cannot time {family.name}, whose q hang on the prior")
    if not set(SPLITS) & set(evaluate.value("splits")):
        raise evaluate.error("splits", f"for inference_times one of {', '.join(SPLITS)} must be among them")
    kind = FAMILIES[family.name].loop
    section, make = top.section("inference").section(kind), LOOPS[kind]
    numbers = evaluate.numbers("inference_times", 1, integers=True)
    return tuple(Loop(fitted, make(section, number)(fitted), number) for number in numbers)


def _memory(section: Section) -> Memory:
    limit = int(section.number("memory_bytes", 1))
    available = of_machine()
    if jax.default_backend() == "cpu" and limit > available:
        raise section.error("memory_bytes", f"this machine has {available:,} bytes: set fewer")
    return Memory(limit)
