"""Room for another run in a directory: the one that it belongs to is removed, once its name was typed.

What is removed is a run of another config, or a sweep, that no launch is at work on, and only where its
directory has no names but those that runs write; what is inside of stages, checkpoints and the folders of
trackers is not looked at, and goes with them. A run of the same config goes on instead. What is wrong with
the config that is to come is said before.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict
from rich.console import Console

from vaelab.errors import ConfigError
from vaelab.runtime.directory import differences, in_use
from vaelab.runtime.processes import of_first

WRITTEN = re.compile(
    r"""(damaged-)?(config|data|versions|trackers|gap|sweep|study|hints)\.json(\.partial)?
    |(per_datapoint\.npz|model\.safetensors|metrics\.jsonl|sweep\.csv|report\.html)(\.partial)?
    |(gaps|images|interpolation|traversals|inference_time|sweep|rate_distortion|study)\.png
    |stages|checkpoints|tensorboard|wandb|mlflow|lock|\.DS_Store""",
    re.VERBOSE,
)
"""What a run, a sweep or a study writes into its directory, but for the directories of a sweep's points."""


def make_room(
    directory: Path, name: str, config: ConfigDict, build: Callable[[], Any], console: Console
) -> None:
    """Removes the run of another config that the directory belongs to, if it belongs to one.

    name: what the user typed, the directory's own. build: raises for what is wrong with the config, before
    anything is removed. Raises ConfigError for another name, and for what is no run or holds other files.
    """
    itself = directory.resolve().name
    if name != itself:
        line = f"the name of --workdir is {itself!r}: type that for its run to be removed"
        raise ConfigError(f"--overwrite={name}: {line}")
    if not of_first(lambda: _belongs_to_another(directory, config)):
        return
    build()
    of_first(lambda: _remove(directory, console))
    console.print(f"the run of another config in {directory} was removed", highlight=False, markup=False)


def _belongs_to_another(directory: Path, config: ConfigDict) -> bool:
    """Whether there is a run of another config. Raises ConfigError where there is something else."""
    if not directory.is_dir() or not any(directory.iterdir()):
        return False
    if directory.is_symlink():
        raise _refusal(directory, "is a link")
    if Path.cwd().is_relative_to(directory.resolve()):
        raise _refusal(directory, "is the folder that you are in, or above it")
    theirs = _config_of(directory)
    if not differences(theirs, json.loads(config.to_json_best_effort())):
        return False
    for path in [directory, *_runs_of_sweep(directory)]:
        _config_of(path)
    others = [path for path in _entries(directory) if not WRITTEN.fullmatch(path.name)]
    if others:
        named = ", ".join(str(path.relative_to(directory)) for path in others[:3])
        raise _refusal(directory, f"holds what no run has written ({named}{', ...' * (len(others) > 3)})")
    return True


def _entries(directory: Path) -> list[Path]:
    """What stands in the directory of a run and, of a sweep, in those of its runs and points."""
    runs = _runs_of_sweep(directory)
    points = {run.parent for run in runs}
    inside = [path for at in (directory, *points, *runs) for path in sorted(at.iterdir())]
    return [path for path in inside if path not in points and path not in runs]


def _runs_of_sweep(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*/seed=*") if path.is_dir() and not path.is_symlink())


def _config_of(directory: Path) -> dict[str, Any]:
    """The config of the run in the directory. Raises ConfigError where there is no run."""
    try:
        config = json.loads((directory / "config.json").read_text())
    except (OSError, ValueError):
        config = None
    of_run = isinstance(config, dict) and "given" not in config and {"data", "study"} & config.keys()
    marked = (directory / "lock").is_file() and (directory / "stages").is_dir()  # as every launch leaves them
    if not of_run or not marked:
        raise _refusal(directory, "holds no run with a config.json that can be read")
    return config


def _remove(directory: Path, console: Console) -> None:
    """All at once: a run that is half there would be taken for a whole one."""
    with ExitStack() as held:
        for at in [directory, *_runs_of_sweep(directory)]:
            held.enter_context(in_use(at, console))
        whole = directory.resolve()
        aside = Path(tempfile.mkdtemp(prefix=f".{whole.name}-removed-", dir=whole.parent))
        try:
            whole.rename(aside / whole.name)
        finally:
            shutil.rmtree(aside)


def _refusal(directory: Path, problem: str) -> ConfigError:
    return ConfigError(f"{directory} {problem}: --overwrite leaves it as it is; take another --workdir")
