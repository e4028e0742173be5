"""Data sets as fixed, indexed splits; the laws of observations; the order of training."""

import functools
import gzip
import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaelab import data
from vaelab.data import archives, tfds
from vaelab.data import observe as data_observe

ROOT = Path(__file__).parents[2]
SPLITS = ("train", "validation", "test")
VERSIONS = dict.fromkeys(("mnist", "fashion_mnist", "kmnist"), "3.0.1")
VERSIONS |= {"omniglot": "3.0.0", "binarized_mnist": "1.0.0"}

# Computed once: whoever changes one of these changes which image an index means, or every run.
DIGITS_GOLDEN = "020c3dc57ee7df5052110a6c567f8db2c80f342997b89c73e481ebd82e03b5ba"
PUBLISHED_GOLDEN = {
    "mnist": "9b391daa586b58df330afafc28340379044d8d13c86409b114b507f6e7bd9c01",
    "fashion_mnist": "32d4bb4e2c864fb200d0d96e5bdae40ac39326d8e1459a7aadf1377d59629b41",
}
ORDER_GOLDEN = [[2, 6, 0, 4], [1, 3, 5, 7], [4, 0, 6, 1], [2, 7, 5, 3]]


def png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def digest(dataset: data.DataSet) -> str:
    sha = hashlib.sha256()
    for name in SPLITS:
        for field in dataset.splits[name]:
            sha.update(np.ascontiguousarray(field))
    return sha.hexdigest()


def assert_same(first: data.DataSet, second: data.DataSet) -> None:
    assert first[:3] == second[:3]
    jax.tree.map(np.testing.assert_array_equal, first.splits, second.splits)


# Observations


@pytest.mark.parametrize("max_value", [16, 255, 1])
def test_binarize_frequency_is_pixel_over_max(max_value):
    values_V = np.arange(max_value + 1)
    repeats, num_keys = 128, 64
    pixels_D = np.repeat(values_V, repeats).astype(np.uint8)
    keys = jax.random.split(jax.random.key(0), num_keys)
    binarize = functools.partial(data.binarize, pixels_D=pixels_D, max_value=max_value)
    x_RxD = jax.jit(jax.vmap(binarize))(keys)
    assert x_RxD.dtype == jnp.float32
    assert set(np.unique(x_RxD)) == {0.0, 1.0}
    draws = num_keys * repeats
    frequency_V = np.asarray(x_RxD).reshape(num_keys, -1, repeats).mean((0, 2), dtype=np.float64)
    probability_V = values_V / max_value
    stderr_V = np.sqrt(probability_V * (1 - probability_V) / draws)
    assert frequency_V[0] == 0.0
    assert frequency_V[-1] == 1.0
    # 5 standard errors, and the documented 2^-17 by which a threshold of 16 bits misses the ratio.
    assert np.all(np.abs(frequency_V - probability_V) <= 5 * stderr_V + 2.0**-17)


@pytest.mark.parametrize("max_value", [16, 255])
def test_binarize_probability_is_exactly_the_rounded_threshold(max_value, monkeypatch):
    every_word = jnp.arange(65536)
    monkeypatch.setattr(data_observe, "_uniform_bits", lambda key, size: every_word)
    for value in range(max_value + 1):
        pixels_D = np.full(65536, value, np.uint8)
        ones = int(data.binarize(None, pixels_D, max_value=max_value).sum(dtype=jnp.int32))
        assert ones == round(value * 65536 / max_value)


def test_random_bits_are_uniform_and_independent_across_pixels():
    num_draws, num_pixels = 1 << 16, 7
    keys = jax.random.split(jax.random.key(1), num_draws)
    bits_RxD = np.asarray(jax.vmap(lambda key: data_observe._uniform_bits(key, num_pixels))(keys))
    assert bits_RxD.shape == (num_draws, num_pixels)
    assert bits_RxD.min() >= 0
    assert bits_RxD.max() <= 65535
    u_RxD = (bits_RxD + 0.5) / 65536
    # U[0, 1] has variance 1/12 and its square 4/45: 5 standard errors of means over num_draws.
    assert np.all(np.abs(u_RxD.mean(0) - 1 / 2) < 5 * np.sqrt(1 / 12 / num_draws))
    assert np.all(np.abs((u_RxD**2).mean(0) - 1 / 3) < 5 * np.sqrt(4 / 45 / num_draws))
    correlation_DxD = np.corrcoef(u_RxD.T) - np.eye(num_pixels)
    assert np.abs(correlation_DxD).max() < 5 / np.sqrt(num_draws)


