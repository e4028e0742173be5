"""Images of any size, decoded into one array of bytes."""

import contextlib
import hashlib
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vaelab.data.settings import Settings
from vaelab.data.sources import DataError, first_line, folder

GREY = ("1", "L", "LA")
DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # that PIL cuts to 8 bits without scaling them
STORED_DEEP = re.compile(r";16[BLN]$")  # how PIL calls 16 bits a channel, of which it reads the upper 8
TRANSPARENT = ("LA", "RGBA", "PA", "La", "RGBa")


class Item(NamedTuple):
    """An image: its name for a person, and what opens it as a PIL image."""

    name: str
    open: Callable[[], Any]


class _Head(NamedTuple):
    """An image as it is seen upright. transparent: whether parts may be; num_frames: with pages, too."""

    width: int
    height: int
    mode: str
    transparent: bool
    num_frames: int


def decoded(
    items: Sequence[Item], settings: Settings, *, what: str, stamp: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """(uint8 [N, h, w] or [N, h, w, c], notes on what was done) of all images.

    With settings.image_shape each is cut to its middle in the proportions of this shape, and brought to its
    size. What is larger than settings.memory_bytes is decoded once, into a file below data_dir that is then
    mapped; stamp: what that file is known by. Raises DataError for what cannot be read, and for images of
    several sizes without an image_shape.
    """
    heads = [_head(item) for item in items]
    shape, notes = _target(items, heads, settings.image_shape, what)
    full, name = (len(items), *shape), hashlib.sha256(f"{stamp} {shape}".encode()).hexdigest()[:24]
    if np.prod(full) <= settings.memory_bytes:
        return _filled(np.empty(full, np.uint8), items, shape), notes
    place = folder(settings.data_dir) / "vaelab"
    path = place / f"images-{name}.npy"
    if not path.is_file():
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        try:
            place.mkdir(parents=True, exist_ok=True)
            array = np.lib.format.open_memmap(partial, "w+", np.uint8, full)
            _filled(array, items, shape).flush()
            partial.replace(path)
        except OSError as error:
            line = f"{what} takes {np.prod(full):,} bytes decoded, and {place} cannot hold them"
            problem = f"{line} ({error.strerror})"
            raise DataError.of(setting="data.data_dir", problem=problem, fix="give another") from error
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r"), notes


def _filled(array: np.ndarray, items: Sequence[Item], shape: tuple[int, ...]) -> np.ndarray:
    for i, item in enumerate(items):
        array[i] = _pixels(item, shape)
    return array


def _read(item: Item, read: Callable[[Any], Any]) -> Any:
    """read(image). Raises DataError with the name of the image."""
    from PIL import Image

    try:
        with item.open() as image:
            return read(image)
    except Image.UnidentifiedImageError:
        raise DataError(f"{item.name} is no image that can be read: mend it, or take it out") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise DataError(f"{item.name} cannot be read ({reason}): mend it, or take it out") from error


def _head(item: Item) -> _Head:
    # In this order, for what is loaded no longer says how it is stored.
    stored, head = _read(item, lambda image: (_stored_mode(image), _seen(image)))
    if head.mode in DEEP or STORED_DEEP.search(stored):
        mode = stored or head.mode
        raise DataError(f"{item.name} has more than 8 bits a pixel (mode {mode}): convert it to 8 bits")
    return head


def _seen(image: Any) -> _Head:
    frames = getattr(image, "n_frames", 1)
    return _Head(*_upright_size(image), image.mode, _is_transparent(image), frames)


def _is_transparent(image: Any) -> bool:
    return image.mode in TRANSPARENT or "transparency" in image.info


def _stored_mode(image: Any) -> str:
    """How its pixels are stored, in PIL's words, which is not always how they are read; "" if not known."""
    tiles = getattr(image, "tile", None)
    stored = tiles[0][3] if tiles else ""
    stored = stored[0] if isinstance(stored, tuple) and stored else stored
    return stored if isinstance(stored, str) else ""


def _upright_size(image: Any) -> tuple[int, int]:
    """(width, height) as a camera held upright would have it: EXIF orientations from 5 on exchange them."""
    width, height = image.size
    return (height, width) if image.getexif().get(ORIENTATION, 1) >= 5 else (width, height)


ORIENTATION = 0x0112


def _target(
    items: Sequence[Item], heads: Sequence[_Head], image_shape: Sequence[int], what: str
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """(the shape of every decoded image, notes)."""
    colour = any(head.mode not in GREY for head in heads)
    sizes = sorted({(head.height, head.width) for head in heads})
    notes = []
    if image_shape:
        shape = tuple(image_shape)
        if not 2 <= len(shape) <= 3 or min(shape) < 1 or (len(shape) == 3 and shape[2] not in (1, 3)):
            problem = "must be (height, width), for grey, or (height, width, 3)"
            raise DataError.of(setting="data.image_shape", value=shape, problem=problem)
        shape = shape[:2] if shape[2:] == (1,) else shape
        if sizes != [shape[:2]]:
            notes.append(_resized(what, sizes, shape))
        if colour and len(shape) == 2:
            notes.append(f"colour images of {what} taken as grey, 0.299 R + 0.587 G + 0.114 B")
    elif len(sizes) > 1:
        first, other = next(
            (a, b) for a, b in ((0, i) for i in range(len(heads))) if heads[a][:2] != heads[b][:2]
        )
        said = " and ".join(f"{items[i].name} {heads[i].height}x{heads[i].width}" for i in (first, other))
        problem = f"{what} holds images of several sizes, as {said}"
        fix = "give (height, width, 3), to which each is brought"
        raise DataError.of(setting="data.image_shape", problem=problem, fix=fix)
    else:
        shape = (*sizes[0], 3) if colour else sizes[0]
    if any(head.transparent for head in heads):
        notes.append(f"the transparency of images of {what} is left out: each has its colours on black")
    several = [item.name for item, head in zip(items, heads, strict=True) if head.num_frames > 1]
    if several:
        notes.append(
            f"{len(several)} images have several frames or pages, as {several[0]}: the first is taken"
        )
    return shape, tuple(notes)


def _resized(what: str, sizes: Sequence[tuple[int, int]], shape: Sequence[int]) -> str:
    low, high = "x".join(map(str, sizes[0])), "x".join(map(str, sizes[-1]))
    of = low if len(sizes) == 1 else f"{low} to {high}"
    ratios = {height * shape[1] == width * shape[0] for height, width in sizes}
    cut = "" if ratios == {True} else f" cut to the middle of the proportions {shape[0]}:{shape[1]} and"
    return f"images of {what}, {of},{cut} brought to {shape[0]}x{shape[1]} by means over areas"


def _pixels(item: Item, shape: tuple[int, ...]) -> np.ndarray:
    """uint8 of this shape."""
    return _read(item, lambda image: _prepared(image, shape))


def _prepared(image: Any, shape: tuple[int, ...]) -> np.ndarray:
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if _is_transparent(image):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    image = image.convert("L" if len(shape) == 2 else "RGB")
    height, width = shape[:2]
    if image.size != (width, height):
        # BOX is the mean over an area where it shrinks, but repeats pixels where it enlarges.
        shrinks = image.width >= width and image.height >= height
        method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
        image = ImageOps.fit(image, (width, height), method)
    return np.asarray(image)
