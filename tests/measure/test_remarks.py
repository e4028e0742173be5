"""What of a row is said in words, and what is not."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.measure.test_ended import by_hand
from tests.measure.test_rows import outcome
from vaelab.evidence.weights import Evidence
from vaelab.inference.modes import Modes
from vaelab.inference.starts import KINDS
from vaelab.measure import remarks
from vaelab.measure.other_modes import MOST_SEARCHED, search
from vaelab.measure.search import Searched
from vaelab.objective.draws import Estimate

N, M = 4, 3


def test_nothing_is_said_of_what_is_sound():
    assert remarks.suspects("diagonal", outcome(by_hand(), by_hand())) == []
    assert remarks.about_modes("diagonal", outcome(by_hand())) == []


@pytest.mark.parametrize(("latent_dim", "num_starts"), [(512, 32), (513, 0), (513, 32), (4096, 32)])
def test_dimensions_in_which_no_mode_is_looked_for_are_said(latent_dim, num_starts):
    lines = remarks.about_no_search(latent_dim, num_starts)
    assert len(lines) == (num_starts > 0 and latent_dim > MOST_SEARCHED)
    assert all(f"{latent_dim:,} dimensions" in line for line in lines)


def test_more_dimensions_than_can_be_searched_are_not():
    subject = SimpleNamespace(
        settings=SimpleNamespace(search=SimpleNamespace(num_starts=32)),
        model=SimpleNamespace(latent_dim=MOST_SEARCHED + 1),
    )
    assert search([SimpleNamespace(subject=subject)] * 2, "test", [{}, {}], None) == [None, None]


def test_each_number_that_is_not_to_be_trusted_has_a_line_with_its_first_datapoint():
    fits = by_hand(), by_hand(bound=-np.inf), by_hand(bound=np.nan), by_hand(bound=-np.inf)
    measured = outcome(*fits, log_evidence=[0.0, 0.0, 0.0, -np.inf])
    measured.evidence = measured.evidence._replace(acceptance=np.float32([0.5, 0.0, 0.0, 0.5]))
    assert remarks.suspects("diagonal", measured) == [
        "no move was accepted (importance) at 2 of 4 datapoints, index 11 first",
        "log p(x) (importance) is not finite at 1 of 4 datapoints, index 13 first",
        "L[q*_diagonal] is not finite at 1 of 4 datapoints, index 12 first",
        f"L[q*_diagonal] is -inf at 2 of 4 datapoints, index 11 first{remarks.OUTSIDE}",
    ]


@pytest.mark.parametrize(("estimator", "number"), [("quadrature", 1), ("importance", 0)])
def test_an_error_says_what_may_be_missing_of_quadrature_alone(estimator, number):
    measured = outcome(by_hand(), by_hand(), stderr=0.2)
    measured.estimator.name = estimator
    lines = remarks.suspects("diagonal", measured)
    assert lines == ["quadrature is off by 0.1 nats or more at 2 of 2 datapoints, index 10 first"][:number]


def searched_outcome(*, lost, stderr=0.01, several=(), crowded=(), missed=(), shortfall=0.0):
    """Four datapoints, with a second mode at those of `several`."""
    weight_NxM = np.full((N, M), -np.inf, np.float32)
    weight_NxM[:, 0] = 0.0
    weight_NxM[list(several), 1] = -1.0
    place = np.zeros((N, M, 2), np.float32)
    kind_NxM = np.full((N, M), KINDS.index("sampler"))
    modes = Modes(place, place, weight_NxM, weight_NxM, None, np.isin(np.arange(N), crowded), kind_NxM)
    side = Evidence(*np.full((5, N), np.nan))
    again = np.array([True, False, False, False])
    refit = SimpleNamespace(
        lost=Estimate(np.float32(lost), np.full(N, stderr, np.float32)), again=again, mode=np.zeros(N, int)
    )
    measured = outcome(*[by_hand()] * N)
    measured.others = SimpleNamespace(
        searched=Searched(modes, np.array([True, True, True, False]), side),
        refits={"diagonal": refit},
        missed_N=np.isin(np.arange(N), missed),
        pilot=np.array([0, 2]),
        shortfall=shortfall,
        narrowest=0.5,
    )
    return measured


def test_a_lesser_mode_is_one_beyond_the_error_and_what_it_costs_is_the_mean_over_such():
    measured = searched_outcome(lost=[2.0, 0.04, np.nan, 4.0], several=(0, 3))
    assert remarks.at_lesser_mode(measured.others, "diagonal").tolist() == [True, False, False, True]
    several, lesser, unknown = remarks.about_modes("diagonal", measured)
    assert several.startswith(
        "several modes: log p(x, z) has up to 2 of weight at 2 of 4 datapoints, index 10"
    )
    assert several.endswith(
        "all that were seen, as modes less than 0.5 times as wide as the widest may not be: each log p(x) "
        "here is a lower bound, beyond its error"
    )
    assert "a mode whose bound is 3 nats lower in the mean" in lesser
    assert lesser.endswith("which is reported, at 2 of 4 datapoints, index 10 first")
    assert "may sit in one at 1 of 4 datapoints, index 12 first; this family is not fitted" in unknown


@pytest.mark.parametrize(("shortfall", "says"), [(1.23456, "1.235 nats higher"), (np.inf, "finite where")])
def test_what_a_search_has_missed_is_said_with_its_size(shortfall, says):
    measured = searched_outcome(lost=np.zeros(N), crowded=(1,), missed=(2,), shortfall=shortfall)
    crowded, missed = remarks.about_modes("diagonal", measured)
    assert crowded.startswith("more modes than are kept at 1 of 4 datapoints, index 11 first")
    assert f"from the prior's side log p(x) is {says}" in missed
    assert "index 12 first, 2 looked at so" in missed


def test_the_entry_of_a_row_counts_them():
    measured = searched_outcome(lost=[2.0, 0.0, np.nan, 4.0], several=(0, 3), crowded=(3,), missed=(1, 2))
    assert remarks.summary("diagonal", measured, 12.6) == {
        "num_searched": 3,
        "num_pilot": 2,
        "num_several": 2,
        "most": 2,
        "narrowest": 0.5,
        "may_lack": True,
        "num_crowded": 1,
        "num_refitted": 1,
        "num_at_lesser": 2,
        "lost": 2.0,
        "num_missed": 2,
        "shortfall": 0.0,
        "decoder_evaluations_per_point": 13,
    }
    nothing = searched_outcome(lost=np.full(N, np.nan))
    assert remarks.summary("diagonal", nothing, 1.0)["lost"] is None


LACKING = {
    "several, and only wide ones are met": ((0,), 0.5, True),
    "several, and narrow ones too": ((0,), remarks.NARROW, False),
    "several, from a grid of nodes": ((0,), None, False),
    "one at each datapoint": ((), 0.5, False),
}


@pytest.mark.parametrize("case", LACKING)
def test_a_log_evidence_may_lack_modes_where_several_are_seen_and_narrow_ones_are_not_met(case):
    several, narrowest, expected = LACKING[case]
    measured = searched_outcome(lost=np.zeros(N), several=several)
    measured.others.narrowest = narrowest
    assert remarks.may_lack_modes(measured.others) is expected
    assert ("lower bound" in " ".join(remarks.about_modes("diagonal", measured))) is expected
    assert remarks.summary("diagonal", measured, 1.0)["may_lack"] is expected


def test_an_optimum_is_from_the_start_that_led_there():
    """The first was fitted again, at a mode that the sampler led to; the third came from the prior."""
    measured = searched_outcome(lost=np.zeros(N))
    measured.fits["diagonal"].from_prior[2] = True
    assert remarks.optimum_from("diagonal", measured, "encoder") == {"sampler": 1, "encoder": 2, "prior": 1}
    assert remarks.optimum_from("diagonal", measured, None) == {"sampler": 1, "start": 2, "prior": 1}
