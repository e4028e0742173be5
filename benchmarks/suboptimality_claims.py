"""The numbers behind the claims of the published study, from a finished sweep of its experiment:

    python benchmarks/suboptimality_claims.py --run=runs/inference_suboptimality

For each data set and split, in nats over the same images, mean and standard error of the paired differences:
amortization gap less approximation gap of each diagonal model; what the larger encoder's model has more of;
what the best diagonal q lacks on the decoder of another family, more than on that of the diagonal one; what
the amortization and the inference gap of another family are larger by, each on its own decoder. With them the
mean certificate of each fit, by which a gap can still be too small. Prints one JSON line.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from vaelab.compare import read
from vaelab.measure.gap import mean_and_stderr
from vaelab.report.paired import Measured, quantity

DIAGONAL = "diagonal"


def layers(config: dict[str, Any]) -> tuple[int, ...]:
    """The sizes of the encoder's layers: channels of a convolutional one."""
    encoder = config["encoder"]
    return tuple(encoder["channels" if encoder.get("network") == "convolutional" else "hidden"])


def claims(runs: dict[tuple, Measured], split: str) -> dict[str, dict[str, float]]:
    """Each claim's difference. runs: (family, encoder's layers) -> the model trained with them.

    Exits with a line where there are not two diagonal models, of a smaller and a larger encoder.
    """
    sizes = sorted(sizes for family, sizes in runs if family == DIAGONAL)
    if len(sizes) != 2:
        raise SystemExit(
            f"diagonal models that are finished: {len(sizes)}; the claims are of two, by encoder"
        )
    base, larger = (DIAGONAL, sizes[0]), (DIAGONAL, sizes[1])

    def of(key: tuple, family: str, name: str) -> np.ndarray:
        (seed,) = runs[key].arrays
        return quantity(runs[key], seed, (split, family), name)

    differences = {}
    for key in (base, larger):
        less = of(key, DIAGONAL, "amortization_gap") - of(key, DIAGONAL, "approximation_gap")
        differences[f"amortization less approximation, encoder {key[1]}"] = mean_and_stderr(less)
    for name in ("amortization_gap", "approximation_gap", "log_evidence"):
        more = of(larger, DIAGONAL, name) - of(base, DIAGONAL, name)
        differences[f"larger encoder, more {name.replace('_', ' ')}"] = mean_and_stderr(more)
    for family, hidden in runs:
        if family == DIAGONAL:
            continue
        more = of((family, hidden), DIAGONAL, "approximation_gap") - of(base, DIAGONAL, "approximation_gap")
        differences[f"diagonal q lacks more on the decoder of {family}"] = mean_and_stderr(more)
        for name in ("amortization_gap", "inference_gap"):
            more = of((family, hidden), family, name) - of(base, DIAGONAL, name)
            differences[f"{family}, more {name.replace('_', ' ')}"] = mean_and_stderr(more)
    for (family, hidden), run in runs.items():
        (arrays,) = run.arrays.values()
        certificate = mean_and_stderr(arrays[f"{split}/{family}/excess"])
        differences[f"certificate of {family}, encoder {hidden}"] = certificate
    return differences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, type=Path, help="directory of the finished sweep")
    directory = parser.parse_args().run
    models: dict[str, dict[tuple, Measured]] = {}
    for folder in sorted(path.parent.parent for path in directory.glob("*/seed=0/gap.json")):
        run = read(folder)
        (config,) = run.configs.values()
        key = config["posterior"]["family"], layers(config)
        models.setdefault(config["data"]["name"], {})[key] = run
    if not models:
        raise SystemExit(f"--run={directory} holds no finished run: give the directory of the sweep")
    rows = [
        {"data": data, "split": split, **claims(runs, split)}
        for data, runs in models.items()
        for split in ("train", "test")
    ]
    print(json.dumps({"benchmark": "suboptimality_claims", "rows": rows}))


if __name__ == "__main__":
    main()
