"""What a run logs: lines of JSON as it trains, and the same and its results for trackers, TensorBoard first.

    DIR/metrics.jsonl           a line for each chunk of steps, with its stage
    DIR/tensorboard/STAGE/      the lines of that stage as scalars
    DIR/tensorboard/results/    the gaps with their errors, and the plots

Each launch writes new event files. Each stage has its folder, as TensorBoard drops what a resumed run has
made void by its step alone, in all of a folder. Events are appended here, as the lines are: the queue of
tensorboardX's writer would be lost with a run that is killed, and its lines would not.
"""

import json
import struct
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from vaelab.report.quantities import MEASURED
from vaelab.report.trackers import Trackers
from vaelab.runtime.directory import write_whole
from vaelab.runtime.processes import is_first, of_first


class MetricsLog:
    """The log of one stage, which goes on from the step `start`: lines beyond it are dropped.

    tensorboard: whether there are events too. trackers, before: those that are told of the same, and the
    steps of the stages before.
    """

    def __init__(
        self,
        directory: Path,
        stage: str,
        start: int,
        *,
        tensorboard: bool = True,
        trackers: Trackers | None = None,
        before: int = 0,
    ):
        self._path, self._stage, self._start = directory / "metrics.jsonl", stage, start
        self._folder = directory / "tensorboard" / stage if tensorboard else None
        self._trackers, self._before = trackers, before
        self._events: Path | None = None
        of_first(self._forget)

    def _forget(self) -> None:
        """Drops what an interrupted run wrote beyond the step that it resumes from, or half wrote."""
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue  # the line a killed run was writing
            if row["stage"] != self._stage or row["step"] <= self._start:
                kept.append(line + "\n")
                self._send(row)
        write_whole(self._path, "".join(kept).encode())

    def write(self, step: int, **values: float) -> None:
        if not is_first():
            return
        row = {"stage": self._stage, "step": step, **values}
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self._send(row)
        if self._folder is None:
            return
        if self._events is None:
            self._events = _open(self._folder, first_step=self._start + 1)
        _append(self._events, step=step, summary={"value": _scalars(values)})

    def _send(self, row: dict[str, Any]) -> None:
        if self._trackers is not None and row["stage"] == self._stage:
            values = {name: value for name, value in row.items() if name not in ("stage", "step")}
            self._trackers.write(self._stage, row["step"], values, total=self._before + row["step"])


def statistics(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The numbers of the rows of `gap.json`: SPLIT/FAMILY/QUANTITY, and with _stderr their errors."""
    return {
        f"{row['split']}/{row['family']}/{name}{suffix}": row[name][part]
        for row in rows
        for name in MEASURED
        if row[name] is not None
        for suffix, part in (("", "mean"), ("_stderr", "stderr"))
    }


def log_results(directory: Path, rows: list[dict[str, Any]], *, step: int) -> None:
    """The statistics of the rows of `gap.json`, and every plot in the run's directory, for TensorBoard."""
    images = [{"tag": path.stem, "image": _image(path)} for path in sorted(directory.glob("*.png"))]
    # The results of a run that was killed before it was marked as finished are void.
    events = _open(directory / "tensorboard" / "results", first_step=0)
    _append(events, step=step, summary={"value": _scalars(statistics(rows)) + images})


def _scalars(values: Mapping[str, float]) -> list[dict[str, Any]]:
    return [{"tag": name, "simple_value": value} for name, value in values.items()]


def _image(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    return {"width": width, "height": height, "colorspace": 4, "encoded_image_string": content}


def _open(folder: Path, *, first_step: int) -> Path:
    """A new file of events, after which the steps from first_step on of the earlier files are void."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{len(list(folder.iterdir())):06d}"  # read in the order of the names
    _append(path, file_version="brain.Event:2")
    _append(path, step=first_step, session_log={"status": 1})  # START
    return path


def _append(path: Path, **event: Any) -> None:
    """The event as a TFRecord: its length and its bytes, a checksum after each."""
    tensorboardx = _tensorboardx()
    checksum = tensorboardx.record_writer.masked_crc32c
    content = tensorboardx.proto.event_pb2.Event(wall_time=time.time(), **event).SerializeToString()
    parts = struct.pack("<Q", len(content)), content
    with path.open("ab") as file:
        file.write(b"".join(part + struct.pack("<I", checksum(part)) for part in parts))


def _tensorboardx() -> ModuleType:
    """Imports it without PyTorch, which it would import where that is installed: two seconds for nothing."""
    hidden = {} if "torch" in sys.modules else {"torch": None}
    sys.modules.update(hidden)
    try:
        import tensorboardX
        import tensorboardX.proto.event_pb2
    finally:
        for name in hidden:
            del sys.modules[name]
    return tensorboardX
