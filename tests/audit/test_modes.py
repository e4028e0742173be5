"""Audits of posteriors with several modes, thin ones and far ones: each datapoint is a case of its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import vaelab
from vaelab.measure import search

pytestmark = pytest.mark.modes

# Mixtures of two Gaussian distributions of z, K = 2, log p(x) the same for all; and where the encoder is.
CASES = {
    "equal, by one": {"means": (0.0, 6.0), "widths": (0.5, 0.5), "weights": (0.5, 0.5), "at": 0.0, "sd": 0.5},
    "at the lesser": {"means": (0.0, 8.0), "widths": (0.5, 0.5), "weights": (0.1, 0.9), "at": 0.0, "sd": 0.5},
    "one mode": {"means": (1.0, 1.0), "widths": (0.7, 0.7), "weights": (0.5, 0.5), "at": 1.0, "sd": 0.7},
    "thin": {"means": (0.0, 0.0), "widths": (1e-3, 1e-3), "weights": (0.5, 0.5), "at": 0.5, "sd": 1.0},
    "far off": {"means": (300.0, 300.0), "widths": (0.3, 0.3), "weights": (0.5, 0.5), "at": 0.0, "sd": 1.0},
    "narrow beside wide": {
        "means": (0.0, 5.0),
        "widths": (1.0, 0.1),
        "weights": (0.7, 0.3),
        "at": 0.0,
        "sd": 1.0,
    },
}
LOG_P = -3.0


def column(name):
    return np.array([case[name] for case in CASES.values()], np.float32)


X = {name: column(name) for name in ("means", "widths", "weights", "at", "sd")}


def log_joint(x, z_K):
    """Both components on the diagonal of the plane."""
    away_2x2 = (z_K[None, :] - x["means"][:, None]) / x["widths"][:, None]
    log_2 = -0.5 * jnp.sum(away_2x2**2, axis=1) - 2.0 * jnp.log(x["widths"]) - jnp.log(2.0 * jnp.pi)
    return jax.nn.logsumexp(log_2 + jnp.log(x["weights"])) + LOG_P


def encode(x):
    return jnp.full(2, x["at"]), jnp.full(2, x["sd"])


@functools.cache
def audited(**settings):
    report = vaelab.audit(
        None,
        encode,
        X,
        latent_dim=2,
        key=jax.random.key(0),
        log_joint=log_joint,
        families=("diagonal",),
        quiet=True,
        settings={f"inference.modes.{name}": value for name, value in settings.items()},
    )
    return report, {name.removeprefix("given/"): values for name, values in report.per_datapoint.items()}


@pytest.mark.parametrize("case", CASES)
def test_log_p_is_right_within_its_error(case):
    _, measured = audited()
    n = list(CASES).index(case)
    assert abs(measured["log_evidence"][n] - LOG_P) < 5.0 * measured["log_evidence_stderr"][n] + 0.02


@pytest.mark.parametrize("case", CASES)
def test_the_bound_is_that_of_the_best_mode(case):
    """log p(x) plus the log weight of the heavier component; of both where they are one."""
    _, measured = audited()
    n, given = list(CASES).index(case), CASES[case]
    several = given["means"][0] != given["means"][1]
    best = LOG_P + (np.log(max(given["weights"])) if several else 0.0)
    assert (
        abs(measured["diagonal/elbo_optimal"][n] - best)
        < 5.0 * measured["diagonal/elbo_optimal_stderr"][n] + 0.02
    )
    assert measured["diagonal/converged"][n]


def test_modes_are_counted_and_what_the_lesser_one_loses_is_reported():
    report, measured = audited()
    assert measured["num_modes"].tolist() == [2, 2, 1, 1, 1, 2]
    lost = measured["diagonal/wrong_mode_gap"]
    at = list(CASES).index("at the lesser")
    assert lost[at] == pytest.approx(np.log(9.0), abs=0.02)
    assert measured["diagonal/elbo_local"][at] == pytest.approx(LOG_P + np.log(0.1), abs=0.02)
    assert lost[0] == 0.0
    # Fits that had failed, and then came to the one mode there is, lost nothing by their mode.
    assert (measured["diagonal/elbo_local"][3:5] < LOG_P - 1.0).any()
    assert (lost[3:5] == 0.0).all()
    (row,) = report.rows
    assert row["modes"]["num_several"] == 3
    assert row["modes"]["num_missed"] == 0
    assert row["modes"]["num_at_lesser"] == sum(lost > 0.01)
    assert row["wrong_mode_gap"]["mean"] == pytest.approx(lost.mean())
    assert any("several modes" in note and "3 of 6" in note for note in report.notes)
    assert any("lesser mode" in note for note in report.notes)
    assert not any("missed" in note or "nan" in note for note in report.notes)


def test_what_is_kept_in_small_blocks_is_the_same(tmp_path, monkeypatch):
    """Blocks of four of the six datapoints, all in the pilot, each searched once; then from the directory."""
    sizes = {"evaluate.points_per_save": 4}
    arguments = {"latent_dim": 2, "log_joint": log_joint, "families": ("diagonal",), "quiet": True}
    _, whole = audited()
    searched, original = [], search.search_pilot
    monkeypatch.setattr(search, "search_pilot", lambda *a: searched.append(len(a[1].index_N)) or original(*a))
    for _ in range(2):
        report = vaelab.audit(
            None, encode, X, key=jax.random.key(0), directory=tmp_path / "audit", settings=sizes, **arguments
        )
        kept = {name.removeprefix("given/"): values for name, values in report.per_datapoint.items()}
        for name in whole.keys() - {"prior_side", "prior_side_stderr"}:
            assert len(kept[name]) == len(whole[name])
            np.testing.assert_allclose(kept[name], whole[name], rtol=1e-4, atol=1e-3, err_msg=name)
        # Hamiltonian paths part with the rounding of another batch, and stay within their errors.
        apart = kept["prior_side"] - whole["prior_side"]
        assert np.all(abs(apart) < 5.0 * np.hypot(kept["prior_side_stderr"], whole["prior_side_stderr"]))
    assert searched == [4, 2]


def test_outside_a_pilot_of_one_mode_a_look_leads_to_a_search():
    """The pilot is the datapoint with one mode; the look at the others has more ascents than by default."""
    first = list(CASES).index("one mode")
    order = [first, *(n for n in range(len(CASES)) if n != first)]
    report = vaelab.audit(
        None,
        encode,
        {name: values[order] for name, values in X.items()},
        latent_dim=2,
        key=jax.random.key(0),
        log_joint=log_joint,
        families=("diagonal",),
        quiet=True,
        settings={"inference.modes.pilot_points": 1, "inference.modes.look_starts": 6},
    )
    searched, num_modes = (report.per_datapoint[f"given/{name}"] for name in ("searched", "num_modes"))
    assert searched[0]
    assert num_modes[1:3].tolist() == [2, 2]
    assert searched[1:3].all()
    assert not searched.all()


def test_without_a_search_the_other_mode_is_not_in_log_p():
    """What the search is for: the same audit with it switched off is wrong where there are several modes."""
    _, measured = audited(num_starts=0)
    assert "num_modes" not in measured
    at = list(CASES).index("at the lesser")
    assert measured["diagonal/elbo_optimal"][at] < LOG_P + np.log(0.1) + 0.02


NOISE = 0.1
SIGNED = np.array([[1.0, 0.8, 1.2], [0.7, 1.1, 0.9]], np.float32)


def log_p_of_signs(x_K):
    """log p(x) of x_k = z_k^2 + noise, z ~ N(0, I): 2^K modes, a product of integrals of one dimension."""
    axis = np.linspace(-6.0, 6.0, 20_001)
    log_f = stats.norm.logpdf(x_K[:, None], axis**2, NOISE) + stats.norm.logpdf(axis)
    return np.sum(special.logsumexp(log_f, axis=1) + np.log(axis[1] - axis[0]))


def test_what_a_search_misses_the_priors_side_sees():
    """Two of eight modes are kept: their log p(x) is log 4 short, which the sampler from the prior shows."""
    report = vaelab.audit(
        lambda x_K, z_K: jnp.sum(jax.scipy.stats.norm.logpdf(x_K, z_K**2, NOISE)),
        None,
        SIGNED,
        latent_dim=3,
        key=jax.random.key(0),
        families=("diagonal",),
        evidence="importance",
        quiet=True,
        settings={"inference.modes.max_modes": 2, "inference.modes.num_runs": 8},
    )
    exact = np.array([log_p_of_signs(x_K) for x_K in SIGNED])
    measured = {name.removeprefix("given/"): values for name, values in report.per_datapoint.items()}
    assert measured["modes_missed"].all()
    assert np.all(abs(measured["log_evidence"] - exact) < 5.0 * measured["log_evidence_stderr"] + 0.05)
    assert any("modes missed" in note for note in report.notes)
    assert any("more modes than are kept" in note for note in report.notes)


def test_bounds_from_both_sides_hold_the_truth_of_several_modes():
    """x = z^2 + noise: back from a z at one root to a q* at the other, the bound from above is log 2 low."""
    report = vaelab.audit(
        lambda x_K, z_K: jnp.sum(jax.scipy.stats.norm.logpdf(x_K, z_K**2, NOISE)),
        None,
        SIGNED[:, :1],
        latent_dim=1,
        key=jax.random.key(0),
        sample=lambda key, z_K: z_K**2 + NOISE * jax.random.normal(key, (1,)),
        num_simulated=6,
        families=("diagonal",),
        quiet=True,
    )
    measured = {name.removeprefix("simulated/"): v for name, v in report.per_datapoint.items()}
    several = measured["num_modes"] > 1
    assert several.sum() >= 3
    for side, sign in (("lower", 1.0), ("upper", -1.0)):
        bound, stderr = (measured[f"two_sided_{side}{part}"] for part in ("", "_stderr"))
        assert np.all(sign * (bound - measured["log_evidence"]) < 5.0 * stderr + 0.05)
    assert not any("order broken" in note for note in report.notes)


def test_the_exact_answers_are_those_of_the_density():
    """By a fine grid in float64, of the cases that one resolves."""
    axis = np.linspace(-6.0, 12.0, 1801)
    for name in ("equal, by one", "at the lesser", "one mode", "narrow beside wide"):
        case = CASES[name]
        log_2 = [
            np.log(w) - 0.5 * ((axis[:, None] - m) ** 2 + (axis - m) ** 2) / s**2 - np.log(2.0 * np.pi * s**2)
            for m, s, w in zip(case["means"], case["widths"], case["weights"], strict=True)
        ]
        total = special.logsumexp(np.stack(log_2)) + 2.0 * np.log(axis[1] - axis[0])
        assert abs(total) < 1e-6
