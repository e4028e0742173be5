"""The cache of decoded images: it saves a reading, and is never believed when it is damaged."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.images import KMNIST, assert_same
from vaelab import data


def test_second_load_reads_the_cache(prepared):
    fake = prepared("kmnist", KMNIST)
    first = data.load("kmnist", data_dir=str(fake.dir))
    assert fake.reads == [("kmnist", "train"), ("kmnist", "test")]
    assert_same(data.load("kmnist", data_dir=str(fake.dir)), first)
    assert len(fake.reads) == 2
    assert [path.name for path in fake.cache.parent.iterdir()] == ["kmnist-3.0.1.npz"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_other_shape(path: Path) -> None:
    with np.load(path) as arrays:
        changed = dict(arrays) | {"train_pixels": arrays["train_pixels"][1:]}
    np.savez(path, **changed)


@pytest.mark.parametrize("damage", [truncate, flip_one_bit, empty, of_other_shape])
def test_a_damaged_cache_is_rebuilt_with_one_line_of_warning(damage, prepared, capsys):
    fake = prepared("kmnist", KMNIST)
    first = data.load("kmnist", data_dir=fake.dir)
    damage(fake.cache)
    assert_same(data.load("kmnist", data_dir=fake.dir), first)
    warning = capsys.readouterr().err
    assert warning.count("\n") == 1
    assert str(fake.cache) in warning
    assert_same(data.load("kmnist", data_dir=fake.dir), first)
    assert capsys.readouterr().err == ""
    assert len(fake.reads) == 4


def test_a_cache_of_data_prepared_before_is_not_used(prepared, capsys):
    data.load("kmnist", data_dir=prepared("kmnist", KMNIST).dir)
    swapped = {"train": KMNIST["train"][::-1], "test": KMNIST["test"]}
    dataset = data.load("kmnist", data_dir=prepared("kmnist", swapped, numBytes="1").dir)
    np.testing.assert_array_equal(dataset.splits["train"].pixels_NxD[0], KMNIST["train"][-1][0].reshape(-1))
    assert "made from other data" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_only_costs_the_cache(prepared, capsys):
    fake = prepared("kmnist", KMNIST)
    # Not by permissions, which do not bind root.
    (fake.dir / "vaelab").write_text("in the way")
    first = data.load("kmnist", data_dir=fake.dir)
    assert_same(data.load("kmnist", data_dir=fake.dir), first)
    assert len(fake.reads) == 4
    assert capsys.readouterr().err == ""


def test_a_kill_while_writing_leaves_no_cache(prepared, monkeypatch):
    fake = prepared("kmnist", KMNIST)

    def savez(file, **arrays):
        file.write(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", savez)
    with pytest.raises(KeyboardInterrupt):
        data.load("kmnist", data_dir=fake.dir)
    assert list(fake.cache.parent.iterdir()) == []
