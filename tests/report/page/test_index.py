"""The page over a folder of runs: a line for each row, links that open, no script but its own."""

import base64
import hashlib

from tests.support.page import HOSTILE, Page
from tests.support.rows import run_row
from vaelab.report.page.index import SCRIPT, Entry, write_index


def test_every_row_is_a_line_with_its_numbers_and_the_link_of_its_run(tmp_path):
    entries = [
        Entry("a/b c", "run", "name digits, seed 0", [run_row("test", -20.0), run_row("train", -19.0)]),
        Entry("s", "sweep", "", [run_row("test", -21.0) | {"settings": {"x.dim": "3"}}], smoke=True),
        Entry(HOSTILE, "audit", "", [], page=False),
    ]
    write_index(tmp_path / "index.html", entries, title="runs")
    page = Page(tmp_path / "index.html")
    assert "1 run, 1 sweep, 1 audit." in page.text
    links = [attrs["href"] for _, attrs, _ in page.all("a") if "report.html" in attrs.get("href", "")]
    assert links == ["a/b%20c/report.html"] * 2 + ["s/report.html"]
    assert "dim=3; smoke" in page.text
    assert [attrs["data-v"] for _, attrs, _ in page.all("td") if attrs.get("data-v", "").startswith("-2")]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    (policy,) = (a["content"] for _, a, _ in page.all("meta") if a.get("http-equiv"))
    assert f"script-src 'sha256-{digest}'" in policy
    assert len(page.all("script")) == 1  # what is hostile in a name has become none


def test_five_hundred_runs_take_less_than_two_megabytes(tmp_path):
    rows = [run_row(split, -20.0) for split in ("train", "test") for _ in range(2)]
    entries = [Entry(f"runs/{n:04d}", "run", "name digits, latent_dim 10", rows) for n in range(500)]
    write_index(tmp_path / "index.html", entries, title="runs")
    assert (tmp_path / "index.html").stat().st_size < 2_000_000
