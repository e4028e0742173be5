"""What a run is made with: versions of packages and the kind of device."""

import platform
from importlib.metadata import version
from pathlib import Path

import jax
from rich.console import Console

from vaelab.errors import VERSION
from vaelab.runtime.directory import DirectoryError, stored_json, write_json

FILE = "versions.json"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "distrax", "numpy")

Versions = dict[str, str]


def versions() -> Versions:
    """Those of this process: the code, the packages that numbers come from, the kind of device."""
    return {
        "vaelab": VERSION,
        "Python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "device": jax.devices()[0].device_kind,
    }


def keep_versions(
    directory: Path, console: Console, *, across: bool, begun: list[Versions] | None = None
) -> list[Versions]:
    """Every set of versions that a run was made with, the first one first and the present one among them.

    begun: those of the run that it starts from, if any. across: whether to go on under other versions than
    before. The same seed rounds otherwise there: what is trained or measured in two parts is neither's.
    Raises DirectoryError where that was not asked for.
    """
    path, now = directory / FILE, versions()
    before: list[Versions] = stored_json(path, lambda: begun or [now], console)
    if now in before:
        return before
    if not across:
        last = before[-1]
        changed = [
            f"{name} {last.get(name)} there and {now.get(name)} here"
            for name in {**last, **now}
            if last.get(name) != now.get(name)
        ]
        details = f" ({'; '.join(changed)})"
        fix = "go on under those, or add --across_versions, which its results will say"
        raise DirectoryError.of(directory, "was begun under other versions", details, fix=fix)
    return write_json(path, [*before, now])
