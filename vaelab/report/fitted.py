"""Tables that lose no number to a narrow terminal."""

from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

WIDEST_KEY = 36  # letters, of a column that tells the rows apart; what is longer is folded
PADDING = 3  # beside each column
EDGES = 1  # of a block
LIST = 22  # letters of a title before its value, where a row is a list


class FittedTable(Table):
    """A table in as many blocks, one below the other, as the width of the console asks for.

    The first `keys` columns tell the rows apart and stand in every block. The cells of the others are in one
    line, never cut. Where even one of them is too wide beside the keys each row is a list of its own.
    """

    def __init__(self, *, keys: int = 1, **settings: Any):
        super().__init__(box=SIMPLE_HEAD, **settings)
        self.keys = keys

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        room = options.max_width - EDGES
        widths, blocks = [], None
        for full in (True, False):  # headings in one line where all then fits beside each other
            widths = [
                _width(console, options, column, key=place < self.keys, full=full)
                for place, column in enumerate(self.columns)
            ]
            blocks = _blocks(widths, self.keys, room)
            if blocks is not None and len(blocks) == 1:
                break
        if blocks is None:
            yield from self._as_lists()
            return
        for number, places in enumerate(blocks):
            yield self._block(places, widths, first=number == 0, last=number == len(blocks) - 1)

    def _block(self, places: list[int], widths: list[int], *, first: bool, last: bool) -> Table:
        block = Table(
            box=SIMPLE_HEAD,
            title=self.title if first else None,
            title_justify=self.title_justify,
            caption=self.caption if last else None,
            caption_justify=self.caption_justify,
        )
        for place in places:
            column = self.columns[place]
            block.add_column(column.header, justify=column.justify, width=widths[place], overflow="fold")
        cells = [list(self.columns[place].cells) for place in places]
        for row in zip(*cells, strict=True):
            block.add_row(*row)
        return block

    def _as_lists(self) -> Iterator[RenderableType]:
        if self.title:
            yield Text.from_markup(str(self.title))
        cells = zip(*(list(column.cells) for column in self.columns), strict=True)
        for row in cells:
            keys = zip(self.columns[: self.keys], row[: self.keys], strict=True)
            told = ", ".join(f"{column.header} {cell}".strip() for column, cell in keys)
            yield Text.from_markup(f"\n{told}", style="bold")
            for column, cell in zip(self.columns[self.keys :], row[self.keys :], strict=True):
                line = Text.from_markup(f"  {column.header}")
                line.align("left", max(line.cell_len, LIST))
                yield line + Text.from_markup(f"  {cell}")
        if self.caption:
            yield Text.from_markup(f"\n{self.caption}", style="italic")


def _width(console: Console, options: ConsoleOptions, column: Column, *, key: bool, full: bool) -> int:
    """The letters that a column needs: for its longest cell, and its heading, full or by its longest word."""
    cells = [Measurement.get(console, options, cell).maximum for cell in column.cells]
    header = Measurement.get(console, options, column.header)
    width = max([*cells, header.maximum if full else header.minimum, 1])
    return min(width, WIDEST_KEY) if key else width


def _blocks(widths: list[int], keys: int, room: int) -> list[list[int]] | None:
    """The places of the columns of each block, keys first; None where a column does not fit beside them."""
    fixed = sum(width + PADDING for width in widths[:keys])
    blocks, used = [], room + 1
    for place in range(keys, len(widths)):
        width = widths[place] + PADDING
        if fixed + width > room:
            return None
        if used + width > room:
            blocks.append(list(range(keys)))
            used = fixed
        blocks[-1].append(place)
        used += width
    return blocks
