"""The page's strips of images: which there are, what each says of itself, and what the captions say."""

import numpy as np

from tests.support.diagnostics import entries
from tests.support.page import elements, texts
from vaelab.measure.pictures import Pictures
from vaelab.report.page.gallery import gallery


def pictures(*, of="encoder", shape=(4, 4, 3), units=(2, 0)):
    rng = np.random.default_rng(0)
    by = {} if of == "q*" else {f"by the {of}": rng.random((3, *shape))}
    return Pictures(
        split="test",
        family="diagonal",
        of=of,
        index_N=np.array([7, 8, 9]),
        reconstructions={"test data": rng.random((3, *shape)), **by, "by q*": rng.random((3, *shape))},
        samples=rng.random((3, *shape)),
        paths={(7, 8): rng.random((10, *shape))},
        traversals={unit: rng.random((9, *shape)) for unit in units},
        values={unit: np.linspace(-1.5 - unit, 2.5, 9) for unit in units},
    )


def test_every_strip_has_a_label_and_an_alternative_text():
    tree = elements(gallery(pictures(), entries(3)["diagnostics"]))
    assert texts(tree, "h3") == ["Reconstructions", "Samples", "Interpolation", "Traversals"]
    assert texts(tree, "span") == [
        *("test data", "by the encoder", "by q*", "from the prior", "7 to 8"),
        *("z3, 0.9300 ± 0.0010 nats", "z1, 0.3100 ± 0.0010 nats"),
    ]
    assert [image.get("alt") for image in tree.iter("img")] == [
        *(f"{title}: datapoints 7, 8, 9" for title in ("test data", "by the encoder", "by q*")),
        "from the prior: 3 decodings",
        "from datapoint 7 to datapoint 8",
        "unit z3 from -3.5 to 2.5",
        "unit z1 from -1.5 to 2.5",
    ]


def test_the_numbers_of_datapoints_are_said_to_be_positions():
    (text, *_) = texts(elements(gallery(pictures())), "p")
    assert "the first 3 of the test data" in text
    assert "its position in the source of the data" in text


def test_captions_say_what_is_seen():
    first, samples, paths, traversals = texts(
        elements(gallery(pictures(), entries(3)["diagnostics"])), "figcaption"
    )
    assert first.startswith("Datapoints 7, 8, 9, and below each")
    assert "the q by the encoder and by q*" in first
    assert "3 draws of z from the prior" in samples
    assert "the encoder's q of the one" in paths
    # Of three active units two are drawn.
    assert "one active unit, the 2 of 3 that vary most, from 2 standard deviations" in traversals
    assert "the encoder's q of datapoint 7" in traversals


def test_without_an_encoder_or_active_units_less_is_said():
    tree = elements(gallery(pictures(of="q*", units=())))
    assert texts(tree, "h3") == ["Reconstructions", "Samples", "Interpolation"]
    captions = texts(tree, "figcaption")
    assert "the centre of q*" in captions[0]
    assert "the q* of the one" in captions[2]


def test_without_pictures_there_is_nothing():
    assert gallery(None) == ""
