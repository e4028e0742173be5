"""The runs of a sweep from a config."""

import itertools
import re
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from vaelab.config.section import Section
from vaelab.errors import ConfigError, did_you_mean
from vaelab.training.recipe import NUMBERS, TOLERANCE

# The settings whose values are arguments of the compiled program: all else is a program of its own.
VARYING = (*NUMBERS, TOLERANCE)


class Point(NamedTuple):
    """One place of a sweep: its runs differ in their seed alone.

    name: of its directory. settings: what is varied, with its values here. numbers: those of the settings
    that are arguments of the program. configs: of each seed's run.
    """

    name: str
    settings: dict[str, Any]
    numbers: dict[str, float]
    configs: tuple[ConfigDict, ...]


class Sweep(NamedTuple):
    """points: all, in order. programs: the numbers of the points that are one program, each point in one.

    memory_bytes: as many runs of a program are trained at once as fit.
    """

    points: tuple[Point, ...]
    programs: tuple[tuple[int, ...], ...]
    memory_bytes: int


def varied(config: ConfigDict) -> tuple[str, ...]:
    """The settings on the axes of config.sweep, in so far as it is well formed."""
    axes = config.sweep.get("axes", ())
    pairs = [axis for axis in axes if isinstance(axis, tuple | list) and len(axis) == 2]
    return tuple(name for names, _ in pairs for name in ([names] if isinstance(names, str) else names))


def read_sweep(config: ConfigDict) -> Sweep:
    """Every combination of the axes of config.sweep, with num_seeds runs from config.seed on each.

    An axis is (name, values), or (names, values) with a tuple of values for each place where several settings
    change together. Raises ConfigError for what the config does not have.
    """
    section = Section(config.sweep, "config.sweep")
    axes, num_seeds = section.value("axes"), section.integer("num_seeds", 1)
    memory_bytes, one_program = int(section.number("memory_bytes", 1)), section.value("one_program")
    section.close()
    if not isinstance(axes, tuple | list):
        raise section.error("axes", "must be a tuple of (name, values)")
    base = config.copy_and_resolve_references()
    with base.unlocked():
        del base.sweep
    changes = [_changes(section, base, axis) for axis in axes]
    together = _together(section, one_program, {name for places in changes for name in places[0]})
    points = []
    for combination in itertools.product(*changes):
        settings = {name: value for part in combination for name, value in part.items()}
        configs = tuple(_changed(base, settings, base.seed + number) for number in range(num_seeds))
        numbers = {name: value for name, value in settings.items() if name in together}
        points.append(Point(_directory(settings), settings, numbers, configs))
    names = [point.name for point in points]
    if len(set(names)) < len(names):
        raise section.error("axes", "has a place twice")
    return Sweep(tuple(points), _programs(points), memory_bytes)


def _together(section: Section, one_program: Any, varied: set[str]) -> tuple[str, ...]:
    """The varied settings whose values are arguments of one program."""
    if tuple(one_program) == ("auto",):
        return tuple(name for name in VARYING if name in varied)
    if not isinstance(one_program, tuple | list):
        raise section.error("one_program", "must be a tuple of names of axes, or ('auto',)")
    # A flag turns a,b into one name of a tuple.
    one_program = [part for name in one_program for part in str(name).split(",")]
    for name in one_program:
        if name not in varied:
            raise section.error("one_program", f"{name!r} is not an axis of the sweep")
        if name not in VARYING:
            line = f"{name!r} changes shapes, or the program itself: leave it out"
            raise section.error("one_program", f"{line}; there are {', '.join(VARYING)}")
    return tuple(one_program)


def _programs(points: list[Point]) -> tuple[tuple[int, ...], ...]:
    """Points with the same settings but for their numbers; a number that is 0 may take a part out."""
    programs: dict[str, list[int]] = {}
    for i, point in enumerate(points):
        apart = {name: value for name, value in point.settings.items() if name not in point.numbers}
        zero = [name for name, value in point.numbers.items() if value == 0]
        programs.setdefault(repr((apart, zero)), []).append(i)
    return tuple(map(tuple, programs.values()))


def _changes(section: Section, base: ConfigDict, axis: Any) -> list[dict[str, Any]]:
    """[{setting: value}] for each place on one axis."""
    if not isinstance(axis, tuple | list) or len(axis) != 2 or not axis[1]:
        raise section.error("axes", f"{axis!r} is not a pair of a name, or names, and values")
    names, values = axis
    several = not isinstance(names, str)
    names = tuple(names) if several else (names,)
    for name in names:
        _known(section, base, name)
    places = [tuple(value) if several else (value,) for value in values]
    for place in places:
        if len(place) != len(names):
            raise section.error(
                "axes", f"{place!r} has {len(place)} values for the {len(names)} of {names!r}"
            )
    return [dict(zip(names, place, strict=True)) for place in places]


def _known(section: Section, base: ConfigDict, name: str) -> None:
    at, path = base, ""
    for part in name.split("."):
        if not isinstance(at, ConfigDict) or part not in at:
            options = [f"{path}{key}" for key in at] if isinstance(at, ConfigDict) else []
            raise section.error(
                "axes", f"the config has no setting {name!r}", fix=did_you_mean(f"{path}{part}", options)
            )
        at, path = at[part], f"{path}{part}."
    if name == "seed":
        raise section.error("axes", "seeds are varied by sweep.num_seeds, from config.seed on")


def _changed(base: ConfigDict, settings: dict[str, Any], seed: int) -> ConfigDict:
    config = base.copy_and_resolve_references()
    for name, value in settings.items():
        try:
            config.update_from_flattened_dict({name: value})
        except (TypeError, ValueError):
            *sections, last = name.split(".")
            holder = config
            for part in sections:
                holder = holder[part]
            kind = type(holder[last]).__name__
            raise ConfigError(
                f"--config.sweep.axes: {name} cannot be {value!r}: it is of type {kind}"
            ) from None
    config.seed = seed
    return config


def _directory(settings: dict[str, Any]) -> str:
    """A name for a directory that says what is varied: the last word of each setting, and its value."""
    words = [f"{name.split('.')[-1]}={text(value)}" for name, value in settings.items()]
    return re.sub(r"[^\w.=,+-]+", "-", ",".join(words)) or "all"


def text(value: Any) -> str:
    """A value in a few characters: layers as 200x200, none as none."""
    if isinstance(value, tuple | list):
        return "x".join(map(str, value)) or "none"
    return str(value)
