"""Whether two checkouts of vaelab compute the same numbers, bit for bit:

    python benchmarks/same_numbers.py record OLD --checkout=DIR
    python benchmarks/same_numbers.py record NEW
    python benchmarks/same_numbers.py compare OLD NEW

`record` launches single runs, sweeps and an audit into the folder; what it holds already is not done again.
`compare` holds `gap.json`, `per_datapoint.npz`, `sweep.json` and the last checkpoint of each stage against
each other: seconds are left out. Solo runs and the audit must be equal bit for bit; figures of a sweep, whose
runs are one program, within SWEPT nats. Prints one line for each run, the largest difference in it, and ends
with status 1 where something is not equal.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SWEPT = 1e-3  # nats, on bounds of some tens of nats: a program of several runs rounds otherwise
SMOKE = "digits_gap:smoke"
RUNS = {
    "digits_gap": ("digits_gap",),
    "linear_gaussian": ("linear_gaussian",),
    "annealing": (
        SMOKE,
        "--config.evaluate.splits=('test','simulated','corrupted')",
        "--config.inference.start=both",
        "--config.evidence.estimator=annealing",
    ),
    "auto": (SMOKE, "--config.evidence.estimator=auto", "--config.evidence.proposals=both"),
    "smc": (SMOKE, "--config.evidence.estimator=smc"),
    "quadrature": (SMOKE, "--config.evidence.estimator=auto", "--config.model.latent_dim=2"),
    "gaussian": ("digits_gap:gaussian,smoke", "--config.train.dtype=bfloat16"),
    "families": (
        SMOKE,
        "--config.objective.name=elbo_from_draws",
        "--config.inference.families=('diagonal','cholesky','low_rank','householder','real_nvp','iaf')",
    ),
    "timing": ("mean_field_vs_encoder:timing,smoke",),
    "mean_field": ("mean_field_vs_encoder:timing,smoke", "--config.learning.regime=mean_field"),
    "semi_amortized": ("mean_field_vs_encoder:timing,smoke", "--config.learning.regime=semi_amortized"),
    "reparameterization": ("reparameterization:smoke",),
    "seeds": ("SWEEP",),
    "kl_warmup": ("kl_warmup:smoke",),
    "regimes": ("mean_field_vs_encoder:smoke",),
    "encoder_capacity": ("encoder_capacity:smoke",),
}
SWEEP = """
import sys
sys.path.insert(0, {root!r})
from experiments import defaults, digits_gap

def get_config():
    config = digits_gap.get_config("smoke")
    with config.unlocked():
        config.sweep = defaults.sweep(num_seeds=8)
    return config
"""
AUDIT = """
import sys
import jax, jax.numpy as jnp, numpy as np
import vaelab

key = jax.random.key(0)
w1, w2 = jax.random.normal(key, (3, 8)), jax.random.normal(jax.random.key(1), (8, 12))
logits = lambda params, z: jnp.tanh(z @ params[0]) @ params[1]

def log_likelihood(params, x, z):
    l = logits(params, z)
    return jnp.sum(x * l - jax.nn.softplus(l))

def encode(params, x):
    mu = 0.3 * jnp.tanh(params[0] @ (params[1] @ (x - 0.5)))
    return mu, 0.5 + 0.1 * jnp.abs(mu)

def sample(params, key, z):
    return jax.random.bernoulli(key, jax.nn.sigmoid(logits(params, z))).astype(jnp.float32)

