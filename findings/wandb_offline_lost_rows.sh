#!/usr/bin/env bash
# W&B offline: a run that is ended by SIGTERM and resumed lacks the last seconds of rows, here all of its first launch
#
# Expected: `run.log` hands each row to a service that is a process of its own, and the point of an offline run is its
#   file: what was logged before the script was ended is in it, as a line of a log file would be. `resume="allow"` with
#   the same id then has the whole history.
# Seen: the service holds the rows in a buffer that it writes every 15 seconds, or once it is full, and drops what is in
#   it when the script goes without `finish`: by SIGTERM, as schedulers end a job, by SIGKILL, by `os._exit`. Of 40 rows
#   in 8 seconds none is in the file, which has 7 bytes; no warning then, nor when the run is resumed. The history that
#   is there begins at row 41.
# Versions: wandb 0.31.0. In 0.21.4, before the 15 seconds, all of 100 rows were lost 40 seconds after the last.
# Instead: handle SIGTERM and call `run.finish()`; and `wandb.Settings(x_transaction_log_flush_interval=1)`, which
#   leaves a second of rows at stake.
# Output:
#   wandb 0.31.0
#   finish: 40 of 40 rows are in the file
#   SIGTERM: 0 of 40 rows are in the file
#   SIGTERM, then resumed for rows 41 to 60: 20 of 60 rows are in the files, the first is 41
#   os._exit: 0 of 40 rows are in the file
#   SIGTERM, handled by finish: 40 of 40 rows are in the file
#   SIGTERM, written every second: at least 30 of 40 rows are in the file
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet wandb==0.31.0

cat > "$work/log.py" <<'PY'
import os
import signal
import sys
import time

import wandb

folder, first, last, end, interval = sys.argv[1:]
settings = wandb.Settings(x_transaction_log_flush_interval=float(interval))
run = wandb.init(mode="offline", project="p", id="abc", resume="allow", dir=folder, settings=settings)
if end == "handled":
    signal.signal(signal.SIGTERM, lambda *_: (run.finish(), sys.exit(1)))
for step in range(int(first), int(last) + 1):
    run.log({"x": step}, step=step, commit=True)
    time.sleep(0.2)
if end == "finish":
    run.finish()
elif end == "exit":
    os._exit(1)
else:
    os.kill(os.getpid(), signal.SIGTERM)
PY

cd "$work"
WANDB_SILENT=true WANDB_ERROR_REPORTING=false "$work/venv/bin/python" - <<'PY'
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

import wandb
from wandb.proto import wandb_internal_pb2


def rows(path):
    """The logged x in a file: records in blocks of 32,768 bytes, each of a checksum, a size and a kind."""
    content, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + 7])
        parts, at = parts + content[at + 7 : at + 7 + size], at + 7 + size
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            for item in record.history.item:
                if "x" in (item.key, *item.nested_key):
                    yield int(item.value_json)


def logged(*launches, interval=15):
    with tempfile.TemporaryDirectory() as folder:
        for first, last, end in launches:
            arguments = [folder, str(first), str(last), end, str(interval)]
            subprocess.run([sys.executable, "log.py", *arguments], capture_output=True)
            time.sleep(3)  # the service may still be at work
        return sorted(x for path in pathlib.Path(folder).glob("wandb/offline-run-*/*.wandb") for x in rows(path))


print("wandb", wandb.__version__)
finished = logged((1, 40, "finish"))
print(f"finish: {len(finished)} of 40 rows are in the file")
ended = logged((1, 40, "term"))
print(f"SIGTERM: {len(ended)} of 40 rows are in the file")
resumed = logged((1, 40, "term"), (41, 60, "finish"))
print(
    f"SIGTERM, then resumed for rows 41 to 60: {len(resumed)} of 60 rows are in the files,",
    f"the first is {min(resumed)}",
)
left = logged((1, 40, "exit"))
print(f"os._exit: {len(left)} of 40 rows are in the file")
handled = logged((1, 40, "handled"))
print(f"SIGTERM, handled by finish: {len(handled)} of 40 rows are in the file")
often = logged((1, 40, "term"), interval=1)
shown = "at least 30" if len(often) >= 30 else len(often)
print(f"SIGTERM, written every second: {shown} of 40 rows are in the file")

counts = [len(each) for each in (finished, ended, resumed, left, handled)]
if counts != [40, 0, 20, 0, 40] or len(often) < 30:
    sys.exit(f"changed: {counts} and {len(often)} rows, where it was 40, 0, 20, 0, 40 and at least 30")
PY
