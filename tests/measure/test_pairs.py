"""The diagonal family's gap by pairs of latents, against the closed form of the linear-Gaussian model."""

import numpy as np
import pytest

from tests.support.oracles import LinearGaussian
from vaelab.measure import pairs


def posterior_scale(rng, singular_values):
    oracle = LinearGaussian.random(rng, len(singular_values) + 2, singular_values, 0.8)
    lower = np.linalg.cholesky(oracle.posterior(oracle.bias)[1])
    rotation = np.linalg.qr(rng.normal(size=lower.shape))[0]  # S is known up to a rotation
    return oracle, lower @ rotation


def test_two_latents_are_one_pair_that_is_the_whole_gap():
    oracle, scale = posterior_scale(np.random.default_rng(0), (3.0, 0.5))
    pair, whole = pairs.by_pairs(scale[None])
    assert whole[0] == pytest.approx(oracle.mean_field_gap())
    assert pair[0, 0, 1] == pytest.approx(oracle.mean_field_gap())


def test_of_several_latents_the_remainder_is_of_higher_order():
    """A precision I + t E: the pairs are right to t^2, so what they lack falls as t^3."""
    rng = np.random.default_rng(1)
    e = rng.normal(size=(4, 4))
    e = np.tril(e, -1) + np.tril(e, -1).T
    lacks = []
    for t in (0.08, 0.04):
        scale = np.linalg.inv(np.linalg.cholesky(np.eye(4) + t * e)).T
        pair, whole = pairs.by_pairs(scale[None])
        lacks.append(abs(whole[0] - np.sum(np.triu(pair[0]))))
        assert lacks[-1] < 0.3 * whole[0]
    assert 6.0 < lacks[0] / lacks[1] < 11.0


def test_the_entry_adds_up_and_names_the_largest_pairs():
    rng = np.random.default_rng(2)
    oracle, scale = posterior_scale(rng, (3.0, 1.0, 0.5))
    scales, gap = np.stack([scale] * 5), oracle.mean_field_gap() + 0.01 * rng.normal(size=5)
    entry = pairs.entry(scales, gap, "full")
    parts = (entry[name]["mean"] for name in ("pairs_total", "higher_order", "not_gaussian"))
    assert sum(parts) == pytest.approx(np.mean(gap))
    assert entry["not_gaussian"]["mean"] == pytest.approx(np.mean(gap) - oracle.mean_field_gap())
    means = [pair["mean"] for pair in entry["pairs"]]
    assert means == sorted(means, reverse=True)
    precision = oracle.precision()
    i, j = entry["pairs"][0]["latents"]
    r = precision[i, j] / np.sqrt(precision[i, i] * precision[j, j])
    assert means[0] == pytest.approx(-0.5 * np.log(1.0 - r**2))
    assert len(means) == 3


def test_what_is_singular_or_not_finite_is_left_out():
    _, scale = posterior_scale(np.random.default_rng(3), (3.0, 0.5))
    scales = np.stack([scale, np.ones((2, 2)), np.full((2, 2), np.nan), scale])
    entry = pairs.entry(scales, np.array([0.1, 0.1, 0.1, np.nan]), "full")
    assert entry["num_points"] == 1
    assert pairs.entry(scales[1:], np.ones(3)[:3] * np.nan, "full") is None
    assert pairs.entry(np.ones((3, 1, 1)), np.ones(3), "full") is None