x = np.float32(np.random.RandomState(0).uniform(size=(24, 12)) < 0.5)
vaelab.audit(
    log_likelihood, encode, x, latent_dim=3, key=jax.random.key(2), params=(w1, w2), sample=sample,
    num_simulated=16, directory=sys.argv[1], quiet=True, labels=np.arange(24) % 3,
)
"""


def record(folder: Path, checkout: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    swept = folder / "swept.py"
    swept.write_text(SWEEP.format(root=str(checkout)))
    env = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(checkout)}
    for name, (config, *settings) in RUNS.items():
        path = swept if config == "SWEEP" else Path("experiments") / config.replace(":", ".py:", 1)
        path = path if ".py" in str(path) else f"{path}.py"
        command = ["launch.py", f"--config={path}", *settings, f"--workdir={folder / name}", "--quiet"]
        subprocess.run([sys.executable, *command], cwd=checkout, env=env, check=True)
        print(f"recorded {name}", flush=True)
    if not (folder / "audit" / "gap.json").exists():
        command = [sys.executable, "-c", AUDIT, str(folder / "audit")]
        subprocess.run(command, cwd=checkout, env=env, check=True)
    print("recorded audit")


def compare(one: Path, other: Path) -> bool:
    """Prints the largest difference of each run; whether all are as they must be."""
    good = True
    for name in (n for n in (*RUNS, "audit") if (other / n).exists()):
        most, where = 0.0, ""
        first, second = dict(_numbers(one / name)), dict(_numbers(other / name))
        swept = any("seed=" in path for path in first)
        if missing := sorted(first.keys() - second.keys()):
            good = False
            print(f"{name}: {len(missing)} are missing: {', '.join(missing[:5])}")
        if new := sorted(second.keys() - first.keys()):
            print(f"{name}: {len(new)} are new: {', '.join(new[:2])}, ...")
        for path in first.keys() & second.keys():
            size = _difference(first[path], second[path])
            if size > most:
                most, where = size, path
        checked = len(first.keys() & second.keys())
        equal = most == 0.0 or (swept and most <= SWEPT)
        good &= equal and checked > 0
        verdict = "equal bit for bit" if most == 0.0 else f"differ by up to {most:.3g} ({where})"
        print(f"{name}: {checked} arrays and numbers {verdict}{'' if equal else ' WRONG'}")
    return good


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape or one.dtype != other.dtype:
        return float("inf")
    if one.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(one, other) else float("inf")
    if np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
        return 0.0
    if one.dtype.kind != "f":
        return float(np.max(np.abs(one.astype(np.int64) - other.astype(np.int64))))
    return float(np.max(np.abs(np.float64(one) - np.float64(other)), initial=0.0))


def _numbers(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(path, value) of all that a run or a sweep has left."""
    for path in sorted(folder.rglob("*")):
        inside = str(path.relative_to(folder))
        if path.name in ("gap.json", "sweep.json", "study.json"):
            yield from _flat(json.loads(path.read_text()), inside)
        elif path.name == "per_datapoint.npz":
            with np.load(path) as arrays:
                yield from ((f"{inside}/{key}", arrays[key]) for key in arrays.files)
        elif path.parent.name == "checkpoints":
            yield from _last_checkpoint(path, inside)


def _flat(value: Any, path: str) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in entries:
            if "seconds" not in str(key) and key not in ("milliseconds", "trials", "reason"):
                yield from _flat(entry, f"{path}/{key}")
    elif value is not None:
        yield path, np.asarray(value)


def _last_checkpoint(folder: Path, inside: str) -> Iterator[tuple[str, np.ndarray]]:
    import orbax.checkpoint as ocp

    items = ocp.args.Composite(state=ocp.args.StandardRestore(), manifest=ocp.args.JsonRestore())
    with ocp.CheckpointManager(folder.resolve()) as manager:
        restored = manager.restore(manager.latest_step(), args=items)
    yield f"{inside}/bytes", np.asarray(restored.state["bytes"])
    yield from _flat(restored.manifest, f"{inside}/manifest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("folder", type=Path)
    recording.add_argument("--checkout", type=Path, default=ROOT)
    comparing = commands.add_parser("compare")
    comparing.add_argument("folders", type=Path, nargs=2)
    arguments = parser.parse_args()
    if arguments.command == "record":
        record(arguments.folder, arguments.checkout.resolve())
    elif not compare(*arguments.folders):
        sys.exit(1)


if __name__ == "__main__":
    main()
