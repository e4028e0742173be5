"""The page of a run: what it says is in the arrays, and it is sound HTML."""

import itertools
import math
import re
from functools import partial

import numpy as np
import pytest

from tests.support.page import HOSTILE, Page, given
from vaelab.report.page.run import write_page
from vaelab.report.page.worst import worst
from vaelab.report.tables import cell


def written(tmp_path, arguments):
    write_page(tmp_path / "report.html", **arguments)
    return Page(tmp_path / "report.html")


def test_the_page_says_what_the_rows_and_the_arrays_say(tmp_path):
    arguments = given()
    page = written(tmp_path, arguments)
    for row in arguments["rows"]:
        for name in ("log_evidence", "elbo_amortized", "amortization_gap", "approximation_gap"):
            assert cell(row[name]) in page.text
        losing_most = np.argmax(
            arguments["per_datapoint"]["test/log_evidence"]
            - arguments["per_datapoint"][f"test/{row['family']}/elbo_amortized"]
        )
        assert worst(row, arguments["per_datapoint"])[0].index == 100 + losing_most
    for text in ("a line worth reading", "config.train.num_steps", "runs/a", "class 3", "Encoder against"):
        assert text in page.text


def test_what_is_wrong_is_said_first_and_once(tmp_path):
    arguments = given()
    arguments["rows"][0] |= {"broken_orders": ["a exceeds b"], "num_unconverged": 30}
    arguments["rows"][1] |= {"broken_orders": ["c exceeds d"], "num_unconverged": 1}
    arguments["notes"] = ["order broken on test: a exceeds b"]
    page = written(tmp_path, arguments)
    said = [text for name, _, text in page.tags if name == "li"][:3]
    assert said[0] == "order broken on test: a exceeds b"
    assert said[1].startswith("test, diagonal: 30 of 40 fits of q* have not converged")
    assert said[2] == "test, full: order broken: c exceeds d"
    assert page.text.count("exceeds b") == page.text.count("have not converged") == 1


def test_bars_are_as_long_as_the_gaps(tmp_path):
    arguments = given()
    arguments["rows"][1]["amortization_gap"] = {"mean": -0.2, "stderr": 0.1}
    page = written(tmp_path, arguments)
    of = {"approximation": "approximation_gap", "amortization": "amortization_gap"}
    bars = [attrs for _, attrs, _ in page.all("rect") if attrs["height"] == "18"]
    gaps = [row[name]["mean"] for row in arguments["rows"] for name in of.values()]
    bars = bars[: len(gaps)]  # those of groups come after them
    lengths = [float(attrs["width"].rstrip("%")) for attrs in bars]
    # Places are percentages to two decimals.
    np.testing.assert_allclose(np.abs(gaps) / gaps[0], np.divide(lengths, lengths[0]), atol=2e-3)
    assert ["negative" in attrs["class"] for attrs in bars] == [gap < 0 for gap in gaps]


def test_nothing_that_a_user_gives_is_markup(tmp_path):
    arguments = given(families=(HOSTILE,))
    arguments |= {
        "title": HOSTILE,
        "command": HOSTILE,
        "notes": [HOSTILE],
    }
    arguments["per_datapoint"]["test/labels"] = np.full(40, HOSTILE)
    arguments |= {"config": {HOSTILE: HOSTILE}, "versions": {HOSTILE: HOSTILE}}
    arguments["metrics"] = [{"stage": HOSTILE, "step": step, HOSTILE: -1.0} for step in (1, 2)]
    arguments["rows"][0] |= {"amortized_by": HOSTILE, "broken_orders": [HOSTILE], "certificate": HOSTILE}
    page = written(tmp_path, arguments)
    assert not page.all("script")
    assert not [name for _, attrs, _ in page.tags for name in attrs if name.startswith("on")]
    assert all(attrs["src"].startswith("data:image/png;base64,") for _, attrs, _ in page.all("img"))
    assert page.text.count("&lt;script&gt;") > 10
    assert {name for name, _, text in page.tags if text == HOSTILE} >= {"h1", "li", "code", "th", "td", "h3"}


def test_the_html_is_sound_and_labelled(tmp_path):
    page = written(tmp_path, given())
    names = [attrs["id"] for _, attrs, _ in page.tags if "id" in attrs]
    assert len(names) == len(set(names))
    levels = [int(name[1]) for name, _, _ in page.all("h1", "h2", "h3")]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for _, attrs, _ in page.tags:
        assert "style" not in attrs
        for label in attrs.get("aria-labelledby", "").split():
            assert label in names
        for address in (attrs.get("href"), attrs.get("src")):
            assert address is None or address.startswith("data:") or address.removeprefix("#") in names
    drawings = [attrs for _, attrs, _ in page.all("svg") if attrs.get("role") == "img"]
    # Bars; of each row histograms, latent space, columns of means and units, two kinds of groups; curves.
    assert len(drawings) == 1 + 2 * 2 + 2 * 2 + 2 * 2 + 2 * 2 + 1
    assert all(attrs["aria-labelledby"] for attrs in drawings)
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(attrs["scope"] in ("row", "col") for _, attrs, _ in page.all("th"))
    assert all(attrs["alt"] for _, attrs, _ in page.all("img"))


def only(arguments, *names):
    return {name: arguments[name] for name in ("title", "rows", "per_datapoint", *names)}


def damaged():
    arguments = given(families=("diagonal",))
    for name in ("test/log_evidence", "test/diagonal/elbo_optimal", "test/diagonal/elbo_amortized"):
        arguments["per_datapoint"][name][:] = math.nan
    for name in ("approximation_gap", "amortization_gap", "inference_gap"):
        arguments["rows"][0][name] = {"mean": None, "stderr": None}
    for number in (3, -1):
        arguments["metrics"][number] |= {"elbo": math.nan, "validation_elbo": None}
    arguments["latents"]["test/diagonal"].mean_optimal[:] = math.nan
    return arguments


def alike():
    values = {"log_evidence": -1.0, "full/elbo_optimal": -1.0, "full/elbo_amortized": -2.0}
    return {f"test/{name}": np.full(12, value) for name, value in values.items()}


DEGENERATE = {
    "nothing": given,
    "a single datapoint": partial(given, 1),
    "two datapoints": partial(given, 2),
    "one latent dimension": partial(given, latent_dim=1),
    "no encoder": partial(given, encoder=False),
    "rows alone": lambda: only(given()),
    "no arrays": lambda: only(given()) | {"per_datapoint": {}},
    "no rows": lambda: only(given()) | {"rows": [], "per_datapoint": {}},
    "nothing finite": damaged,
    "300 families": lambda: given(4, [f"family {i}" for i in range(300)]),
    "gaps all the same": lambda: only(given(12)) | {"per_datapoint": alike()},
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_what_is_missing_or_strange_is_left_out(case, tmp_path):
    arguments = DEGENERATE[case]()
    page = written(tmp_path, arguments)
    for _, attrs, _ in page.tags:
        for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"):
            if name in attrs:
                number = float(attrs[name].removesuffix("%"))
                assert math.isfinite(number)
                assert not (name in ("width", "height") and number < 0)
    words = " ".join(text for name, _, text in page.tags if name != "style")
    assert not re.search(r"\b(nan|inf|None|array)\b", words)
    headings = [text for _, _, text in page.all("h2")]
    assert ("Learning curves" in headings) == bool(arguments.get("metrics"))
    assert ("Encoder against optimum" in headings) == bool(arguments.get("latents"))
    assert ("Worst datapoints" in headings) == bool(arguments["per_datapoint"])
