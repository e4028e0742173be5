"""Tables of every kind at the widths of terminals: no line is longer, and no number is cut or lost."""

import io

import pytest
from rich.console import Console

from tests.report.test_compare import ROWS as COMPARED
from tests.report.test_sweep import swept
from tests.support.page import given
from vaelab.report import compare, gap_table, plain_table, sweep
from vaelab.report.fitted import FittedTable


def rows_of_a_run():
    rows = given(families=("diagonal", "full", "low_rank", "householder"))["rows"]
    counts = {"num_unconverged": 1234, "certificate": "estimate", "num_negative": 0}
    return [row | counts | {"decoder_evaluations_per_point": 123456} for row in rows]


def points():
    settings = {"encoder.hidden": "(200, 200)", "model.latent_dim": "50", "train.num_steps": "1000000"}
    changed = settings | {"encoder.hidden": "none", "model.latent_dim": "2", "train.num_steps": "5"}
    return [swept(settings=settings), swept(settings=changed, family="householder")]


TABLES = {
    "run": lambda: gap_table(rows_of_a_run(), smoke=True),
    "sweep": lambda: sweep.table(points()),
    "comparison": lambda: compare.table(COMPARED),
    "plain": lambda: plain_table(
        "counts", [{"a name": n, "seconds": n / 3, "steps": 10**n} for n in range(6)]
    ),
}


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [45, 60, 80, 100, 120, 300])
@pytest.mark.parametrize("name", TABLES)
def test_every_number_is_whole_at_every_width(name, width):
    table = TABLES[name]()
    text = printed(table, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for column in table.columns[table.keys :]:
        for cell in column.cells:
            assert text.count(str(cell).replace(r"\[", "[")) >= 1, cell
    words = text.split()
    for column in table.columns:
        assert all(word in words for word in str(column.header).replace(r"\[", "[").split())


def test_what_fits_is_one_block_and_what_does_not_repeats_the_keys():
    table = FittedTable(title="a title", caption="a caption")
    for name in ("key", "first", "second"):
        table.add_column(name)
    table.add_row("a", "1" * 20, "2" * 20)
    for width, blocks in ((60, 1), (40, 2)):
        text = printed(table, width)
        assert text.split().count("key") == blocks
        assert text.count("a title") == text.count("a caption") == 1
        assert text.index("a title") < text.index("1" * 20) < text.index("2" * 20) < text.index("a caption")


def test_without_room_beside_the_keys_a_row_is_a_list():
    table = FittedTable(keys=2, caption="a caption")
    for name in ("first", "second", "value"):
        table.add_column(name)
    table.add_row("a" * 15, "b" * 15, "1.234 ± 0.012")
    lines = printed(table, 40).splitlines()
    assert " ".join(" ".join(lines[1:3]).split()) == "first " + "a" * 15 + ", second " + "b" * 15
    assert lines[3] == "  value" + 17 * " " + "1.234 ± 0.012"
