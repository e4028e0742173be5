"""The cache of decoded images: it only saves time, and is made anew where it cannot be trusted."""

import contextlib
import sys
import uuid
from pathlib import Path

import numpy as np

from vaelab.data.sources import first_line

Parts = dict[str, tuple[np.ndarray, np.ndarray]]
"""The splits as they were prepared: name -> (pixels_NxD uint8, label_N int32)."""


def read(path: Path, splits: tuple[str, ...], fingerprint: str | None, *, num_pixels: int) -> Parts | None:
    """The decoded splits; None where there is no cache, or, with a warning, none to be trusted.

    fingerprint: that of the prepared data; None where they are gone, and the cache is taken as it is.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            if fingerprint not in (None, str(arrays["fingerprint"])):
                raise ValueError("it was made from other data")
            parts = {s: (arrays[f"{s}_pixels"], arrays[f"{s}_label"]) for s in splits}
        for pixels_NxD, label_N in parts.values():
            if pixels_NxD.dtype != np.uint8 or pixels_NxD.shape != (len(label_N), num_pixels):
                raise ValueError("its arrays have other shapes")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:
        # Broad, for a damaged zip raises nearly anything, zlib.error and EOFError among it.
        reason = f"the cache {path} is unusable ({first_line(error)})"
        print(f"warning: {reason}: decoding again", file=sys.stderr)
        return None
    return parts


def write(path: Path, parts: Parts, fingerprint: str) -> None:
    """Writes beside and renames, so that a kill leaves no half file. A folder that cannot be
    written is no error."""
    arrays = {"fingerprint": np.asarray(fingerprint)}
    for split, (pixels_NxD, label_N) in parts.items():
        arrays |= {f"{split}_pixels": pixels_NxD, f"{split}_label": label_N}
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as file:
                np.savez(file, **arrays)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
