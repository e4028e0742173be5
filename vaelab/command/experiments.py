"""An experiment by its name, or by the path of its file; and what is wrong with that file, in one line."""

import difflib
import importlib.util
import os
import sys
import traceback
import types
from pathlib import Path

from ml_collections import ConfigDict

import vaelab
from vaelab.errors import ConfigError

_PACKAGE = Path(vaelab.__file__).parent
# An installation has the folder in the package, a checkout beside it.
FOLDER = next(path for path in (_PACKAGE / "experiments", _PACKAGE.parent / "experiments") if path.is_dir())


def names() -> list[str]:
    """The names of the experiments that come with vaelab."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "defaults"))


def find(name: str) -> Path:
    """The file of an experiment; name: without a folder and .py one of `names`, else a path.

    Raises ConfigError with the nearest names where there is no such file.
    """
    is_path = os.sep in name or name.endswith(".py")
    path = Path(os.path.expanduser(name)) if is_path else FOLDER / f"{name}.py"
    if path.is_file():
        return path
    near = ", ".join(difflib.get_close_matches(path.stem, names(), n=3) or names())
    line = f"there is no experiment {'file ' if is_path else ''}{name}; by name there is: {near}"
    raise ConfigError(f"{line}; a path ends in .py and is taken from {Path.cwd()}")


def load(experiment: str) -> ConfigDict:
    """The config of an experiment, NAME or NAME:VARIANT.

    Raises ConfigError in one line, with the place in the file that it comes from.
    """
    name, colon, variant = experiment.partition(":")
    path = find(name)
    # Experiments import each other as `experiments.NAME`, in an installation and in a checkout.
    package = types.ModuleType("experiments")
    package.__path__ = [str(FOLDER)]
    sys.modules.setdefault("experiments", package)
    spec = importlib.util.spec_from_file_location("vaelab_experiment", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        if not callable(getattr(module, "get_config", None)):
            raise ConfigError(f"{path}: the experiment file must define get_config()")
        config = module.get_config(variant) if colon else module.get_config()
    except ConfigError:
        raise
    except Exception as error:  # an experiment file may raise anything
        raise ConfigError(_with_its_place(error, path)) from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(
            f"{path}: get_config() of the experiment file must return an ml_collections.ConfigDict"
        )
    return config


def _with_its_place(error: Exception, path: Path) -> str:
    """The error with the last line of the experiment file that it came through."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f"{path}{f':{lines[-1]}' if lines else ''}: {type(error).__name__}: {error}"
