"""Directories of finished runs and audits, with made arrays."""

import json

import numpy as np

N = 50
INDEX = np.arange(100, 100 + N)


def write_run(
    directory, lead=0.0, *, seed=0, noise=0.01, index=INDEX, data=None, family="diagonal", **settings
):
    """A finished run whose bounds are those of its datapoints, `lead` nats more and a noise of its own."""
    directory.mkdir(parents=True)
    level_N = -90.0 + 20.0 * np.random.RandomState(7).normal(size=1000)[index]
    own = np.random.RandomState(seed + 1000 * round(10 * lead))
    bounds = {
        name: level_N + above + lead + noise * own.normal(size=len(index))
        for name, above in (("elbo_amortized", -2.0), ("elbo_optimal", -1.0), ("log_evidence", 0.0))
    }
    arrays = {f"test/{family}/{name}": value for name, value in bounds.items() if name != "log_evidence"}
    np.savez(directory / "per_datapoint.npz", **arrays, **{
        "test/log_evidence": bounds["log_evidence"], "test/index": index
    })  # fmt: skip
    data = {"name": "digits", "observation": "binarize", "seed": 0, "data_dir": "~", **(data or {})}
    (directory / "config.json").write_text(json.dumps({"seed": seed, "data": data, **settings}))
    (directory / "gap.json").write_text(json.dumps({"rows": []}))
    return directory


def write_audit(directory, lead=0.0, *, x="digest of x", key="digest of key", splits=("given",)):
    """A finished audit, as `write_run` writes a run."""
    write_run(directory, lead)
    arrays = dict(np.load(directory / "per_datapoint.npz"))
    of_splits = {
        name.replace("test/", f"{split}/"): array for split in splits for name, array in arrays.items()
    }
    np.savez(directory / "per_datapoint.npz", **of_splits, **{"given/labels": np.full(N, "a")})
    given = {"density": "log_likelihood", "x": x, "key": key, "num_simulated": 0}
    (directory / "config.json").write_text(json.dumps({"given": given}))
    return directory
