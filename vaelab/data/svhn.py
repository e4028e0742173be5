"""Street View House Numbers, cropped (Netzer et al. 2011), from its MATLAB files."""

from pathlib import Path

import numpy as np

from vaelab.data.colour_archives import Archive, New, Recipe, Source, reading, source
from vaelab.data.sources import DataError

SHAPE = (32, 32, 3)
URL = "http://ufldl.stanford.edu/housenumbers"
FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
CHECKSUMS = {
    "train": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    "test": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
}
ARCHIVES = {f"{URL}/{file}": Archive(file, CHECKSUMS[split]) for split, file in FILES.items()}
LABELS = tuple(map(str, range(10)))


def cropped() -> Source:
    """Digits of 32x32x3, without the extra ones.

    The last tenth of the 73,257 to train on is for validation.
    """
    return source(
        Recipe(
            "svhn_cropped",
            SHAPE,
            ARCHIVES,
            read,
            stored="svhn_cropped",
            label_names=LABELS,
            validation_divisor=10,
        )
    )


def read(folder: Path, new: New) -> dict[str, np.ndarray]:
    """Fills new(split, count) in the order of the files, and gives the labels, 0 for what they call 10."""
    from scipy.io import loadmat

    labels = {}
    for split, file in FILES.items():
        path = folder / file
        with reading(path):
            content = loadmat(path, variable_names=("X", "y"))
            images, label_N = content["X"], content["y"].reshape(-1)
        if images.dtype != np.uint8 or images.shape != (*SHAPE, len(label_N)):
            line = f"{path} holds X of {images.dtype} {images.shape} and {len(label_N)} labels"
            raise DataError(f"{line}: bring the published file again")
        new(split, len(label_N))[:] = np.moveaxis(images, 3, 0)
        labels[split] = label_N % 10
    return labels
