"""A prepared data set of tensorflow-datasets, of made rows."""

import json
from types import SimpleNamespace

import pytest

from tests.support.images import VERSIONS, png
from vaelab.data import tfds


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """prepared(name, rows, **info): a data_dir whose rows {split: [(pixels, label)]} are handed out
    in place of TFDS's; `reads` counts the splits read."""
    reads = []

    def write(name, rows, **info):
        folder = tmp_path / name / VERSIONS[name]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dataset_info.json").write_text(json.dumps({"fileFormat": "array_record"} | info))

        def read_rows(recipe, split, data_dir):
            assert data_dir == tmp_path
            reads.append((recipe.name, split))
            return ((png(pixels), label) for pixels, label in rows[split])

        monkeypatch.setattr(tfds, "_read_rows", read_rows)
        return SimpleNamespace(
            dir=tmp_path, reads=reads, cache=tmp_path / "vaelab" / f"{folder.parent.name}-{folder.name}.npz"
        )

    return write
