"""CelebA (Liu et al. 2015), aligned and cropped, at 64x64, from its zip or the folder in it."""

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vaelab.data.colour_archives import Archive, New, Recipe, Source, reading, source
from vaelab.data.sources import SPLITS, DataError

SIDE = 64
SIZE = (178, 218)  # width and height of the published images
MIDDLE = 148  # pixels, the side of the square in their middle that is kept
IMAGES, PARTITION = "img_align_celeba", "list_eval_partition.txt"
PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
ARCHIVES = {
    f"{PAGE}#{IMAGES}": Archive(
        f"{IMAGES}.zip", "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74"
    ),
    f"{PAGE}#partition": Archive(
        PARTITION, "fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7"
    ),
}


def aligned() -> Source:
    """64x64x3, with the published splits and no labels.

    The square of 148x148 in the middle of each image is brought to 64x64 by means over areas.
    """
    recipe = Recipe(
        "celeba", (SIDE, SIDE, 3), ARCHIVES, read, stored="celeba_64", downloads=False, needed=needed
    )
    return source(recipe)


def needed(folder: Path, archives: Mapping[str, Archive]) -> dict[str, Archive]:
    """The files that are read from the folder: without a zip its images are in a folder of its name."""
    unpacked = (folder / IMAGES).is_dir() and not (folder / f"{IMAGES}.zip").exists()
    return {
        url: archive for url, archive in archives.items() if not (unpacked and archive.filename != PARTITION)
    }


def read(folder: Path, new: New) -> dict[str, np.ndarray]:
    """Fills new(split, count) in the order of the partition; the labels are -1, none. Raises DataError."""
    names_of = _partition(folder / PARTITION)
    with _opened(folder) as content_of:
        for split, names in names_of.items():
            images = new(split, len(names))
            for number, name in enumerate(names):
                with reading(folder / IMAGES / name):
                    images[number] = _pixels(content_of(name))
    return {split: np.full(len(names), -1, np.int32) for split, names in names_of.items()}


def _partition(path: Path) -> dict[str, list[str]]:
    """The names of the images of each split."""
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    with reading(path):
        for line in path.read_text().splitlines():
            name, part = line.split()
            names[SPLITS[int(part)]].append(name)
    empty = [split for split, some in names.items() if not some]
    if empty:
        raise DataError(f"{path} names no image of {empty[0]}: bring the published file again")
    return names


@contextmanager
def _opened(folder: Path) -> Iterator[Callable[[str], bytes]]:
    """The bytes of an image by its name, from the zip where there is one."""
    path = folder / f"{IMAGES}.zip"
    if not path.exists():
        yield lambda name: (folder / IMAGES / name).read_bytes()
        return
    with reading(path):
        archive = zipfile.ZipFile(path)
    with archive:
        yield lambda name: archive.read(f"{IMAGES}/{name}")


def _pixels(content: bytes) -> np.ndarray:
    """uint8 [64, 64, 3]."""
    from PIL import Image

    image = Image.open(io.BytesIO(content)).convert("RGB")
    if image.size != SIZE:
        raise ValueError(f"it has {image.width}x{image.height} pixels, not {SIZE[0]}x{SIZE[1]}")
    left, top = ((side - MIDDLE) // 2 for side in SIZE)
    square = np.float32(image)[top : top + MIDDLE, left : left + MIDDLE]
    # Exact means over areas: PIL gives each pixel to one alone.
    across = np.tensordot(SHARES, square, 1)
    return np.rint(np.einsum("jb,ibc->ijc", SHARES, across)).astype(np.uint8)


def _shares() -> np.ndarray:
    """[SIDE, MIDDLE]: the part of each old pixel in each new one, along one side."""
    edges, old = np.linspace(0.0, MIDDLE, SIDE + 1), np.arange(MIDDLE)
    inside = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return np.float32(np.maximum(inside, 0.0) * SIDE / MIDDLE)


SHARES = _shares()
