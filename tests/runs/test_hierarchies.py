"""A run of a hierarchy: its rows, arrays, table and page by level, and the encoders that read their prior."""

import json

import jax
import numpy as np
import pytest
from rich.console import Console

import vaelab
from tests.support.configs import learned_in, refused, smoke_with
from vaelab import posterior, report
from vaelab.config.experiment import build

QUIET = Console(quiet=True)
LEVELS = (3, 2)
HIERARCHY = {
    "model.prior.name": "hierarchy",
    "model.prior.levels": LEVELS,
    "model.prior.hidden": 4,
    "model.latent_dim": 5,
}
SETTINGS = {
    **HIERARCHY,
    "model.hidden": (16,),
    "encoder.hidden": (16,),
    "objective.name": "elbo_from_draws",
    "posterior.family": "top_down",
    "posterior.flow.hidden": 3,
    "refit.num_steps": 20,
    "inference.families": ("top_down", "bottom_up", "diagonal", "per_level", "full"),
    "inference.modes.num_starts": 0,
    "evaluate.splits": ("test",),
    "evaluate.max_points": 8,
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "hierarchy"
    vaelab.run(smoke_with(SETTINGS), path, QUIET)
    return path


@pytest.fixture(scope="module")
def rows(directory):
    return {row["family"]: row for row in json.loads((directory / "gap.json").read_text())["rows"]}


def test_the_rows_have_the_parts_of_their_gaps_and_their_kl_by_level(rows, directory):
    assert {(row["prior"], row["given"]) for row in rows.values()} == {("hierarchy", None)}
    for name, parts in {"diagonal": 3, "per_level": 2, "full": 1, "top_down": 0, "bottom_up": 0}.items():
        row = rows[name]
        entry = dict(row.get("approximation_parts") or {})
        entry.pop("num_points", None)
        assert len(entry) == parts
        if parts:
            total = sum(part["mean"] for part in entry.values())
            assert total == pytest.approx(row["approximation_gap"]["mean"], abs=1e-4)
        if name == "bottom_up":
            assert "by_level" not in row["diagnostics"]
            continue
        levels = row["diagnostics"]["by_level"]
        assert [part["dimensions"] for part in levels] == list(LEVELS)
        total = sum(part["kl"]["mean"] for part in levels)
        assert total == pytest.approx(row["diagnostics"]["rate"]["mean"], abs=1e-3)
    with np.load(directory / "per_datapoint.npz") as arrays:
        assert arrays["test/top_down/kl_by_level"].shape == (8, 2)
    labels = list(report.gap_table(list(rows.values())).columns[0].cells)
    assert {"within-level gap", "across-level gap", "non-Gaussian gap", "KL by level, from x up"} < set(
        labels
    )
    page = (directory / "report.html").read_text()
    assert "What the levels leave out" in page
    assert "By level of z" in page


def test_the_orders_that_are_asked_for_are_those_of_nested_families(rows):
    orders = {name: list(row["num_broken_orders"]) for name, row in rows.items()}
    assert "L[q*_diagonal] <= L[q*_per_level]" in orders["full"]
    assert "L[q*_per_level] <= L[q*_full]" in orders["full"]
    assert not any("diagonal" in order for order in orders["top_down"])
    assert "L[q*_diagonal] <= L[q*_bottom_up]" in orders["bottom_up"]


def test_an_encoder_gives_what_the_prior_makes_of_its_messages(directory):
    loaded = vaelab.load(directory)
    phi_P = np.asarray(loaded.encode(np.zeros(64, np.float32), family="top_down"))
    family = loaded.families["top_down"]
    np.testing.assert_array_equal(phi_P[10:], family.shared_of(loaded.theta))
    assert np.any(phi_P[10:] != 0.0)
    psi = loaded.encoders["top_down"][1]
    outputs = [leaf.shape[-1] for leaf in jax.tree.leaves(psi)]
    assert 10 in outputs  # the messages alone, and none of the prior's numbers
    assert max(outputs) == 16
    assert loaded.sample(jax.random.key(0), 3).shape == (3, 64)


def test_what_hangs_on_the_prior_is_amortized_alone():
    own = {**HIERARCHY, "posterior.family": "top_down", "inference.families": ("top_down", "diagonal")}
    for regime in ("mean_field", "semi_amortized"):
        config = learned_in(regime, **own, **{"objective.name": "elbo_from_draws"})
        refused(lambda config=config: build(config), "cannot learn top_down, whose q hang on the prior")
    config = smoke_with({**own, "objective.name": "elbo_from_draws", "evaluate.inference_times": (5,)})
    refused(lambda: build(config), "cannot time top_down, whose q hang on the prior")


def test_a_family_in_a_chain_of_levels_needs_some():
    with pytest.raises(ValueError, match="latent_dim=3"):
        posterior.bottom_up(3, hidden=2, levels=())
