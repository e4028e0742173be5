"""A browser shows all of the page, on a phone too, and loads nothing else."""

import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from tests.report.page.test_sweep import ALONG, OVER_TWO
from tests.report.test_compare import ROWS
from tests.support.page import given
from tests.support.rows import run_row
from vaelab.report.page.comparison import write_comparison
from vaelab.report.page.index import Entry, write_index
from vaelab.report.page.run import write_page
from vaelab.report.page.sweep import write_sweep_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HEADLESS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture
def served(tmp_path):
    """The address of a folder, and every path that was asked of it."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, code="-", size="-"):
            asked.append((self.path, int(code)))

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def browse(profile, address, *arguments):
    command = [
        CHROMIUM,
        *HEADLESS,
        f"--user-data-dir={profile}",
        "--enable-logging=stderr",
        *arguments,
        address,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


# The width is that of the frame: a window of headless Chromium has 500 pixels at least. Counted beside: boxes
# of tables whose cells are out of sight, and words of a drawing that one of its bars or lines lies on.
FRAME = """<!doctype html><iframe src="report.html" width="360" height="800"></iframe><script>
onload = () => {
  const page = document.querySelector("iframe").contentDocument;
  page.querySelectorAll("details").forEach((one) => (one.open = true));
  const broken = [...page.images].filter((image) => !image.naturalWidth).length;
  const sizes = [page.documentElement.scrollWidth, page.documentElement.clientWidth];
  const hidden = [...page.querySelectorAll(".cards, caption span")].filter(
    (one) => one.scrollWidth > one.clientWidth + 1 || one.getBoundingClientRect().right > 360).length;
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const crossed = [...page.querySelectorAll(".plot")].flatMap((plot) => {
    const shapes = plot.querySelectorAll("rect, line.grid, line.zero");
    const drawn = [...shapes].map((one) => one.getBoundingClientRect());
    return [...plot.querySelectorAll("text:not(.mark)")].filter((text) => {
      const {left, right, top, bottom} = text.getBoundingClientRect();
      return drawn.some((one) => meet({left, right, top: top + 3, bottom: bottom - 3}, one));
    }).map((text) => text.textContent);
  });
  document.body.textContent = `wide ${sizes}; images ${page.images.length}, broken ${broken};` +
    ` hidden ${hidden}; crossed ${crossed.length} ${crossed.slice(0, 5)}.`;
};</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_loads_all_of_it_on_a_phone_and_in_both_lights(tmp_path, served):
    address, asked = served
    arguments = given(families=("diagonal", "a_family_with_a_name_longer_than_any_line_of_a_phone"))
    arguments |= {"title": "runs/" + "x" * 90, "command": "python " + "y" * 300, "notes": ["z" * 200]}
    write_page(tmp_path / "report.html", **arguments)
    (tmp_path / "frame.html").write_text(FRAME)
    seen = browse(tmp_path / "profile", f"{address}/frame.html", "--dump-dom")
    wide = re.search(r"wide (\d+),(\d+); images 32, broken 0; hidden 0; crossed 0 \.", seen.stdout)
    assert wide, seen.stdout[-500:]
    assert int(wide[1]) <= int(wide[2]) <= 360
    assert "CONSOLE" not in seen.stderr  # an error, or what the page's own policy refused
    brightness = {}
    for light, flags in (("light", ()), ("dark", ("--force-dark-mode",))):
        path = tmp_path / f"{light}.png"
        where = (f"--screenshot={path}", "--window-size=1200,900", *flags)
        browse(tmp_path / light, f"{address}/report.html", *where)
        pixels = np.asarray(Image.open(path).convert("L"), float) / 255
        assert pixels.std() > 0.05  # something is drawn
        brightness[light] = np.median(pixels)
    assert brightness["light"] > 0.9
    assert brightness["dark"] < 0.2
    assert [(path, code) for path, code in asked if path != "/favicon.ico"] == [
        ("/frame.html", 200), ("/report.html", 200), ("/report.html", 200), ("/report.html", 200)
    ]  # fmt: skip


LONG = "a-name-of-a-run/" + "x" * 60
OTHERS = {
    "sweep along one": lambda path: write_sweep_page(
        path, title=LONG, rows=ALONG, command="python " + "y" * 99
    ),
    "sweep over two": lambda path: write_sweep_page(path, title="s", rows=OVER_TWO, smoke=True),
    "comparison": lambda path: write_comparison(path, rows=ROWS, about={"better": "z" * 200}),
    "index": lambda path: write_index(
        path, [Entry(f"{LONG}{n}", "run", "", [run_row("test", -float(n))]) for n in (3, 1, 2)], title=LONG
    ),
}


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("name", OTHERS)
def test_the_other_pages_fit_a_phone_and_load_nothing(name, tmp_path, served):
    address, asked = served
    OTHERS[name](tmp_path / "report.html")
    (tmp_path / "frame.html").write_text(FRAME)
    seen = browse(tmp_path / "profile", f"{address}/frame.html", "--dump-dom")
    wide = re.search(r"wide (\d+),(\d+); images 0, broken 0; hidden 0; crossed 0 \.", seen.stdout)
    assert wide, seen.stdout[-500:]
    assert int(wide[1]) <= int(wide[2]) <= 360
    assert "CONSOLE" not in seen.stderr
    assert [path for path, _ in asked if path != "/favicon.ico"] == ["/frame.html", "/report.html"]


SORTED = """<!doctype html><iframe src="report.html" width="900" height="800"></iframe><script>
onload = () => {
  const page = document.querySelector("iframe").contentDocument;
  const press = () => [...page.querySelectorAll("thead button")][7].click();
  const seen = () => [...page.querySelectorAll("tbody tr:not([hidden]) th")];
  const names = () => seen().map((one) => one.textContent.slice(-1)).join("");
  press();
  const up = names();
  press();
  const down = names();
  const field = page.querySelector("input");
  field.value = "x2";
  field.dispatchEvent(new Event("input"));
  const count = page.querySelector("output").textContent;
  document.body.textContent = `up ${up} down ${down} left ${names()}: ${count}`;
};</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_index_sorts_by_numbers_and_filters_by_words(tmp_path, served):
    address, _ = served
    OTHERS["index"](tmp_path / "report.html")
    (tmp_path / "sorted.html").write_text(SORTED)
    seen = browse(tmp_path / "profile", f"{address}/sorted.html", "--dump-dom")
    assert "up 321 down 123 left 2: 1 of 3 rows" in seen.stdout, seen.stdout[-500:]
