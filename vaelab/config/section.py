"""Reading a config: each value by name, checked, and none that goes unread."""

import math
from collections.abc import Mapping
from typing import Any

from vaelab.errors import ConfigError, did_you_mean
from vaelab.runtime.later import LATER


class Section:
    """One level of a config, read by name with the checks that make a bad value one clear line."""

    def __init__(self, values: Any, path: str = "config"):
        self._values, self._path = values, path
        self._unread = set(values)
        self._sections: dict[str, Section] = {}

    def error(self, name: str, problem: str, *, fix: str = "") -> ConfigError:
        """The error to raise about the setting of this name, with its value."""
        setting = f"{self._path}.{name}".removeprefix("config.")
        return ConfigError.of(setting=setting, value=self._values.get(name, ...), problem=problem, fix=fix)

    def value(self, name: str) -> Any:
        if name not in self._values and f"{self._path}.{name}" in LATER:
            return LATER[f"{self._path}.{name}"]
        if name not in self._values:
            raise self.error(name, "is needed", fix="give it a value")
        self._unread.discard(name)
        return self._values[name]

    def section(self, name: str) -> "Section":
        path = f"{self._path}.{name}"
        if name not in self._sections:
            later = name not in self._values and any(setting.startswith(f"{path}.") for setting in LATER)
            self._sections[name] = Section({} if later else self.value(name), path)
        return self._sections[name]

    def close(self) -> None:
        """Raises for a key that nothing has read, here or below: it would have had no effect."""
        for name in sorted(self._unread):
            fix = did_you_mean(name, set(self._values) - self._unread) or "take it out"
            raise self.error(name, "has no effect with the other settings", fix=fix)
        for section in self._sections.values():
            section.close()

    def boolean(self, name: str) -> bool:
        """True or False."""
        value = self.value(name)
        if not isinstance(value, bool):
            raise self.error(name, "must be True or False")
        return value

    def integer(self, name: str, minimum: int) -> int:
        """An integer of `minimum` or more that an int32 holds."""
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise self.error(name, f"must be an integer of {minimum} or more")
        if value >= 2**31:
            raise self.error(name, "must be below 2147483648")
        return value

    def number(
        self, name: str, minimum: float = 0.0, *, above: bool = False, below: float = math.inf
    ) -> float:
        """A finite number of `minimum` or more, or above it, and below `below`."""
        value = self.value(name)
        low = f"above {minimum:g}" if above else f"{minimum:g} or more"
        limits = low if math.isinf(below) else f"{low} and below {below:g}"
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(name, f"must be a finite number, {limits}")
        if value < minimum or (above and value == minimum) or value >= below:
            raise self.error(name, f"must be {limits}")
        return float(value)

    def numbers(self, name: str, minimum: float, *, integers: bool = False) -> tuple:
        """A tuple of at least one number."""
        values, kind = self.value(name), int if integers else int | float

        def fits(value: Any) -> bool:
            return isinstance(value, kind) and not isinstance(value, bool) and minimum <= value < math.inf

        if not isinstance(values, tuple | list) or not values or not all(map(fits, values)):
            what = "integers" if integers else "numbers"
            raise self.error(name, f"must be a tuple of {what} of {minimum:g} or more")
        return tuple(values)

    def choice(self, name: str, options: Mapping[str, Any]) -> Any:
        """What stands under the setting's value in `options`."""
        return self._look_up(name, self.value(name), options)

    def choices(self, name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of `options`, one or more, each once."""
        values = self.value(name)
        if isinstance(values, tuple | list):  # a flag turns a,b into one name of a tuple
            values = tuple(part for v in values for part in (v.split(",") if isinstance(v, str) else (v,)))
        if not isinstance(values, tuple) or not values or len(set(map(str, values))) < len(values):
            raise self.error(name, "must be a tuple that names at least one, each once")
        for value in values:
            self._look_up(name, value, options)
        return values

    def widths(self, name: str) -> tuple[int, ...]:
        """Positive integers; () is none."""
        values = self.value(name)
        if not isinstance(values, tuple | list) or not all(type(v) is int and v > 0 for v in values):
            raise self.error(name, "must be a tuple of positive layer widths")
        return tuple(values)

    def _look_up(self, name: str, value: Any, options: Mapping[str, Any]) -> Any:
        if not isinstance(value, str) or value not in options:
            fix = did_you_mean(str(value), options)
            raise self.error(name, f"unknown; there are {', '.join(options)}", fix=fix)
        return options[value]
