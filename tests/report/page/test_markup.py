"""Tags escape what is put into them, a table labels its cells, a picture is its pixels."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tests.support.page import cells, elements
from vaelab.report.page.markup import Markup, join, picture, strip, table, tag


def test_text_is_escaped_once_and_markup_is_not():
    inner = tag("b", "a < b & c")
    assert inner == "<b>a &lt; b &amp; c</b>"
    assert join(inner, "<b>", 3) == "<b>a &lt; b &amp; c</b>&lt;b&gt;3"
    assert tag("p", join(inner)) == f"<p>{inner}</p>"
    assert isinstance(join("a"), Markup)


def test_attributes_are_escaped_and_named_as_in_html():
    made = tag("line", class_="grid", aria_label='"><script>', x1=0, title=None)
    assert made == '<line class="grid" aria-label="&quot;&gt;&lt;script&gt;" x1="0"></line>'
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'


def test_a_table_has_a_caption_and_headings_of_its_columns_and_rows():
    tree = elements(
        table("Nats & more", ["row", "why", "mean"], [["a", "<why>", 1.5], ["b", "-", 2]], words=[1])
    )
    assert cells(tree) == [["row", "why", "mean"], ["a", "<why>", "1.5"], ["b", "-", "2"]]
    assert [heading.get("scope") for heading in tree.iter("th")] == ["col"] * 3 + ["row"] * 2
    assert [cell.get("class") for cell in tree.iter("td")] == ["words", None] * 2
    assert tree.findtext(".//caption/span") == "Nats & more"
    assert tree.find("div").get("aria-label") == "Nats & more"


def test_a_wide_table_is_cards_on_a_phone_whose_cells_name_their_columns():
    head = ["row", join("L[q", tag("sub", "φ"), "] & more"), "mean", "n"]
    tree = elements(table("Nats", head, [["a", "0.1234 ± 0.0001", 1.5, 3]]))
    assert tree.find("div").get("class") == "scroll cards"
    (line,) = tree.findall(".//tbody/tr")
    assert [cell.get("data-of") for cell in line] == ["row", "L[qφ] & more", "mean", "n"]
    short = elements(table("Nats", ["row", "5 %", "50 %", "95 %"], [["a", "1.0", "2.0", "3.0"]]))
    assert short.find("div").get("class") == "scroll cards short"
    assert elements(table("Nats", ["row", "mean"], [["a", 1.5]])).find("div").get("class") == "scroll"


def test_a_row_with_a_cell_too_few_is_an_error():
    with pytest.raises(ValueError, match="argument 2"):
        table("caption", ["a", "b", "c"], [["a", "b"]])


def test_a_picture_is_its_pixels_and_says_what_it_is():
    (image,) = elements(picture(np.array([[0.0, 0.2], [7.0, np.nan], [-1.0, 1.0]]), "70: <data>"))
    assert image.get("alt") == "70: <data>"
    data = base64.b64decode(image.get("src").removeprefix("data:image/png;base64,"))
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(pixels, [[0, 51], [255, 0], [0, 255]])


def pixels_of(image):
    data = base64.b64decode(image.get("src").removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3)])
def test_a_strip_is_its_images_with_the_page_between_them(shape):
    images = np.random.default_rng(0).random((4, *shape))
    (image,) = elements(strip(images, "some"))
    pixels, colour = pixels_of(image), np.rint(255 * images)
    assert pixels.shape == (2, 4 * 3 + 3, 4)
    assert [int(image.get(side)) for side in ("width", "height")] == [
        19 * 15,
        19 * 2,
    ]  # 56 / 3, in whole pixels
    for number in range(4):
        seen = pixels[:, 4 * number : 4 * number + 3]
        wanted = colour[number] if len(shape) == 3 else np.repeat(colour[number][..., None], 3, axis=2)
        np.testing.assert_array_equal(seen[..., :3], wanted)
        assert (seen[..., 3] == 255).all()
    assert not pixels[:, 3::4, 3].any()


def test_a_picture_keeps_its_proportions():
    for shape, size in (((8, 8), (56, 56)), ((8, 16, 3), (56, 28)), ((100, 2), (1, 56))):
        (image,) = elements(picture(np.zeros(shape), ""))
        assert (int(image.get("width")), int(image.get("height"))) == size
