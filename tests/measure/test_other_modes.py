"""How log p(x) from all modes and from the prior's side enter the estimate at hand."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from rich.console import Console

from vaelab.evidence.weights import Evidence
from vaelab.inference.modes import Modes
from vaelab.measure import other_modes, prior_side
from vaelab.measure.other_modes import OtherModes, weigh
from vaelab.measure.search import Searched
from vaelab.measure.subject import Inputs

N, M, K = 6, 3, 2
PILOT = np.array([0, 2, 4])
SEVERAL = np.array([1, 4])


def evidence(values, stderr=0.01):
    values = np.float32(values)
    rest = np.full(values.shape, 100.0, np.float32)
    return Evidence(values, np.full(values.shape, stderr, np.float32), rest, 0.0 * rest, rest)


def weighed(tmp_path, monkeypatch, *, by_modes, first, second, third):
    """`weigh` of an estimate of 0 everywhere; values for SEVERAL, for PILOT, and for what that flags."""
    keys = []

    def tempered(subject, inputs, scale_N, key, tempering):
        keys.append(key)
        return evidence([second, third][len(keys) - 1]), None

    monkeypatch.setattr(prior_side, "tempered", tempered)
    monkeypatch.setattr(other_modes, "_by_modes", lambda *arguments: evidence(by_modes))
    (tmp_path / "stages").mkdir()
    weight_NxM = np.full((N, M), -np.inf, np.float32)
    weight_NxM[:, 0] = 0.0
    weight_NxM[SEVERAL, 1] = -0.5
    modes = Modes(
        np.zeros((N, M, K), np.float32), np.ones((N, M, K)), weight_NxM, weight_NxM, None, None, None
    )
    side = evidence(np.full(N, np.nan), np.nan)
    side.log_evidence[PILOT], side.stderr[PILOT] = first, 0.01
    searched = Searched(modes, np.ones(N, bool), side)
    settings = SimpleNamespace(
        points_per_save=100, search=SimpleNamespace(pilot_points=3, enlarged=lambda latent_dim: None)
    )
    subject = SimpleNamespace(
        settings=settings,
        keys=SimpleNamespace(search=jax.random.key(0)),
        model=SimpleNamespace(log_prior=None, latent_dim=K),
    )
    points = SimpleNamespace(inputs=Inputs(np.zeros((N, 1)), np.arange(N)))
    run = SimpleNamespace(subject=subject, points=points, directory=tmp_path)
    others = OtherModes({}, {}, searched, np.zeros(0, int), PILOT, np.zeros(N, bool), 0.0)
    result = weigh(run, "test", others, evidence(np.zeros(N)), Console(quiet=True))
    return *result, keys


def test_all_modes_stand_in_unless_the_estimate_at_hand_is_clearly_higher(tmp_path, monkeypatch):
    got, others, _ = weighed(
        tmp_path, monkeypatch, by_modes=[0.7, -2.0], first=[0.0, 0.0, 0.0], second=[], third=[]
    )
    np.testing.assert_allclose(got.log_evidence, [0, 0.7, 0, 0, 0, 0])
    assert not others.missed_N.any()


def test_what_two_runs_from_the_prior_show_stands_and_is_in_the_error_elsewhere(tmp_path, monkeypatch):
    """The first run is higher at two datapoints, the second at one of them, where a third reports."""
    arguments = {"by_modes": [0.0, 0.0], "first": [2.0, 3.0, 0.0], "second": [2.5, 0.0], "third": [1.5, 0.3]}
    got, others, keys = weighed(tmp_path, monkeypatch, **arguments)
    assert others.missed_N.tolist() == [True, False, False, False, False, False]
    assert others.shortfall == pytest.approx(1.5)
    np.testing.assert_allclose(got.log_evidence, [1.5, 0, 0, 0, 0, 0])
    # One of three was missed: the mean square of what may be missing elsewhere is a third of 1.5^2.
    elsewhere = np.hypot(0.01, 1.5 * np.sqrt(1 / 3))
    np.testing.assert_allclose(got.stderr, [0.01, elsewhere, 0.01, elsewhere, 0.01, elsewhere], rtol=1e-5)
    keys = [jax.random.fold_in(jax.random.key(0), 1), *keys]  # of the first run
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 3
