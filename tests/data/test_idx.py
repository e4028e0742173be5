"""IDX archives: read as they are, in the order in which TFDS prepares them; what is damaged is refused."""

import gzip

import numpy as np
import pytest

from vaelab.data import DataError, idx

SIZES = {"train": 37, "test": 11}


def write_archives(folder, sizes=SIZES, seed=0):
    """Made images and labels in the four files; returns them by split, in the order of the files."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, made = np.random.default_rng(seed), {}
    for split, count in sizes.items():
        pixels_NxHxW = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        label_N = rng.integers(0, 10, count, dtype=np.uint8)
        for name, array in ((idx.IMAGES, pixels_NxHxW), (idx.LABELS, label_N)):
            header = np.array([0x800 + array.ndim, *array.shape], ">i4").tobytes()
            (folder / f"{idx.PREFIX[split]}-{name}").write_bytes(gzip.compress(header + array.tobytes()))
        made[split] = pixels_NxHxW.reshape(count, -1), label_N
    return made


def test_rows_are_in_the_order_of_the_shuffler_of_tfds(tmp_path):
    hashing = pytest.importorskip("tensorflow_datasets.core.hashing")
    made = write_archives(tmp_path)
    parts = idx.read(tmp_path, ("train", "test"))
    for split, (pixels_NxD, label_N) in made.items():
        hasher = hashing.Hasher(split)
        order_N = sorted(range(SIZES[split]), key=hasher.hash_key)
        assert order_N != list(range(SIZES[split]))
        np.testing.assert_array_equal(parts[split][0], pixels_NxD[order_N])
        np.testing.assert_array_equal(parts[split][1], label_N[order_N])
        assert (parts[split][0].dtype, parts[split][1].dtype) == (np.uint8, np.int32)


def test_only_the_four_files_are_such_a_data_set():
    names = [f"{start}-{end}" for start in ("train", "t10k") for end in (idx.IMAGES, idx.LABELS)]
    assert idx.are_idx(names)
    assert not idx.are_idx(names[:3])
    assert not idx.are_idx(())


def damage(folder, how):
    path = folder / f"train-{idx.IMAGES}"
    content = path.read_bytes()
    if how == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif how == "of another kind":
        path.write_bytes((folder / f"train-{idx.LABELS}").read_bytes())
    elif how == "not compressed":
        path.write_bytes(gzip.decompress(content))
    elif how == "too few":
        path.write_bytes(gzip.compress(gzip.decompress(content)[:-5]))
    else:
        write_archives(folder.parent / "other", {"train": 3, "test": 2})
        path.write_bytes((folder.parent / "other" / path.name).read_bytes())


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("cut short", "cannot be read"),
        ("not compressed", "cannot be read"),
        ("of another kind", "is no IDX file of 3 dimensions"),
        ("too few", "is no IDX file of 3 dimensions"),
        ("of another data set", "3 images of train and 37 labels"),
    ],
)
def test_what_is_no_archive_is_one_line(how, says, tmp_path):
    write_archives(tmp_path / "mnist")
    damage(tmp_path / "mnist", how)
    with pytest.raises(DataError, match=says) as caught:
        idx.read(tmp_path / "mnist", ("train", "test"))
    assert "\n" not in str(caught.value)
