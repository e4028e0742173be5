"""A finished run that another one trains on: from its last checkpoint, under a longer schedule."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vaelab import data
from vaelab.errors import ConfigError
from vaelab.runs.data import read as read_data
from vaelab.runs.load import FIRST, read_finished
from vaelab.runtime.directory import DirectoryError, as_directory, differences
from vaelab.runtime.packing import describe, leaves_of
from vaelab.runtime.processes import of_first
from vaelab.runtime.versions import FILE as VERSIONS
from vaelab.runtime.versions import Versions
from vaelab.training.step import TrainState

KEY = "from"  # of config.json
MAY_DIFFER = (
    "config.train.num_steps",
    "config.train.chunk_size",
    "config.train.evaluate_every",
    "config.train.checkpoint_every",
    "config.train.keep_checkpoints",
    "config.train.validation_samples",
    "config.train.stop_after",
    "config.train.keep_best",
    "config.train.devices",
    "config.train.optimizer.learning_rate",
    "config.train.optimizer.schedule",
    "config.train.optimizer.final_scale",
    "config.train.optimizer.warmup_steps",
    "config.refit",
    "config.evaluate",
    "config.inference",
    "config.evidence",
    "config.log",
)


class Origin(NamedTuple):
    """Where a run starts instead of at the initial parameters.

    run: the directory, as it was given. step, sha256: of its last checkpoint. leaves: the arrays of its
    state, by path; None where the directory is gone, which a run that has begun does without.
    described, versions: what it has kept of its data and its versions, where it has.
    """

    run: str
    step: int
    sha256: str
    leaves: dict[str, np.ndarray] | None
    described: dict[str, Any] | None = None
    versions: list[Versions] | None = None

    def written_into(self, config: ConfigDict) -> ConfigDict:
        """The config of a directory: it says where its run started."""
        config = config.copy_and_resolve_references()
        with config.unlocked():
            config[KEY] = ConfigDict({"run": self.run, "step": self.step, "sha256": self.sha256})
        return config

    def check_data(self, described: dict[str, Any] | None) -> None:
        """Raises ConfigError where the data are not those of the run."""
        changed = data.changes(self.described, described) if self.described and described else []
        if changed:
            details = f"{'; '.join(changed[:3])}{'; ...' if len(changed) > 3 else ''}"
            raise ConfigError(f"--from={self.run} was trained on other data ({details}): bring the data back")

    def state(self, template: TrainState) -> TrainState:
        """Its state, in the structure of the template. Raises ConfigError where it does not fit."""
        if self.leaves is None:
            raise ConfigError(f"--from={self.run} is gone, and this run has no checkpoint yet: bring it back")
        wanted = leaves_of(template)
        for path, leaf in describe(wanted).items():
            array = self.leaves.get(path)
            has = "absent" if array is None else f"{array.dtype}{list(array.shape)}"
            if has != leaf:
                line = f"leaf {path} of its checkpoint is {has}, and {leaf} here"
                raise ConfigError(f"--from={self.run} does not fit: {line}; another version made it")
        leaves = [jnp.asarray(self.leaves[path]) for path in wanted]
        return jax.tree.unflatten(jax.tree.structure(template), leaves)


def read_origin(given: str | Path, directory: Path, config: ConfigDict) -> Origin:
    """The finished run that `directory` is to start from, on every process.

    config: that of the run in `directory`. Raises ConfigError, one line: where there is no finished run, a
    sweep, or the directory itself; where the config differs in more than MAY_DIFFER, or asks for no more
    steps. Raises CheckpointError where no checkpoint can be read.
    """
    return of_first(lambda: _read(given, directory, config))


def _read(given: str | Path, directory: Path, config: ConfigDict) -> Origin:
    from vaelab.runtime.checkpoint import newest  # Orbax is half a second that other runs do not need

    try:
        source = as_directory(given)
    except DirectoryError as error:
        line = error.line(directory="--from", other="another run")
        raise ConfigError(f"--from: {line}") from None
    begun = _begun(directory, str(given))
    if begun is not None and not source.exists():
        return begun
    if source.resolve() == directory.resolve():
        raise ConfigError(f"--from={given} is the --workdir: a finished run is trained on in another one")
    try:
        theirs, _ = read_finished(source)
    except ConfigError as error:
        raise ConfigError(f"--from: {error}") from None
    step, sha256, leaves = newest(source / "checkpoints" / FIRST)
    _check_config(given, theirs, config, step)
    return Origin(str(given), step, sha256, leaves, read_data(source), _versions(source))


def _begun(directory: Path, given: str) -> Origin | None:
    """What a run in `directory` says that it started from, if that is what is given."""
    try:
        said = json.loads((directory / "config.json").read_text()).get(KEY)
    except (OSError, ValueError):
        return None
    return Origin(**said, leaves=None) if said and said["run"] == given else None


def _check_config(given: str | Path, theirs: ConfigDict, ours: ConfigDict, step: int) -> None:
    before, now = (json.loads(config.to_json_best_effort()) for config in (theirs, ours))
    before.pop(KEY, None)
    changed = [each for each in differences(before, now) if not _may_differ(each[0])]
    if changed:
        name, there, here = changed[0]
        details = f"{name} is {there!r} there and {here!r} here{'; ...' if len(changed) > 1 else ''}"
        fix = "only its schedule, and how it is measured, may change"
        raise ConfigError(f"--from={given} is a run of another config ({details}): {fix}")
    num_steps = ours.train.num_steps
    if num_steps <= step:
        problem = f"{given} was trained for {step} steps"
        raise ConfigError.of(setting="train.num_steps", value=num_steps, problem=problem, fix="ask for more")


def _may_differ(name: str) -> bool:
    return any(name == allowed or name.startswith(f"{allowed}.") for allowed in MAY_DIFFER)


def _versions(source: Path) -> list[Versions] | None:
    try:
        return json.loads((source / VERSIONS).read_text())
    except (OSError, ValueError):
        return None
