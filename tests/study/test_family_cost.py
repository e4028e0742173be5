"""What a family costs: the numbers of phi and of weights by closed forms, and a time of all that is timed."""

import jax
import pytest

from tests.support.figures import axes_of
from vaelab import report
from vaelab.study.family_cost import Sizes, _family, _plot, family_cost

SIZES = Sizes(batch_size=2, data_dim=3, hidden=4, rank=2, num_layers=1, flow_hidden=4)


@pytest.mark.parametrize(
    ("name", "latent_dim", "size"),
    [
        ("diagonal", 4, 4 + 4),
        ("full", 4, 4 + 4**2),
        ("cholesky", 4, 4 + 4 * 5 // 2),
        ("low_rank", 4, 4 + 4 + 2 * 4),
        ("low_rank", 1, 1 + 1 + 1),  # no rank above the dimension
        ("householder", 4, 4 + 4 + 2 * 4),
    ],
)
def test_a_family_is_made_of_the_sizes(name, latent_dim, size):
    family = _family(name, latent_dim, SIZES)
    assert family.name == name
    assert family.param_size - family.shared_size == size


def test_what_all_datapoints_share_is_not_counted_for_each():
    flow = _family("real_nvp", 4, SIZES)
    assert flow.shared_size > 0
    assert flow.param_size - flow.shared_size == 2 * 4  # the Gaussian that it begins with


@pytest.mark.slow
def test_a_training_state_is_the_weights_and_two_moments_and_a_flow_has_no_closed_form():
    finding = family_cost(
        jax.random.key(0), families=("diagonal", "real_nvp"), latent_dims=(2,), repeats=1, sizes=SIZES
    )
    phi, drawn, kl, steps, state, _ = finding.tables.values()
    assert phi == [{"family": name, "K=2": 4} for name in ("diagonal", "real_nvp")]
    assert all(row["K=2"] > 0.0 for table in (drawn, steps) for row in table)
    assert kl[0]["K=2"] > 0.0
    assert kl[1]["K=2"] is None
    # Encoder 3-4-4-4 and decoder 2-4-4-3, in float32, three times, with the counts of train_step and of Adam.
    weights = (3 + 1) * 4 + (4 + 1) * 4 + (4 + 1) * 4 + (2 + 1) * 4 + (4 + 1) * 4 + (4 + 1) * 3
    assert state[0]["K=2"] == pytest.approx((3 * 4 * weights + 2 * 4) / 1e6)


def test_the_figure_has_a_line_for_each_family_in_the_order_given(tmp_path, monkeypatch):
    axes = axes_of(monkeypatch, report)
    measured = {
        (K, name): {"draw_ms": K * cost, "step_ms": 10.0 * K * cost}
        for name, cost in (("full", 2.0), ("diagonal", 1.0))
        for K in (2, 8)
    }
    _plot(tmp_path / "study.png", measured, (2, 8))
    draws, steps = axes
    assert [line.get_label() for line in draws.lines] == ["full", "diagonal"]
    assert [list(line.get_ydata()) for line in draws.lines] == [[4.0, 16.0], [2.0, 8.0]]
    assert [list(line.get_ydata()) for line in steps.lines] == [[40.0, 160.0], [20.0, 80.0]]
    assert [label.get_text() for label in steps.get_xticklabels()] == ["2", "8"]
