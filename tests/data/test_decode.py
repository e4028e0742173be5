"""Images of any size and kind as one array of bytes."""

import struct
import zlib

import numpy as np
import pytest

from tests.support.files import COLOUR, GREY, load, one_line, whole, write_images
from vaelab.data.decode import Item, decoded
from vaelab.data.settings import Settings


def test_images_are_brought_to_a_size_and_how_is_said(tmp_path):
    halves = np.zeros((4, 8, 12, 3), np.uint8)
    halves[:, :, 6:] = 200
    folder = write_images(tmp_path / "photos", [*halves, *halves[:, :, 2:-2]] * 3)
    dataset = load(folder, image_shape=(4, 4, 3))
    cut = f"images of {folder}, 8x8 to 8x12, cut to the middle of the proportions 4:4 and brought to 4x4 by"
    assert dataset.notes[0].startswith(cut)
    # The middle 8x8 of each is black on its left half; every pixel is the mean of four.
    expected = np.repeat([0, 0, 200, 200], 3)
    x, _ = whole(dataset)
    np.testing.assert_array_equal(x.reshape(24, 4, 12), np.broadcast_to(expected, (24, 4, 12)))


def test_grey_and_colour_together_are_colour_and_black_is_behind_what_is_transparent(tmp_path):
    clear = np.full((6, 5, 4), 90, np.uint8)
    clear[..., 3] = 0
    folder = write_images(tmp_path / "photos", [*GREY[:30], *COLOUR[:29], clear])
    dataset = load(folder)
    x, _ = whole(dataset)
    assert dataset.image_shape == (6, 5, 3)
    np.testing.assert_array_equal(x[0].reshape(6, 5, 3), GREY[0][..., None].repeat(3, axis=2))
    np.testing.assert_array_equal(x[-1], 0)
    assert "transparency" in dataset.notes[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no image that can be read: mend it"),
        (b"text", "is no image that can be read"),
        (None, "truncated"),
    ],
)
def test_images_that_cannot_be_read_are_named(content, says, tmp_path):
    folder = write_images(tmp_path / "photos", np.repeat(np.repeat(COLOUR, 8, 1), 8, 2))
    bad = folder / "017.png"
    whole_file = bad.read_bytes()
    bad.write_bytes(whole_file[: len(whole_file) // 2] if content is None else content)
    one_line(folder, bad, says)


def test_each_image_is_upright_as_a_camera_held_it(tmp_path):
    """EXIF orientation 6: the first row of what is stored is the last column of what is shown."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY[0]).save(tmp_path / "a.png", exif=exif)
    items = [Item("a", lambda: Image.open(tmp_path / "a.png"))]
    array, notes = decoded(items, Settings(), what="it", stamp="")
    assert notes == ()
    np.testing.assert_array_equal(array[0], np.rot90(GREY[0], -1))


def test_what_is_larger_than_the_memory_is_decoded_once_for_each_stamp(tmp_path):
    from PIL import Image

    opened = []

    def item(i):
        def opener():
            opened.append(i)
            return Image.fromarray(GREY[i])

        return Item(str(i), opener)

    settings = Settings(memory_bytes=1, data_dir=str(tmp_path))
    for stamp, times in (("one", 2), ("one", 1), ("two", 2)):  # a look at the head of each, and the pixels
        opened.clear()
        array, _ = decoded([item(0), item(1)], settings, what="it", stamp=stamp)
        assert isinstance(array, np.memmap)
        np.testing.assert_array_equal(array, GREY[:2])
        assert sorted(opened) == sorted([0, 1] * times)
    assert len(list((tmp_path / "vaelab").iterdir())) == 2


def deep_png(path, channels):
    """6x5 pixels of three channels of 16 bits, which no array of PIL holds."""

    def chunk(kind, content):
        length, check = struct.pack(">I", len(content)), struct.pack(">I", zlib.crc32(kind + content))
        return length + kind + content + check

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in channels)
    head = struct.pack(">IIBBBBB", 5, 6, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def test_sixteen_bits_a_channel_are_refused_in_colour_as_in_grey(tmp_path):
    """PIL reads the upper eight of them without a word."""
    folder = write_images(tmp_path / "photos", COLOUR[:20])
    deep_png(folder / "deep.png", 257 * COLOUR[20].astype(np.uint16))
    one_line(folder, "deep.png has more than 8 bits a pixel (mode RGB;16B): convert it to 8 bits")


def test_what_of_an_image_is_left_out_is_said(tmp_path):
    from PIL import Image

    folder = write_images(tmp_path / "photos", COLOUR[:20])
    pages = [Image.fromarray(image) for image in COLOUR[20:23]]
    pages[0].save(folder / "pages.tiff", save_all=True, append_images=pages[1:])
    assert load(folder).notes == (
        f"1 images have several frames or pages, as {folder}/pages.tiff: the first is taken",
    )
    (folder / "pages.tiff").unlink()
    few = Image.fromarray(COLOUR[20]).quantize(4)
    few.save(folder / "few.png", transparency=bytes([0, 0, 0, 0]))
    (note,) = load(folder).notes
    assert "transparency" in note
    np.testing.assert_array_equal(whole(load(folder))[0][-1], 0)


def test_a_data_dir_that_is_a_file_is_one_line(tmp_path):
    folder = write_images(tmp_path / "photos", GREY[:20])
    (tmp_path / "file").touch()
    one_line(folder, "cannot hold them (Not a directory)", memory_bytes=1, data_dir=str(tmp_path / "file"))
