"""What is measured of a trained model, and the inner loop of each family, from a config."""

import math
import os
from collections.abc import Callable

import jax

from vaelab.config.evidence import evidence_settings
from vaelab.config.objective import check_pair
from vaelab.config.optimizer import flow_solver, gaussian_solver
from vaelab.config.posterior import FAMILIES
from vaelab.config.section import Section
from vaelab.data.sources import SPLITS
from vaelab.inference.loop import Loop
from vaelab.inference.solver import SolverOf
from vaelab.measure.datapoints import MADE_SPLITS
from vaelab.measure.fit import InferenceSettings
from vaelab.measure.subject import EvaluateSettings
from vaelab.posterior.project import searched_as
from vaelab.runtime.memory import Memory
from vaelab.types import PosteriorFamily

SOLVERS = {"diagonal": gaussian_solver, "gaussian": gaussian_solver, "flow": flow_solver}

STARTS = {"encoder": ("encoder",), "prior": ("prior",), "both": ("encoder", "prior")}


def _local_settings(
    top: Section, section: Section, solver: Callable[[Section, int], SolverOf]
) -> InferenceSettings:
    """The inner loop of one kind of family; `section` is a part of `inference`."""
    inference, evidence, evaluate = top.section("inference"), top.section("evidence"), top.section("evaluate")
    return InferenceSettings(
        solver=solver(section, section.integer("num_steps", 1)),
        num_steps=section.integer("num_steps", 1),
        max_rounds=inference.integer("max_rounds", 1),
        certificate_groups=section.integer("certificate_groups", 3),
        tolerance=inference.number("tolerance", above=True),
        elbo_samples=evaluate.integer("elbo_samples", 4),
        elbo_chunk_size=evidence.integer("draw_chunk_size", 2),
        average_last=_at_most(section, "average_last", section.integer("num_steps", 1)),
    )


def _at_most(section: Section, name: str, most: int) -> int:
    number = section.integer(name, 0)
    if number > most:
        raise section.error(name, f"must be at most num_steps={most}")
    return number


def _kind(family: PosteriorFamily) -> str:
    """The part of `inference` that a family is fitted with."""
    return FAMILIES[family.name].loop


def inference_settings(top: Section, families: dict[str, PosteriorFamily]) -> dict[str, InferenceSettings]:
    """The inner loop of each family."""
    inference = top.section("inference")
    settings = {kind: _local_settings(top, inference.section(kind), make) for kind, make in SOLVERS.items()}
    for family in families.values():
        check_pair(inference.section(_kind(family)).section("objective"), family)
        settings[_kind(family)].solver(searched_as(family))  # raises for one that it cannot be
    return {name: settings[_kind(family)] for name, family in families.items()}


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
        evidence=evidence_settings(evidence, families, encoded),
        memory=_memory(evaluate),
        points_per_save=evaluate.integer("points_per_save", 1),
        inference_times=_timed_loops(top, next(iter(families.values()))),
    )


def _timed_loops(top: Section, family: PosteriorFamily) -> tuple[Loop, ...]:
    evaluate, searched = top.section("evaluate"), searched_as(family)
    if not evaluate.value("inference_times"):
        return ()
    if not set(SPLITS) & set(evaluate.value("splits")):
        raise evaluate.error("splits", f"for inference_times one of {', '.join(SPLITS)} must be among them")
    kind = _kind(family)
    section, make = top.section("inference").section(kind), SOLVERS[kind]
    numbers = evaluate.numbers("inference_times", 1, integers=True)
    return tuple(Loop(searched, make(section, number)(searched), number) for number in numbers)


def _memory(section: Section) -> Memory:
    limit = int(section.number("memory_bytes", 1))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if jax.default_backend() == "cpu" and limit > there:
        raise section.error("memory_bytes", f"this machine has {there:,} bytes: set fewer")
    return Memory(limit)
