"""Trackers beside TensorBoard: a run is one run of Weights & Biases, and of MLflow, however often it goes on.

    DIR/trackers.json    the id of the run in each tracker, and the last step of each stage that it was sent

A step is sent once: what a run that goes on computes anew it had sent before. What a tracker was not sent, as
it had failed, or may have lost, as the run was killed, it is sent when the run goes on. A tracker that fails
says so in one line and is sent nothing more by this launch; the run never ends by it.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vaelab.report import mlflow, wandb
from vaelab.report.tracked import About, Results, Sink
from vaelab.runtime.directory import write_whole

FILE = "trackers.json"


class Tracker(NamedTuple):
    """One of the packages.

    place() -> str                     where its runs are kept, as an id is good for one; "" is by default
    begin(about, id, parent) -> Sink   the run of this id, a new one for None; parent: the id of its sweep
    """

    place: Callable[[], str]
    begin: Callable[[About, str | None, str | None], Sink]


TRACKERS: Mapping[str, Tracker] = {
    "wandb": Tracker(wandb.place, wandb.begin),
    "mlflow": Tracker(mlflow.place, mlflow.begin),
}
NAMES = ("tensorboard", *TRACKERS)


class Trackers:
    """The trackers of one run, or of a sweep, from here to `close`.

    names: of NAMES; say: prints one line; sweep: those of the sweep that the run is of. What has failed for
    one run of a sweep is sent nothing more of any.
    """

    def __init__(
        self,
        about: About,
        names: tuple[str, ...],
        say: Callable[[str], None],
        *,
        sweep: "Trackers | None" = None,
    ):
        self._about, self._say = about, say
        self._kept = _read(about.directory)
        self._sinks: dict[str, Sink] = {}
        self._sent: dict[str, dict[str, int]] = {}
        self._unsure: dict[str, deque[tuple[float, str, int]]] = {}  # what a kill would undo
        self._failed: set[str] = set() if sweep is None else sweep._failed
        for name in names:
            if name in TRACKERS:
                self._try(name, lambda name=name: self._begin(name, sweep))

    @property
    def directory(self) -> Path:
        return self._about.directory

    def _begin(self, name: str, sweep: "Trackers | None") -> None:
        tracker = TRACKERS[name]
        key = " ".join(filter(None, (name, tracker.place())))
        known = self._kept.get(key, {}).get("id")
        parent = None if sweep is None else sweep._kept.get(key, {}).get("id")
        sink = tracker.begin(self._about, known, parent)
        self._sinks[key] = sink
        if known != sink.id:
            self._kept[key] = {"id": sink.id, "sent": {}}
            self._keep()
        self._sent[key], self._unsure[key] = dict(self._kept[key]["sent"]), deque()

    def write(self, stage: str, step: int, values: Mapping[str, float], *, total: int) -> None:
        """Sends the values of a step of a stage, where they were not; total: the step over all stages."""
        for key, sink in list(self._sinks.items()):
            if step <= self._sent[key].get(stage, 0):
                continue
            self._try(key, lambda sink=sink: sink.write(stage, step, total, values))
            if key in self._sinks:
                self._sent[key][stage] = step
                self._unsure[key].append((time.monotonic(), stage, step))
                self._settle(key, sink.delay)

    def finish(self, results: Results) -> None:
        """Sends what was measured; the run then is one that came to its end."""
        for key, sink in list(self._sinks.items()):
            self._try(key, lambda sink=sink: sink.finish(results))

    def close(self) -> None:
        for key, sink in list(self._sinks.items()):
            self._try(key, sink.close)
            if key in self._sinks:
                self._settle(key, 0.0)
        self._sinks.clear()

    def _settle(self, key: str, delay: float) -> None:
        """Keeps on the disk what was sent `delay` seconds ago."""
        unsure, now = self._unsure[key], time.monotonic()
        while unsure and unsure[0][0] <= now - delay:
            _, stage, step = unsure.popleft()
            self._kept[key]["sent"][stage] = step
        self._keep()

    def _try(self, key: str, act: Callable[[], None]) -> None:
        name = key.partition(" ")[0]
        if name in self._failed:
            self._sinks.pop(key, None)
            return
        try:
            act()
        except Exception as error:  # of whatever package: no run ends by it
            self._sinks.pop(key, None)
            self._failed.add(name)
            what = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
            if isinstance(error, ModuleNotFoundError) and error.name == name:
                what = f"it is not installed: pip install {name}"
            self._say(f"nothing more of {self._about.name} is sent to {name} ({what})")

    def _keep(self) -> None:
        write_whole(self._about.directory / FILE, (json.dumps(self._kept, indent=2) + "\n").encode())


def _read(directory: Path) -> dict[str, Any]:
    """What is kept in trackers.json; nothing where there is none that can be read."""
    try:
        return json.loads((directory / FILE).read_text())
    except (OSError, ValueError):
        return {}
