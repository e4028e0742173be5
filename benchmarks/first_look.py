"""How long a person waits: for the first line of a run and its progress, for a comparison, for an index.

    python benchmarks/first_look.py [--run=DIR] [--rounds=5]

--run is a finished run, of which copies with altered seeds and numbers are compared and listed; the smoke of
the demo if not given. `make demo` is started on a terminal and ended as soon as it has said that it starts,
and again until it has counted a step. The page is opened and filtered in Chromium, where there is one. Prints
one JSON line: seconds and bytes.
"""

import argparse
import contextlib
import json
import os
import platform
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SAYS = "startingJAX"  # without its spaces, as the two below
COMPILED = r"FinishedXLAcompilationofjit\(train_chunk\)"
COUNTED = r"━[1-9]\d*/3000"
NUM_COMPARED, NUM_LISTED = 20, 500
LATE = 60.0
# In the page itself: words typed into its field, and a click on the head of a column of numbers.
FRAME = """<!doctype html><iframe src="index.html" width="1200" height="800"></iframe><script>
onload = () => {
  const page = document.querySelector("iframe").contentDocument, field = page.querySelector("input");
  const began = performance.now();
  field.value = "seed 499";
  field.dispatchEvent(new Event("input"));
  page.documentElement.getBoundingClientRect();
  const filtered = performance.now() - began;
  page.querySelectorAll("thead button")[4].click();
  page.documentElement.getBoundingClientRect();
  const sorted = performance.now() - began - filtered;
  const rows = page.querySelector("output").textContent;
  document.title = JSON.stringify({filter: filtered, sort: sorted, rows: rows});
};</script>"""


def seen(workdir: Path, *patterns: str, **env: str) -> list[float]:
    """Seconds from the start of `make demo` on a terminal until each pattern is there, one after the other.

    What is written is searched without what colours it, and without spaces, as lines are cut to a width.
    """
    master, slave = pty.openpty()
    began = time.perf_counter()
    process = subprocess.Popen(
        ["make", "demo", f"WORKDIR={workdir}"],
        cwd=ROOT,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, **env},
    )
    os.close(slave)
    written, at, times = b"", 0, []
    try:
        while len(times) < len(patterns):
            try:
                part = os.read(master, 65536)
            except OSError:  # of a terminal that nobody writes to any more
                part = b""
            now = time.perf_counter() - began
            written += part
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\s", "", written.decode(errors="replace"))
            while len(times) < len(patterns) and (match := re.compile(patterns[len(times)]).search(text, at)):
                at = match.end()
                times.append(now)
            if len(times) < len(patterns) and (not part or now > LATE):
                raise SystemExit(f"make demo has not written {patterns[len(times)]!r}: {text[-300:]}")
        return times
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(master)


def first_line(workdir: Path) -> dict[str, float]:
    """Seconds from the start of `make demo` on a terminal to its first letter, and to the line of the run."""
    letter, line = seen(workdir, ".", SAYS)
    return {"letter": letter, "line": line}


def first_progress(workdir: Path) -> float:
    """Seconds from when JAX says that the training is compiled to the first count of steps above 0."""
    compiled, counted = seen(workdir, COMPILED, COUNTED, JAX_LOG_COMPILES="1")
    return counted - compiled


def copies(run: Path, folder: Path, count: int) -> list[Path]:
    """Copies of what comparing and listing read of a run, each with another seed and other numbers."""
    config, gap = (json.loads((run / name).read_text()) for name in ("config.json", "gap.json"))
    arrays = dict(np.load(run / "per_datapoint.npz"))
    made = []
    for seed in range(count):
        directory = folder / f"seed={seed:03d}"
        directory.mkdir(parents=True)
        noise = 0.01 * np.random.default_rng(seed).normal()
        altered = {n: a + noise if n.endswith("elbo_amortized") else a for n, a in arrays.items()}
        np.savez_compressed(directory / "per_datapoint.npz", **altered)
        rows = [{**row, "elbo_amortized": shifted(row["elbo_amortized"], noise)} for row in gap["rows"]]
        (directory / "config.json").write_text(json.dumps({**config, "seed": seed}))
        (directory / "gap.json").write_text(json.dumps({**gap, "rows": rows}))
        (directory / "report.html").write_text("<!doctype html>")
        made.append(directory)
    return made


def shifted(statistic: dict[str, float] | None, by: float) -> dict[str, float] | None:
    return statistic and {**statistic, "mean": statistic["mean"] + by}


def seconds_of(*command: str | Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


def browsed(folder: Path) -> Iterator[tuple[str, object]]:
    """Seconds of a browser with the page and with an empty one, milliseconds of a filter and of a sort."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        return
    (folder / "frame.html").write_text(FRAME)
    (folder / "empty.html").write_text("<!doctype html>")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    for name in ("empty", "frame"):
        command = [browser, *options, f"--user-data-dir={folder}/profile", "--virtual-time-budget=20000"]
        began = time.perf_counter()
        done = subprocess.run(
            [*command, "--dump-dom", (folder / f"{name}.html").as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        yield f"{name}_seconds", time.perf_counter() - began
    yield "milliseconds", json.loads(done.stdout.partition("<title>")[2].partition("</title>")[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = arguments.run or folder / "run"
        if arguments.run is None:
            seconds_of("launch.py", "--config=digits_gap:smoke", f"--workdir={run}", "--quiet")
        rounds = range(arguments.rounds)
        first = [first_line(folder / f"demo{number}") for number in rounds]
        progress = [first_progress(folder / f"progress{number}") for number in rounds]
        compared = copies(run, folder / "compared", NUM_COMPARED)
        comparing = [seconds_of("-m", "vaelab.compare", *compared) for _ in rounds]
        copies(run, folder / "listed", NUM_LISTED)
        call = "import sys; from vaelab.command import main; sys.exit(main(sys.argv[1:]))"
        indexing = [seconds_of("-c", call, "index", folder / "listed") for _ in rounds]
        page = folder / "listed" / "index.html"
        result = {
            "benchmark": "first_look",
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load": os.getloadavg()[0],
            "seconds_to_first_letter": spread([each["letter"] for each in first]),
            "seconds_to_first_line": spread([each["line"] for each in first]),
            "seconds_from_compiled_to_progress": spread(progress),
            f"seconds_to_compare_{NUM_COMPARED}": spread(comparing),
            f"seconds_to_index_{NUM_LISTED}": spread(indexing),
            "bytes_of_index": page.stat().st_size,
            "browser": dict(browsed(folder / "listed")),
        }
    print(json.dumps(result))


def spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "least": min(values), "most": max(values)}


if __name__ == "__main__":
    main()
