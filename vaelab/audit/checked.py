"""What was looked at before an audit measures anything, and what could not be: `Checked`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import Console


class Check(NamedTuple):
    """A check that was passed: its name, what was looked at, and what it showed."""

    name: str
    looked_at: str
    result: str


class NotChecked(NamedTuple):
    """A check that what was given leaves no room for, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """The checks that an audit of the same arguments begins with; all were passed, or there is none of this.

    checks: (name, what was looked at, what it showed) of each, in the order in which they were made.
    could_not: (name, why) of each that could not be made with what was given.

    `str` of it is one line each.
    """

    checks: list[Check]
    could_not: list[NotChecked]

    @classmethod
    def of(cls, lines: Iterable[Check | NotChecked]) -> "Checked":
        """The record of these lines, which are in the order in which they were written."""
        lines = list(lines)
        return cls(
            [line for line in lines if isinstance(line, Check)],
            [line for line in lines if isinstance(line, NotChecked)],
        )

    def __str__(self) -> str:
        cells = [*self.checks, *((name, "not checked", reason) for name, reason in self.could_not)]
        first, second = (max((len(cell[column]) for cell in cells), default=0) for column in (0, 1))
        return "\n".join(f"{name:<{first}}  {at:<{second}}  {said}" for name, at, said in cells)

    def table(self, console: Console | None = None) -> None:
        """Prints one line for each check, and for each that could not be made."""
        (console or Console()).print(str(self), highlight=False, markup=False, soft_wrap=True)
