"""Where the figures come from: curves, the command, the versions, every setting."""

import numpy as np
import pytest

from tests.support.page import cells, elements, texts
from vaelab.report.page.origin import LINES, learning_curves, provenance


def metrics(stage, count, bound="elbo"):
    return [
        {"stage": stage, "step": 10 * n, bound: -100.0 + n, "grad_norm": 1.0, "seconds": 0.5 * n}
        | ({"validation_elbo": -200.0 + n, "validation_stderr": 0.25} if n % 2 else {})
        for n in range(1, count + 1)
    ]


def test_each_stage_has_its_curves_and_the_values_at_its_end():
    tree = elements(learning_curves([*metrics("train", 5), *metrics("refit_full", 3, "iwae")]))
    assert texts(tree, "h3") == ["train", "refit full"]
    assert texts(tree, "figcaption") == [
        "At the end: elbo -95.000, validation_elbo -195.000.",
        "At the end: iwae -97.000, validation_elbo -197.000.",
    ]
    assert texts(tree, "desc") == [
        "elbo at 5 steps, validation_elbo at 3 steps.",
        "iwae at 3 steps, validation_elbo at 2 steps.",
    ]


@pytest.mark.parametrize("count", [1, LINES, LINES + 2, 10 * LINES + 5])
def test_a_long_table_keeps_some_lines_and_always_the_last(count):
    tree = elements(learning_curves(metrics("train", count)))
    table = cells(next(tree.iter("table")))
    assert LINES / 2 <= len(table[1:]) <= LINES or len(table[1:]) == count
    assert table[-1][0] == f"{10 * count:,}"
    assert f"train, {len(table) - 1} of {count} lines of metrics.jsonl" in texts(tree, "caption")


def test_a_bound_that_is_not_finite_is_said_to_be():
    (line,) = metrics("train", 1)
    tree = elements(learning_curves([line | {"elbo": np.nan}, {"stage": "train", "step": 20, "elbo": None}]))
    head, first, second = cells(next(tree.iter("table")))
    assert dict(zip(head, first, strict=True))["elbo"] == "not finite"
    assert dict(zip(head, second, strict=True))["elbo"] == "-"
    assert learning_curves([{"stage": "train", "step": 1, "seconds": 1.0}]) == ""


def test_every_setting_has_the_name_that_the_command_line_takes():
    config = {"train": {"num_steps": 30, "names": ["a", "b"], "none": {}}, "seed": None}
    tree = elements(provenance("python launch.py --x='<'", {"jax": "1.2"}, config))
    versions, settings = (cells(table) for table in tree.iter("table"))
    assert versions[1:] == [["jax", "1.2"]]
    assert settings[1:] == [
        ["config.train.num_steps", "30"],
        ["config.train.names", "['a', 'b']"],
        ["config.train.none", "{}"],
        ["config.seed", "None"],
    ]
    assert texts(tree, "summary") == ["All 4 settings"]
    assert texts(tree, "code") == ["python launch.py --x='<'"]
    assert provenance(None, None, None) == ""
