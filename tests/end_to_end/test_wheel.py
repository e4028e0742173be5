"""What is installed by pip is whole: a wheel is built, installed elsewhere, and used from another folder."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SMALL = ("--config=digits_gap:smoke", "--config.model.hidden=(10,)", "--config.encoder.hidden=(10,)")
SCRIPT = """
import inspect, pathlib, sys
import jax, jax.numpy as jnp
import vaelab

assert pathlib.Path(vaelab.__file__).is_relative_to(sys.argv[1]), vaelab.__file__
from vaelab.command import experiments, main
assert experiments.FOLDER == pathlib.Path(sys.argv[1]) / "vaelab" / "experiments"
assert experiments.load("fashion_gap:smoke").data.name == "fashion_mnist"
assert main(["--version"]) == 0

for name in vaelab.__all__:
    assert inspect.getdoc(getattr(vaelab, name)), name

def log_likelihood(x, z):
    return -0.5 * jnp.sum((x - z) ** 2 + jnp.log(2.0 * jnp.pi))

x = jax.random.normal(jax.random.key(0), (20, 1)) * 2.0 ** 0.5
report = vaelab.audit(
    log_likelihood, lambda x: (0.5 * x, jnp.full(1, 0.5**0.5)), x,
    latent_dim=1, key=jax.random.key(1), families=("diagonal",), quiet=True,
)
report.save("saved")
(row,) = report.rows
# x ~ N(0, 2), z given x ~ N(x / 2, 1 / 2): the encoder is the posterior, and every gap is 0.
assert abs(row["amortization_gap"]["mean"]) < 1e-3, row
assert abs(row["approximation_gap"]["mean"]) < 1e-3, row
"""


def called(*command, cwd):
    return subprocess.run([sys.executable, *map(str, command)], cwd=cwd, capture_output=True, text=True)


def packages():
    """Every package there is, by its dotted name."""
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "vaelab").rglob("*.py")}
    return {".".join(folder.parts) for folder in folders}


def test_every_package_is_named():
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert named == sorted(named)
    assert set(named) == packages() | {"vaelab.experiments"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that a wheel of this checkout is installed in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # as a build leaves files behind
    for name in ("vaelab", "experiments"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = ("-m", "pip", "--disable-pip-version-check")
    built = called(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source, cwd=folder)
    if "No matching distribution found for setuptools" in built.stderr:
        pytest.skip("building a wheel takes a setuptools from a package registry, and none is reached")
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("vaelab-*.whl")
    site = folder / "site"
    installed = called(*pip, "install", "--quiet", "--no-deps", "--target", site, wheel, cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return site


def test_a_wheel_is_whole_and_is_used_from_another_folder(site, tmp_path):
    assert {path.name for path in site.iterdir() if path.suffix != ".dist-info"} == {"bin", "vaelab"}
    script = f"import sys; sys.path.insert(0, {str(site)!r})\n{SCRIPT}"
    used = called("-c", script, site, cwd=tmp_path)
    assert used.returncode == 0, used.stderr
    assert (tmp_path / "saved" / "gap.json").exists()


@pytest.mark.slow
def test_the_command_runs_an_experiment_from_another_folder(site, tmp_path):
    cache = {"JAX_COMPILATION_CACHE_DIR": os.environ["VAELAB_TEST_CACHE"]}
    ran = subprocess.run(
        [sys.executable, site / "bin" / "vaelab", "run", *SMALL, "--workdir=run", "--quiet"],
        cwd=tmp_path,
        env={**os.environ, **cache, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    assert (tmp_path / "run" / "gap.json").exists()


@pytest.mark.slow
def test_readmes_line_on_a_folder_of_images_runs_from_another_folder(site, tmp_path):
    """In small; the script of the how-to page makes the folder."""
    page, readme = ((ROOT / name).read_text() for name in ("docs/how_to/data_set.md", "README.md"))
    script = re.search(r'```python title="make_photos.py"\n(.*?)```', page, re.DOTALL)[1]
    made = called("-c", script, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert len(list(tmp_path.glob("photos/*/*.png"))) == 600
    text = re.search(
        r"^    python launch\.py (--config=\S+ --workdir=runs/photos .*?)\n\n", readme, re.M | re.S
    )
    given = shlex.split(text[1].replace("\\\n", " "))
    assert given[0] == "--config=experiments/digits_gap.py"
    settings = [argument for argument in given if argument.startswith("--config.")]
    assert "--config.data.image_shape=(16,16,3)" in settings
    cache = {"JAX_COMPILATION_CACHE_DIR": os.environ["VAELAB_TEST_CACHE"]}
    ran = subprocess.run(
        [sys.executable, site / "bin" / "vaelab", "run", *SMALL, *settings, "--workdir=run", "--quiet"],
        cwd=tmp_path,
        env={**os.environ, **cache, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    for name in ("gap.json", "images.png", "interpolation.png"):
        assert (tmp_path / "run" / name).exists()
