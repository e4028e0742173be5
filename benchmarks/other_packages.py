"""What other packages print under the name of log p(x) or the ELBO, beside the exact one and vaelab's:

    python benchmarks/other_packages.py [--only NAME ...] [--environments=DIR]

Each package gets a virtual environment with pinned versions, and is given the model of `packages/model.py`.
Every number is turned into nats per datapoint, and its difference from the exact one must be what
`packages/NAME.py` says, to within 5 standard errors. Writes results/other_packages.json and that part of
docs/other_packages.md which is made of it; exits with 1, naming package and line of the page, where a version
no longer does what the page says.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.packages import PACKAGES  # noqa: E402
from benchmarks.packages.compared import Entry, compared, wrong  # noqa: E402
from benchmarks.packages.model import Model, shared  # noqa: E402
from benchmarks.packages.page import PAGE, line_of, update  # noqa: E402
from benchmarks.packages.record import Package  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "other_packages.json"


def environment(package: Package, folder: Path) -> Path:
    """The Python of the package's environment, which is made where it is not there yet."""
    place = folder / package.name
    python, done = place / "bin" / "python", place / "pins.txt"
    pins = "\n".join(package.pins)
    if not (done.is_file() and done.read_text() == pins):
        subprocess.run([interpreter(package), "-m", "venv", "--clear", str(place)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *package.pins], check=True)
        done.write_text(pins)
    return python


def interpreter(package: Package) -> str:
    """This Python, or another of the machine's where the package's pins need a newer one."""
    if sys.version_info[:2] >= package.python:
        return sys.executable
    for minor in range(package.python[1], 15):
        other = shutil.which(f"python3.{minor}")
        if other and not subprocess.run([other, "-c", ""], capture_output=True).returncode:
            return other
    raise RuntimeError(f"its pins need Python {'.'.join(map(str, package.python))}, and none is on the path")


def measured(package: Package, python: Path, model: Path) -> dict:
    """What the package's script prints in its environment."""
    command = [str(python), "-W", "ignore", "-P", "-m", f"benchmarks.packages.{package.name}", str(model)]
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "JAX_ENABLE_X64", "XLA_FLAGS")}
    clean |= {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    clean["OMP_NUM_THREADS"] = "1"  # the arrays are small
    done = subprocess.run(command, capture_output=True, text=True, cwd=model.parent, env=clean)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or "no message").splitlines()[-1])
    return json.loads(done.stdout.splitlines()[-1])


def vaelab_entries(model: Model) -> dict[str, list[float]]:
    """L[q_phi], L[q*] and log p(x) of `vaelab.audit`: the means, and their errors on the same datapoints."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import vaelab

    f = {name: jnp.float32(part) for name, part in model._asdict().items()}

    def log_likelihood(x_D, z_K):
        logits_D = f["w2_DxH"] @ jnp.tanh(f["w1_HxK"] @ z_K + f["b1_H"]) + f["b2_D"]
        return jnp.sum(x_D * logits_D - jax.nn.softplus(logits_D))

    mu_NxK, log_var_NxK = model.encode(model.x_NxD)
    report = vaelab.audit(
        log_likelihood,
        (np.float32(mu_NxK), np.float32(np.exp(0.5 * log_var_NxK))),
        np.float32(model.x_NxD),
        latent_dim=mu_NxK.shape[1],
        key=jax.random.key(0),
        quiet=True,
    )
    result = {}
    for name in ("diagonal/elbo_amortized", "diagonal/elbo_optimal", "log_evidence"):
        value_N, own_N = (report.per_datapoint[f"given/{key}"] for key in (name, f"{name}_stderr"))
        error = np.sqrt(np.sum(own_N**2)) / len(value_N)
        result[name.removeprefix("diagonal/")] = [float(np.mean(value_N)), float(error)]
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PACKAGES, default=list(PACKAGES), metavar="NAME")
    parser.add_argument("--environments", type=Path, help="the folder of the environments, which are kept")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--no-page", action="store_true", help="leave docs/other_packages.md as it is")
    arguments = parser.parse_args()
    before = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    entries: dict[str, Entry] = dict(before.get("packages", {}))
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.environments or Path(temporary) / "environments"
        path = Path(temporary) / "model.npz"
        shared().save(path)
        for name in arguments.only:
            package = PACKAGES[name]
            try:
                entries[name] = compared(package, measured(package, environment(package, folder), path))
            except (RuntimeError, subprocess.CalledProcessError) as error:
                failed.append(
                    f"{PAGE.relative_to(ROOT)}:{line_of(package.title)}: {package.pins[0]}: {error}"
                )
                continue
            failed += [
                f"{PAGE.relative_to(ROOT)}:{line_of(text)}: {package.pins[0]} no longer does what this line "
                f"says: {why}"
                for text, why in wrong(package, entries[name])
            ]
            print(
                f"{package.title:<28} {len(entries[name]['numbers']) + len(entries[name]['traps'])} figures"
            )
    result = {
        "benchmark": "other_packages",
        "vaelab": vaelab_entries(shared()),
        "packages": {name: entries[name] for name in PACKAGES if name in entries},
    }
    arguments.results.write_text(json.dumps(result, indent=2) + "\n")
    if not arguments.no_page and not failed:
        update(result)
    print("\n".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