@pytest.mark.parametrize("max_value", [1, 16, 255])
def test_dequantize_adds_uniform_noise_below_one_level(max_value):
    pixels_D = np.repeat(np.arange(max_value + 1), 400).astype(np.uint8)
    x_D = np.asarray(data.dequantize(jax.random.key(2), pixels_D, max_value=max_value), np.float64)
    u_D = x_D * (max_value + 1) - pixels_D
    # Rounding of x_D in float32, 2^-24, times the number of levels.
    assert u_D.min() >= -(2.0**-15)
    assert u_D.max() < 1
    assert abs(u_D.mean() - 1 / 2) < 5 * np.sqrt(1 / 12 / u_D.size)
    assert abs((u_D**2).mean() - 1 / 3) < 5 * np.sqrt(4 / 45 / u_D.size)


@pytest.mark.parametrize("max_value", [1, 16, 255])
def test_dequantize_stays_below_one_for_the_largest_noise(max_value, monkeypatch):
    monkeypatch.setattr(data_observe, "_uniform_bits", lambda key, size: jnp.full(size, 65535))
    dequantize = jax.jit(functools.partial(data.dequantize, max_value=max_value))
    x_D = dequantize(jax.random.key(0), np.full(3, max_value, np.uint8))
    assert float(x_D.max()) < 1.0
    assert float(x_D.min()) >= max_value / (max_value + 1)


def test_identity_keeps_real_values():
    x_D = np.asarray([-1.5, 0.0, 3.25], np.float32)
    observed_D = data.identity(jax.random.key(0), x_D)
    assert observed_D.dtype == jnp.float32
    np.testing.assert_array_equal(observed_D, x_D)


@pytest.mark.parametrize("observation", [data.binarize, data.dequantize])
def test_probabilities_are_not_taken_for_pixels(observation):
    with pytest.raises(TypeError, match="integers"):
        observation(jax.random.key(0), np.full(3, 0.5, np.float32), max_value=255)


BINARIZE = functools.partial(data.binarize, max_value=255)
DEQUANTIZE = functools.partial(data.dequantize, max_value=255)


@pytest.fixture
def batch():
    random = np.random.RandomState(3)
    pixels_BxD = random.randint(0, 256, (12, 31)).astype(np.uint8)
    return pixels_BxD, random.permutation(1000)[:12].astype(np.int32)


@pytest.mark.parametrize("observation", [BINARIZE, DEQUANTIZE])
def test_observation_does_not_depend_on_batch_order_or_jit(observation, batch):
    pixels_BxD, index_B = batch
    key = jax.random.key(4)
    observe = jax.jit(functools.partial(data_observe.observe, key, observation=observation))
    x_BxD = observe(pixels_BxD, index_B)
    order_B = np.random.RandomState(5).permutation(12)
    np.testing.assert_array_equal(observe(pixels_BxD[order_B], index_B[order_B]), x_BxD[order_B])
    for rows in (slice(0, 6), slice(6, 12)):
        np.testing.assert_array_equal(observe(pixels_BxD[rows], index_B[rows]), x_BxD[rows])
    alone_D = observation(jax.random.fold_in(key, index_B[7]), pixels_BxD[7])  # without jit
    np.testing.assert_array_equal(alone_D, x_BxD[7])


def test_dynamic_binarisation_differs_by_step_and_static_does_not(batch):
    pixels_BxD, index_B = batch
    key = jax.random.key(6)

    def dynamic(step):
        return data_observe.observe(jax.random.fold_in(key, step), pixels_BxD, index_B, observation=BINARIZE)

    assert np.any(dynamic(0) != dynamic(1))
    np.testing.assert_array_equal(dynamic(1), dynamic(1))
    static = [data_observe.observe(key, pixels_BxD, index_B, observation=BINARIZE) for _ in range(2)]
    np.testing.assert_array_equal(*static)


def test_equal_images_of_two_datapoints_are_observed_independently():
    pixels_BxD = np.full((2, 4096), 128, np.uint8)
    x_BxD = np.asarray(
        data_observe.observe(jax.random.key(7), pixels_BxD, np.arange(2), observation=BINARIZE)
    )
    # A correlation of independent draws has standard error 1/sqrt(D).
    assert abs(np.corrcoef(x_BxD)[0, 1]) < 5 / np.sqrt(4096)


