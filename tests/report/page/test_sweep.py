"""The page of a sweep: curves or maps of its gaps, every number, a link to every run."""

import math

import pytest

from tests.support.page import Page, elements, of_class
from tests.support.rows import run_row
from vaelab.report.page import sweep
from vaelab.report.page.sweep import write_sweep_page


def row(settings, gap, *, family="diagonal", half=0.2, seeds=3):
    made = run_row("test", -20.0) | {"family": family, "settings": settings, "num_seeds": seeds}
    made |= {"failed": [], "notes": [], "generalization_gap": None}
    made["amortization_gap"] = {"mean": gap, "stderr": 0.05, "half_width": half}
    name = ",".join(f"{key}={value}" for key, value in settings.items())
    return made | {"runs": [f"{name}/seed={seed}" for seed in range(seeds)]}


ALONG = [row({"model.latent_dim": str(dim)}, gap) for dim, gap in ((2, 0.1), (5, 0.3), (40, 0.5))]
OVER_TWO = [row({"a.beta": b, "a.dim": d}, float(b) + float(d)) for b in ("1", "2") for d in ("3", "4")]


def written(tmp_path, rows, **more):
    write_sweep_page(tmp_path / "report.html", title="runs/sweep", rows=rows, **more)
    return Page(tmp_path / "report.html")


def test_every_number_is_in_the_table_with_its_interval_and_every_run_is_linked(tmp_path):
    failed = {"settings": {"model.latent_dim": "80"}, "failed": ["seed 0: not finite"], "runs": []}
    failed |= {"split": None, "family": None, "num_seeds": 0, "broken_orders": [], "notes": []}
    page = written(tmp_path, [*ALONG, failed], command="python launch.py", smoke=True)
    for text in ("0.100 ± 0.200", "0.500 ± 0.200", "2 of 27", "python launch.py"):
        assert text in page.text
    links = [attrs["href"] for _, attrs, _ in page.all("a") if "seed=" in attrs.get("href", "")]
    assert len(links) == 9
    assert links[0] == "model.latent_dim=2/seed=0/report.html"
    said = [text for name, _, text in page.tags if name == "li"]
    assert said[:2] == ["smoke: these figures mean nothing", "model.latent_dim=80: seed 0: not finite"]
    assert "no seed came to its end" in page.text


def test_one_setting_is_a_curve_over_its_own_distances():
    tree = elements(sweep._drawn(ALONG))
    points = [c for c in of_class(tree, "amortization") if c.tag == "circle"]
    x = [float(point.get("cx").rstrip("%")) for point in points]
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(math.log(2.5) / math.log(20.0), abs=0.01)


def test_two_settings_are_a_map_and_three_are_named_points():
    tree = elements(sweep._drawn(OVER_TWO))
    assert len([box for box in tree.iter("rect") if "heat amortization" in (box.get("class") or "")]) == 4
    three = [row({"a": str(n), "b": str(n % 2), "c": str(n // 2)}, 0.1 * n) for n in range(4)]
    tree = elements(sweep._drawn(three))
    assert not [box for box in tree.iter("rect") if "heat" in (box.get("class") or "")]


def test_families_that_are_varied_are_along_one_axis_and_others_each_in_their_drawing():
    varied = [row({"posterior.family": name}, 0.1, family=name) for name in ("diagonal", "full")]
    assert len(elements(sweep._drawn(varied)).findall(".//h3")) == 1
    both = [row({"model.latent_dim": dim}, 0.1, family=name) for dim in "23" for name in ("diagonal", "full")]
    assert [head.text for head in elements(sweep._drawn(both)).iter("h3")] == ["test, diagonal", "test, full"]


def test_one_point_is_no_curve():
    assert sweep._drawn(ALONG[:1]) == ""
