"""The progress of a stage: a bar on a terminal, a line at its end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text


class _Told(ProgressColumn):
    """A column with what a function says of the task, cut where the terminal is narrow."""

    def __init__(self, tell: Callable[[Task], str], column: Column | None = None):
        super().__init__(column)
        self._tell = tell

    def render(self, task: Task) -> Text:
        return Text(self._tell(task), no_wrap=True, overflow="ellipsis")


def _rate(task: Task) -> str:
    """Units a second since the first advance: what comes before it is compilation for the most part."""
    speed = task.finished_speed or task.speed
    if speed is None:
        return ""
    decimals = 0 if speed >= 100 else 1 if speed >= 10 else 2
    return f"{speed:,.{decimals}f} {task.fields['unit']}/s"


FIRST = "compiling"  # what a stage does before its first advance, for the most part
RATE_OVER_SECONDS = 300  # a chunk may take a minute, and a rate needs two


@contextmanager
def progress_bar(
    console: Console,
    stage: str,
    total: int,
    unit: str,
    *,
    done: int = 0,
    reached: Callable[[], int] | None = None,
) -> Iterator[Callable[..., None]]:
    """Yields advance(count, **note): on a terminal a bar with the rate and the time left; a line at the end.

    done: the part of the total that was done before. reached: asked at the end for how far it came, where
    that may be less than the total.
    """
    whole = Column(no_wrap=True)
    columns = (
        TextColumn("{task.description:<26}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(table_column=whole),
        _Told(_rate, whole),
        TimeElapsedColumn(whole),
        TimeRemainingColumn(table_column=whole),
        _Told(lambda task: task.fields["note"]),
    )
    bar = Progress(
        *columns,
        console=console,
        transient=True,
        disable=console.quiet or not console.is_terminal,
        speed_estimate_period=RATE_OVER_SECONDS,
    )
    with bar:
        task = bar.add_task(stage, total=total, completed=done, unit=unit, note=FIRST)
        notes: dict[str, float] = {}

        def advance(count: int, **values: float) -> None:
            notes.update(values)
            bar.update(task, advance=count, note=_note(notes))

        yield advance
        elapsed = bar.tasks[0].elapsed or 0.0
    count = total if reached is None else reached()
    console.print(f"{stage:<26} {count} {unit} in {elapsed:.1f} s  {_note(notes)}".rstrip(), highlight=False)


def _note(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in values.items())
