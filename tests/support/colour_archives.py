"""Archives in the exact formats of CIFAR-10, SVHN and CelebA, of made rows, and sources that believe them."""

import hashlib
import io
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np

from vaelab import data
from vaelab.data import celeba, colour_archives


def images(count, shape=(32, 32, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


class Latin(pickle._Pickler):
    """Writes text as Python 2 did, bytes of one byte a letter, as the published batches have it."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, obj):
        self.write(pickle.BINSTRING + len(obj).to_bytes(4, "little") + obj)
        self.memoize(obj)

    def save_str(self, obj):
        self.save_bytes(obj.encode("ascii"))

    dispatch[bytes], dispatch[str] = save_bytes, save_str


def batch(images_Mx32x32x3, label_M, **changes):
    """A pickle of protocol 2: rows of 1,024 red, green and blue levels, and a list of labels."""
    rows = np.moveaxis(images_Mx32x32x3, 3, 1).reshape(len(label_M), -1)
    content = {
        b"batch_label": b"training batch",
        b"labels": [int(label) for label in label_M],
        b"data": rows,
        b"filenames": [b"a.png"] * len(label_M),
    } | {name.encode(): value for name, value in changes.items()}
    buffer = io.BytesIO()
    Latin(buffer, protocol=2).dump(content)
    return buffer.getvalue()


def write_cifar10(folder: Path, batches: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in batches.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def cifar10(folder: Path, size=4) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Writes five batches of `size` and a test batch of 6; what they hold by split."""
    parts, batches = {"train": [], "test": []}, {}
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for seed, name in enumerate(names):
        count = 6 if name == "test_batch" else size
        pixels, label = images(count, seed=seed), (np.arange(count) + seed) % 10
        batches[name] = batch(pixels, label)
        parts["test" if name == "test_batch" else "train"].append((pixels, label))
    write_cifar10(folder, batches)
    return {
        split: tuple(np.concatenate(part) for part in zip(*some, strict=True))
        for split, some in parts.items()
    }


def svhn_cropped(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Writes both files, in which the digit 0 is called 10; what they hold by split."""
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    parts = {"train": (images(20), np.arange(20) % 10), "test": (images(4, seed=1), np.arange(4))}
    for split, (pixels, label) in parts.items():
        stored = np.where(label == 0, 10, label).astype(np.uint8)[:, None]
        content = {"X": np.moveaxis(pixels, 0, 3), "y": stored}
        savemat(folder / f"{split}_32x32.mat", content, do_compression=True)
    return parts


def jpeg(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


PARTS = (0, 0, 1, 0, 2, 1, 2, 0)  # of the partition: train, validation, test


def celeba_images(shape=(218, 178, 3)) -> dict[str, bytes]:
    made = {f"{i + 1:06d}.jpg": jpeg(images(1, shape, i)[0]) for i in range(len(PARTS))}
    return made | {"000001.jpg": jpeg(np.full(shape, 255, np.uint8))}


def write_celeba(folder: Path, content: dict[str, bytes], *, zipped=True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{i + 1:06d}.jpg {part}" for i, part in enumerate(PARTS)]
    (folder / celeba.PARTITION).write_text("\n".join(names) + "\n")
    if not zipped:
        (folder / celeba.IMAGES).mkdir()
        for name, image in content.items():
            (folder / celeba.IMAGES / name).write_bytes(image)
        return
    with zipfile.ZipFile(folder / f"{celeba.IMAGES}.zip", "w") as archive:
        for name, image in content.items():
            archive.writestr(f"{celeba.IMAGES}/{name}", image)


WRITERS = {
    "cifar10": cifar10,
    "cifar10_3bit": cifar10,
    "svhn_cropped": svhn_cropped,
    "celeba": lambda folder: write_celeba(folder, celeba_images()),
}


def believed(name: str, folder: Path) -> data.Source:
    """The source of this name, which takes the archives of the folder for the published ones."""
    (recipe,) = data.SOURCES[name].load.args
    known = {
        url: archive._replace(checksum=sha256(folder / archive.filename))
        for url, archive in recipe.archives.items()
    }
    return colour_archives.source(recipe._replace(archives=known))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
