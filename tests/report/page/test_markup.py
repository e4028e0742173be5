"""Tags escape what is put into them, a table labels its cells, a picture is its pixels."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tests.support.page import cells, elements
from vaelab.report.page.markup import Markup, join, picture, table, tag


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


def test_a_row_with_a_cell_too_few_is_an_error():
    with pytest.raises(ValueError, match="argument 2"):
        table("caption", ["a", "b", "c"], [["a", "b"]])


def test_a_picture_is_its_pixels_and_says_what_it_is():
    (image,) = elements(picture(np.array([[0.0, 0.2], [7.0, np.nan], [-1.0, 1.0]]), "70: <data>"))
    assert image.get("alt") == "70: <data>"
    data = base64.b64decode(image.get("src").removeprefix("data:image/png;base64,"))
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(pixels, [[0, 51], [255, 0], [0, 255]])