# The order of training


@pytest.mark.parametrize(
    ("batch_size", "num_points"), [(4, 12), (5, 12), (12, 12), (30, 12), (1, 1), (7, 60)]
)
def test_every_epoch_is_a_permutation_across_batch_borders(batch_size, num_points):
    num_epochs = 5
    num_steps = -(-num_epochs * num_points // batch_size)
    rows_TxB = data.batch_indices(3, 0, num_steps, batch_size=batch_size, num_points=num_points)
    assert rows_TxB.dtype == np.int32
    assert rows_TxB.shape == (num_steps, batch_size)
    epochs_ExN = rows_TxB.reshape(-1)[: num_epochs * num_points].reshape(num_epochs, num_points)
    np.testing.assert_array_equal(
        np.sort(epochs_ExN, axis=1), np.tile(np.arange(num_points), (num_epochs, 1))
    )


def test_order_does_not_depend_on_chunks_or_on_where_a_run_resumed():
    order = functools.partial(data.batch_indices, 11, batch_size=7, num_points=20)
    whole_TxB = order(0, 40)
    for chunks in ([1] * 40, [13, 0, 20, 7], [39, 1]):
        starts = np.cumsum([0, *chunks[:-1]])
        pieces = [order(int(start), length) for start, length in zip(starts, chunks, strict=True)]
        np.testing.assert_array_equal(np.concatenate(pieces), whole_TxB)
    # Far into a run, and beyond the range of 32 bits, it is the same stream.
    np.testing.assert_array_equal(order(10**10, 3)[1:], order(10**10 + 1, 2))


def test_epochs_and_seeds_give_different_orders():
    def epochs(seed):
        return data.batch_indices(seed, 0, 4, batch_size=100, num_points=100)

    assert len({tuple(row) for seed in (0, 1, 2**32, 2**32 + 1) for row in epochs(seed)}) == 16


def test_first_row_of_an_epoch_is_uniform():
    num_epochs, num_points = 3000, 5
    rows_ExN = data.batch_indices(0, 0, num_epochs, batch_size=num_points, num_points=num_points)
    counts = np.bincount(rows_ExN[:, 0], minlength=num_points)
    stderr = np.sqrt(num_epochs * 0.2 * 0.8)
    assert np.all(np.abs(counts - num_epochs / num_points) < 5 * stderr)


def test_order_is_frozen():
    rows_TxB = data.batch_indices(0, 0, 4, batch_size=4, num_points=8)
    assert rows_TxB.tolist() == ORDER_GOLDEN


@pytest.mark.parametrize("bad", [{"batch_size": 0}, {"num_points": 0}, {"start_step": -1}, {"num_steps": -1}])
def test_order_rejects_bad_sizes(bad):
    sizes = {"start_step": 0, "num_steps": 1, "batch_size": 2, "num_points": 3} | bad
    with pytest.raises(ValueError, match=f"{next(iter(bad))}={next(iter(bad.values()))}"):
        data.batch_indices(0, **sizes)


# Digits


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", data_dir="unused")


def test_digits_splits_are_disjoint_and_complete(digits):
    assert {name: len(split.label_N) for name, split in digits.splits.items()} == {
        "train": 1257,
        "validation": 180,
        "test": 360,
    }
    index_N = np.concatenate([split.index_N for split in digits.splits.values()])
    np.testing.assert_array_equal(np.sort(index_N), np.arange(1797))
    assert (digits.image_shape, digits.max_value) == ((8, 8), 16)


def test_digits_are_the_indexed_images_of_their_source(digits):
    from sklearn.datasets import load_digits

    source = load_digits()
    for split in digits.splits.values():
        assert [field.dtype for field in split] == [np.uint8, np.int32, np.int32]
        np.testing.assert_array_equal(split.pixels_NxD, source.data[split.index_N])
        np.testing.assert_array_equal(split.label_N, source.target[split.index_N])


def test_digits_are_the_same_everywhere(digits):
    assert digest(digits) == DIGITS_GOLDEN


def nearest_centroid_accuracy(dataset: data.DataSet) -> float:
    train, test = dataset.splits["train"], dataset.splits["test"]
    labels = np.unique(train.label_N)
    centroids_CxD = np.stack([train.pixels_NxD[train.label_N == c].mean(0) for c in labels])
    scores_NxC = test.pixels_NxD @ centroids_CxD.T - (centroids_CxD**2).sum(1) / 2
    return float(np.mean(labels[scores_NxC.argmax(1)] == test.label_N))


def test_digits_labels_align_with_images(digits):
    assert nearest_centroid_accuracy(digits) > 0.8


# Data sets of tensorflow-datasets, by fake rows


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


def random_rows(num_rows: int, seed: int) -> list[tuple[np.ndarray, int]]:
    random = np.random.RandomState(seed)
    return [
        (random.randint(0, 256, (28, 28)).astype(np.uint8), int(random.randint(10))) for _ in range(num_rows)
    ]


KMNIST = {"train": random_rows(36, 0), "test": random_rows(5, 1)}


def test_last_twelfth_of_train_is_validation_in_prepared_order(prepared):
    dataset = data.load("kmnist", data_dir=prepared("kmnist", KMNIST).dir)
    assert (dataset.name, dataset.image_shape, dataset.max_value) == ("kmnist", (28, 28), 255)
    expected = {
        "train": (KMNIST["train"][:33], range(33)),
        "validation": (KMNIST["train"][33:], range(33, 36)),
        "test": (KMNIST["test"], range(36, 41)),
    }
    assert tuple(dataset.splits) == SPLITS
    for name, (rows, index) in expected.items():
        split = dataset.splits[name]
        assert [field.dtype for field in split] == [np.uint8, np.int32, np.int32]
        np.testing.assert_array_equal(split.pixels_NxD, [pixels.reshape(-1) for pixels, _ in rows])
        np.testing.assert_array_equal(split.label_N, [label for _, label in rows])
        np.testing.assert_array_equal(split.index_N, index)


def test_binarized_mnist_keeps_its_own_splits_and_levels(prepared):
    rows = {name: [((pixels > 127).astype(np.uint8), -1) for pixels, _ in random_rows(n, n)]
            for name, n in [("train", 6), ("validation", 3), ("test", 4)]}  # fmt: skip
    dataset = data.load("binarized_mnist", data_dir=prepared("binarized_mnist", rows).dir)
    assert dataset.max_value == 1
    for name, start in [("train", 0), ("validation", 6), ("test", 9)]:
        split = dataset.splits[name]
        np.testing.assert_array_equal(split.pixels_NxD, [pixels.reshape(-1) for pixels, _ in rows[name]])
        np.testing.assert_array_equal(split.index_N, start + np.arange(len(rows[name])))
        assert np.all(split.label_N == -1)
        x_D = data.binarize(jax.random.key(0), split.pixels_NxD[0], max_value=dataset.max_value)
        np.testing.assert_array_equal(x_D, split.pixels_NxD[0])


def test_omniglot_is_white_strokes_on_black_averaged_over_areas(prepared):
    blank = np.full((105, 105, 3), 255, np.uint8)
    stroke = blank.copy()
    stroke[30:75, 15:45] = 0
    rows = {"train": [(stroke, 7)] * 20, "test": [(blank, 3)]}
    dataset = data.load("omniglot", data_dir=prepared("omniglot", rows).dir)
    assert (dataset.image_shape, dataset.max_value) == ((28, 28), 255)
    assert [len(dataset.splits[name].label_N) for name in SPLITS] == [18, 2, 1]
    assert np.all(dataset.splits["test"].pixels_NxD == 0)
    # 105 / 28 = 3.75: the stroke's edges lie at the borders of pixels 8..19 and 4..11.
    expected = np.zeros((28, 28), np.uint8)
    expected[8:20, 4:12] = 255
    np.testing.assert_array_equal(dataset.splits["train"].pixels_NxD[0].reshape(28, 28), expected)
    assert dataset.splits["validation"].label_N.tolist() == [7, 7]


def test_omniglot_keeps_the_mean_of_a_fine_pattern(prepared):
    ink = np.random.RandomState(8).rand(105, 105) < 0.3
    image = np.where(ink, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    rows = {"train": [(image, 0)] * 10, "test": [(image, 0)]}
    pixels_D = data.load("omniglot", data_dir=prepared("omniglot", rows).dir).splits["test"].pixels_NxD[0]
    # A pixel of the result averages 9 to 16 of the source's.
    assert abs(pixels_D.mean() / 255 - ink.mean()) < 5 * np.sqrt(0.3 * 0.7 / (9 * 784))
    assert pixels_D.std() / 255 < 1.5 * np.sqrt(0.3 * 0.7 / 9)


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


# What a user gets wrong


def one_line(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "near"), [("mnits", "mnist"), ("fashion-mnist", "fashion_mnist"), ("Digits", "digits")]
)
def test_unknown_name_suggests_the_nearest(name, near, tmp_path):
    with pytest.raises(data.DataError) as error:
        data.load(name, data_dir=tmp_path)
    assert f"did you mean {near!r}" in one_line(error)


def test_data_not_prepared_names_the_command(tmp_path):
    with pytest.raises(data.DataError) as error:
        data.load("mnist", data_dir=tmp_path)
    assert f"`python -m vaelab.prepare mnist --data_dir={tmp_path}`" in one_line(error)


def test_data_prepared_in_another_format_is_refused(prepared):
    fake = prepared("kmnist", KMNIST, fileFormat="tfrecord")
    with pytest.raises(data.DataError, match=r"tfrecord.*another --data_dir") as error:
        data.load("kmnist", data_dir=fake.dir)
    one_line(error)


@pytest.mark.parametrize("info", [None, "", "{", "[]", "{}"])
def test_half_prepared_data_is_named_and_refused(info, tmp_path):
    folder = tmp_path / "kmnist" / "3.0.1"
    folder.mkdir(parents=True)
    if info is not None:
        (folder / "dataset_info.json").write_text(info)
    with pytest.raises(data.DataError) as error:
        data.load("kmnist", data_dir=tmp_path)
    assert f"{folder} has no readable dataset_info.json: delete it" in one_line(error)


def test_damaged_records_are_named_and_refused(prepared, monkeypatch):
    fake = prepared("kmnist", KMNIST)

    def read_rows(recipe, split, data_dir):
        yield png(KMNIST["train"][0][0]), 0
        raise RuntimeError("chunk header hash mismatch\nat byte 7")

    monkeypatch.setattr(tfds, "_read_rows", read_rows)
    with pytest.raises(data.DataError, match=r"damaged \(chunk header hash mismatch\): delete it") as error:
        data.load("kmnist", data_dir=fake.dir)
    one_line(error)
    assert not fake.cache.exists()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_images_other_than_the_published_ones_are_refused(name, prepared):
    fake = prepared(name, KMNIST)
    with pytest.raises(data.DataError, match="does not hold the images") as error:
        data.load(name, data_dir=fake.dir)
    one_line(error)
    assert not fake.cache.exists()


# Imports


def run_python(code: str, *args: object) -> str:
    command = [sys.executable, "-c", code, *map(str, args)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def write_array_records(data_dir: Path, images: dict[str, np.ndarray]) -> None:
    """A kmnist data set as TFDS prepares it; image i of a split has the label i."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    folder = data_dir / "kmnist" / "3.0.1"
    folder.mkdir(parents=True)
    prefix = "tensorflow_datasets.core.features."
    image = {"image": {"dtype": "uint8", "shape": {"dimensions": ["28", "28", "1"]}}}
    image["pythonClassName"] = prefix + "image_feature.Image"
    label = {"classLabel": {"numClasses": "10"}, "pythonClassName": prefix + "class_label_feature.ClassLabel"}
    features = {"featuresDict": {"features": {"image": image, "label": label}}}
    features["pythonClassName"] = prefix + "features_dict.FeaturesDict"
    (folder / "features.json").write_text(json.dumps(features))
    splits = []
    for split, images_Nx28x28 in images.items():
        writer = ArrayRecordWriter(
            str(folder / f"kmnist-{split}.array_record-00000-of-00001"), "group_size:1"
        )
        for i, pixels in enumerate(images_Nx28x28):
            example = tf_example_pb2.Example()
            example.features.feature["image"].bytes_list.value.append(png(pixels))
            example.features.feature["label"].int64_list.value.append(i)
            writer.write(example.SerializeToString())
        writer.close()
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        lengths = [str(len(images_Nx28x28))]
        splits.append({"name": split, "shardLengths": lengths, "numBytes": "1", "filepathTemplate": template})
    info = {"name": "kmnist", "version": "3.0.1", "fileFormat": "array_record", "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))


def test_reading_array_records_needs_no_tensorflow_and_import_no_reader(tmp_path):
    images = {
        "train": np.stack([pixels for pixels, _ in random_rows(9, 2)]),
        "test": np.stack([pixels for pixels, _ in random_rows(4, 3)]),
    }
    write_array_records(tmp_path, images)
    code = """
import sys
import numpy as np
from vaelab import data
readers = {"sklearn", "PIL", "tensorflow_datasets", "array_record", "tensorflow"}
assert not readers & {name.split(".")[0] for name in sys.modules}
splits = data.load("kmnist", data_dir=sys.argv[1]).splits
assert "tensorflow" not in sys.modules
np.savez(sys.argv[2], **{f"{name}_{i}": field for name in splits for i, field in enumerate(splits[name])})
"""
    run_python(code, tmp_path, tmp_path / "read.npz")
    with np.load(tmp_path / "read.npz") as read:
        np.testing.assert_array_equal(read["train_0"], images["train"].reshape(9, 784))
        np.testing.assert_array_equal(read["train_1"], np.arange(9))
        np.testing.assert_array_equal(read["test_0"], images["test"].reshape(4, 784))
        np.testing.assert_array_equal(read["test_2"], np.arange(9, 13))


# The true archives

PUBLISHED = tuple(PUBLISHED_GOLDEN)


@pytest.fixture(scope="session")
def published():
    folder = Path(os.environ.get("VAELAB_ARCHIVES", ""))
    if "VAELAB_ARCHIVES" not in os.environ or not all((folder / name).is_dir() for name in PUBLISHED):
        pytest.skip("no archives: set VAELAB_ARCHIVES to a folder that holds mnist/ and fashion_mnist/")
    return folder


@pytest.fixture(scope="session")
def prepared_dir(published, tmp_path_factory):
    if "VAELAB_DATA_DIR" in os.environ:
        return Path(os.environ["VAELAB_DATA_DIR"])
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("not prepared: set VAELAB_DATA_DIR to a prepared data_dir, or install tensorflow-cpu")
    folder = tmp_path_factory.mktemp("prepared")
    for name in PUBLISHED:
        command = [
            sys.executable,
            "-m",
            "vaelab.prepare",
            name,
            "--manual_dir",
            published / name,
            "--data_dir",
            folder,
        ]
        subprocess.run(command, cwd=ROOT, check=True)
    return folder


def raw_rows(folder: Path, prefix: str) -> np.ndarray:
    """uint8 [N, 785]: pixels and label from the IDX files, sorted, for TFDS shuffles them."""
    images = gzip.decompress((folder / f"{prefix}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())[8:]
    pixels_NxD = np.frombuffer(images, np.uint8).reshape(-1, 784)
    return sorted_rows(pixels_NxD, np.frombuffer(labels, np.uint8))


def sorted_rows(pixels_NxD: np.ndarray, label_N: np.ndarray) -> np.ndarray:
    rows = np.concatenate([pixels_NxD, label_N[:, None].astype(np.uint8)], axis=1)
    return rows[np.argsort(rows.view(f"S{rows.shape[1]}")[:, 0], kind="stable")]


@pytest.mark.mnist_archives
@pytest.mark.parametrize("name", PUBLISHED)
def test_splits_hold_exactly_the_images_of_the_archives(name, published, prepared_dir):
    dataset = data.load(name, data_dir=prepared_dir)
    assert [len(dataset.splits[split].label_N) for split in SPLITS] == [55_000, 5_000, 10_000]
    train, validation, test = (dataset.splits[split] for split in SPLITS)
    together = sorted_rows(
        np.concatenate([train.pixels_NxD, validation.pixels_NxD]),
        np.concatenate([train.label_N, validation.label_N]),
    )
    np.testing.assert_array_equal(together, raw_rows(published / name, "train"))
    np.testing.assert_array_equal(sorted_rows(*test[:2]), raw_rows(published / name, "t10k"))
    index_N = np.concatenate([train.index_N, validation.index_N, test.index_N])
    np.testing.assert_array_equal(index_N, np.arange(70_000))


@pytest.mark.mnist_archives
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_data_sets_are_the_same_everywhere(name, prepared_dir):
    assert digest(data.load(name, data_dir=prepared_dir)) == PUBLISHED_GOLDEN[name]


@pytest.mark.mnist_archives
def test_archives_are_the_ones_that_the_builders_expect(published, tmp_path):
    for name in PUBLISHED:
        archives.check(tfds.builder(name, VERSIONS[name], tmp_path).url_infos, published / name)
