"""What is installed by pip is whole: a wheel is built, installed elsewhere, and used from another folder."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import inspect, pathlib, sys
import jax, jax.numpy as jnp
import vaelab

assert pathlib.Path(vaelab.__file__).is_relative_to(sys.argv[1]), vaelab.__file__
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


def test_a_wheel_is_built_and_used_from_another_folder(tmp_path):
    source = tmp_path / "source"  # as a build leaves files behind
    shutil.copytree(ROOT / "vaelab", source / "vaelab", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = ("-m", "pip", "--disable-pip-version-check")
    built = called(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, source, cwd=tmp_path)
    if "No matching distribution found for setuptools" in built.stderr:
        pytest.skip("building a wheel takes a setuptools from a package registry, and none is reached")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("vaelab-*.whl")
    site = tmp_path / "site"
    installed = called(*pip, "install", "--quiet", "--no-deps", "--target", site, wheel, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    assert {path.name for path in site.iterdir() if path.suffix != ".dist-info"} == {"vaelab"}
    script = f"import sys; sys.path.insert(0, {str(site)!r})\n{SCRIPT}"
    used = called("-c", script, site, cwd=tmp_path)
    assert used.returncode == 0, used.stderr
    assert (tmp_path / "saved" / "gap.json").exists()
