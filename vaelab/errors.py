"""Errors about a setting, each one line, and the version; nothing is imported for them but Python."""

import difflib
from collections.abc import Iterable
from typing import Any, Self

VERSION = "0.1.0"


class SettingError(ValueError):
    """Says in one line what cannot be done of what the user asked for, and the fix.

    Where the line is about one setting its parts are here too, for an edge to say it in words of its own:

    setting    its dotted name, as train.num_steps; None where the line is about none
    value      what it is; ... where it has none
    problem    what is wrong with it
    fix        what to do, where the problem does not say so itself
    """

    def __init__(
        self, message: str, *, setting: str | None = None, value: Any = ..., problem: str = "", fix: str = ""
    ):
        super().__init__(message)  # alone in `args`: a pickle calls the class with these, and sets the rest
        self.setting, self.value, self.problem, self.fix = setting, value, problem, fix

    @classmethod
    def of(cls, *, setting: str, value: Any = ..., problem: str, fix: str = "") -> Self:
        """An error about a setting; its text is in the words of the command line."""
        error = cls("", setting=setting, value=value, problem=problem, fix=fix)
        error.args = (error.said("--config."),)
        return error

    def said(self, prefix: str) -> str:
        """The line with `prefix` before the setting's name; the message where it is about no setting."""
        if self.setting is None:
            return str(self)
        value = "" if self.value is ... else f"={self.value!r}"
        return f"{prefix}{self.setting}{value}: {self.fault()}"

    def fault(self) -> str:
        """What is wrong with the setting, and the fix."""
        return "; ".join(filter(None, (self.problem, self.fix)))


class ConfigError(SettingError):
    """What a config, or what else a user asks for, cannot be."""


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Asks "did you mean 'NAME'?" of the nearest option; says nothing where none is near."""
    near = difflib.get_close_matches(name, list(options), n=1)
    return f"did you mean {near[0]!r}?" if near else ""
