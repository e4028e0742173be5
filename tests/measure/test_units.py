"""Active units, on means of known variance."""

import numpy as np
import pytest

from tests.support.oracles import FIVE, assert_calibrated, kl_to_prior
from vaelab.measure import units


def test_the_kl_of_a_dimension_is_that_of_its_gaussian():
    rng = np.random.default_rng(0)
    mean, sd = rng.normal(size=(6, 3)), np.exp(rng.normal(size=(6, 3)))
    got = units.kl_by_dimension(mean, sd)
    wanted = [
        [kl_to_prior(m[k : k + 1], s[k : k + 1, None]) for k in range(3)]
        for m, s in zip(mean, sd, strict=True)
    ]
    np.testing.assert_allclose(got, wanted, rtol=1e-12)
    np.testing.assert_allclose(
        units.kl_by_dimension(1e-4 * mean, np.exp(1e-6 * mean)), 5e-9 * mean**2, rtol=1e-2
    )


def test_the_variance_of_means_and_its_error_are_those_of_many_samples():
    """Gaussian means of variance 0.04, and means of a heavier tail: z-scores over 600 samples."""
    rng = np.random.default_rng(1)
    samples = np.stack([0.2 * rng.normal(size=(600, 400)), rng.uniform(-1, 1, size=(600, 400))], axis=-1)
    measured = [units.variance_of_means(sample) for sample in samples]
    few = samples[0, :5]
    assert [s["mean"] for s in units.variance_of_means(few)] == pytest.approx(np.var(few, axis=0, ddof=1))
    for k, truth in enumerate((0.04, 1.0 / 3.0)):
        values, stderrs = (np.array([m[k][key] for m in measured]) for key in ("mean", "stderr"))
        assert_calibrated(values, truth, stderrs)
        assert np.mean(values) == pytest.approx(truth, abs=FIVE * np.std(values) / np.sqrt(600))


def test_the_noise_of_means_from_draws_is_no_variance():
    rng = np.random.default_rng(2)
    draws = rng.normal(size=(5000, 4, 2)) + np.array([0.0, 0.5]) * rng.normal(size=(5000, 1, 2))
    noise = np.var(draws, axis=1, ddof=1) / 4
    measured = units.variance_of_means(np.mean(draws, axis=1), noise)
    for statistic, truth in zip(measured, (0.0, 0.25), strict=True):
        assert statistic["mean"] == pytest.approx(truth, abs=FIVE * statistic["stderr"])
    assert measured[0]["stderr"] < 0.02


def test_what_is_near_the_threshold_is_said_to_be():
    statistics = [(0.5, 0.1), (0.03, 0.001), (0.012, 0.002), (0.009, 0.001), (0.0, 0.001), (0.2, np.nan)]
    counted = units.active([{"mean": mean, "stderr": stderr} for mean, stderr in statistics])
    assert counted == {
        "count": 4, "of": 6, "units": [0, 1, 2, 5], "undecided": [2, 3, 5], "threshold": 0.01
    }  # fmt: skip
