"""Reading a config: each value by name, checked, and none left unread."""

import difflib
import math
from collections.abc import Mapping
from typing import Any

from vaelab.types import ConfigError


class Section:
    """One level of a config, read by name with the checks that make a bad value one clear line."""

    def __init__(self, values: Any, path: str = "config"):
        self._values, self._path = values, path
        self._unread = set(values)
        self._sections: dict[str, Section] = {}

    def error(self, name: str, problem: str) -> ConfigError:
        return ConfigError(f"--{self._path}.{name}={self._values.get(name)!r}: {problem}")

    def value(self, name: str) -> Any:
        if name not in self._values:
            raise ConfigError(f"--{self._path}.{name} is needed: give it a value")
        self._unread.discard(name)
        return self._values[name]

    def section(self, name: str) -> "Section":
        if name not in self._sections:
            self._sections[name] = Section(self.value(name), f"{self._path}.{name}")
        return self._sections[name]

    def close(self) -> None:
        """Raises for a key that nothing has read, here or below: it would have had no effect."""
        for name in sorted(self._unread):
            read = set(self._values) - self._unread
            near = difflib.get_close_matches(name, read, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "take it out"
            raise self.error(name, f"has no effect with the other settings; {hint}")
        for section in self._sections.values():
            section.close()

    def boolean(self, name: str) -> bool:
        value = self.value(name)
        if not isinstance(value, bool):
            raise self.error(name, "must be True or False")
        return value

    def integer(self, name: str, minimum: int) -> int:
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise self.error(name, f"must be an integer of {minimum} or more")
        if value >= 2**31:
            raise self.error(name, "must be below 2147483648")
        return value

    def number(
        self, name: str, minimum: float = 0.0, *, above: bool = False, below: float = math.inf
    ) -> float:
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
        return self._look_up(name, self.value(name), options)

    def choices(self, name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
        values = self.value(name)
        if not isinstance(values, tuple | list) or not values or len(set(map(str, values))) < len(values):
            raise self.error(name, "must be a tuple that names at least one, each once")
        # A flag turns a,b into one name of a tuple.
        values = tuple(part for v in values for part in (v.split(",") if isinstance(v, str) else (v,)))
        for value in values:
            self._look_up(name, value, options)
        return values

    def widths(self, name: str) -> tuple[int, ...]:
        values = self.value(name)
        if not isinstance(values, tuple | list) or not all(type(v) is int and v > 0 for v in values):
            raise self.error(name, "must be a tuple of positive layer widths")
        return tuple(values)

    def _look_up(self, name: str, value: Any, options: Mapping[str, Any]) -> Any:
        if value not in options:
            near = difflib.get_close_matches(str(value), options, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise self.error(name, f"unknown; there are {', '.join(options)}{hint}")
        return options[value]
