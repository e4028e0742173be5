"""One table of quantities: what is measured is in it, and all tables of the report have its titles."""

import io

import numpy as np
import pytest
from rich.console import Console

from vaelab import report
from vaelab.measure.gap import Gap, summarize
from vaelab.report import quantities, sweep
from vaelab.report.page.run import write_page

STATISTIC = {"mean": -1.0, "stderr": 0.1}
COUNTS = ("num_points", "certificate", "num_unconverged", "num_negative", "decoder_evaluations_per_point")


def row(names):
    about = {"split": "test", "family": "full", "amortized_by": "encoder", "settings": {}, "num_seeds": 1}
    evidence = {**STATISTIC, "bias": "lower", report.HEAVY_TAILED: 0}
    return {**dict.fromkeys(names, STATISTIC), "log_evidence": evidence, **dict.fromkeys(COUNTS, 0), **about}


def printed(table):
    console = Console(width=300, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_all_that_is_measured_has_a_title():
    assert set(summarize(Gap(*np.ones((3, 5))))) == set(report.MEASURED)


@pytest.mark.parametrize(
    ("table", "titles"),
    [(report.gap_table, quantities.MEASURED), (sweep.table, quantities.SWEPT)],
    ids=["a run", "a sweep"],
)
def test_a_table_shows_each_title_once_and_as_it_is(table, titles):
    """The brackets of L[q] are Rich's markup too."""
    text = printed(table([row(titles)]))
    assert all(text.count(title) == 1 for title in titles.values())


def test_the_page_shows_each_title(tmp_path):
    write_page(tmp_path / "page.html", title="", rows=[row(report.MEASURED)], per_datapoint={})
    page = (tmp_path / "page.html").read_text()
    for title in quantities.HTML.values():
        assert f'<th scope="col">{title}</th>' in page
        assert f"<dt>{title}</dt>" in page


def test_runs_are_compared_in_what_each_of_them_and_a_sweep_shows():
    assert set(quantities.COMPARED) == set(quantities.MEASURED) & set(quantities.SWEPT)
    assert "inference_gap" not in quantities.COMPARED
