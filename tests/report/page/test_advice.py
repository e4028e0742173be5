"""What to do, as it follows from the numbers of a row."""

import pytest

from tests.report.page.test_summary import made
from tests.support.diagnostics import stat
from tests.support.page import elements, texts
from vaelab.report.page.advice import advice

CASES = {
    "the encoder": ({}, "Most is lost by the encoder: a larger encoder"),
    "the family": (
        {"amortization_gap": stat(0.1), "approximation_gap": stat(0.5)},
        "Most is lost by the family: a richer family than full (up to 0.5000 ± 0.0010 nats)",
    ),
    "both": (
        {"amortization_gap": stat(0.3), "approximation_gap": stat(0.25)},
        "Encoder and family lose about as much",
    ),
    "both, within their errors": (
        {"amortization_gap": stat(0.9, 0.3), "approximation_gap": stat(0.3, 0.1)},
        "Encoder and family lose about as much",
    ),
    "neither is told from nothing": (
        {"amortization_gap": stat(0.9, 0.5), "approximation_gap": stat(0.3, 0.5)},
        "The gaps are within their errors: measure more",
    ),
    "small, but log p(x) may lack modes": (
        {"amortization_gap": stat(0.03), "approximation_gap": stat(0.02), "modes": {"may_lack": True}},
        "Encoder and family lose about as much",
    ),
    "neither": (
        {"amortization_gap": stat(0.03), "approximation_gap": stat(0.02)},
        "Inference is not what limits this model",
    ),
    "no encoder": ({"amortization_gap": None}, "What is lost is the family's"),
    "no encoder, and nothing lost": (
        {"amortization_gap": None, "approximation_gap": stat(0.01)},
        "The family loses next to nothing",
    ),
    "not converged": ({"num_unconverged": 6}, "Fit longer first (inference.max_rounds): 6 of 100 fits"),
    "modes missed": ({"modes": {"num_missed": 2}}, "Modes were missed at 2 datapoints"),
    "at a lesser mode": (
        {"modes": {"num_missed": 0, "num_at_lesser": 3}, "wrong_mode_gap": stat(0.2)},
        "At 3 datapoints the fit from its own start sits in the lesser mode, which costs 0.2000 ± 0.0010",
    ),
    "heavy tails": (
        {"log_evidence": stat(-1.0) | {"num_heavy_tailed": 9}},
        "not to be trusted at 9 of 100 datapoints",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_follows_from_the_numbers(case):
    changes, said = CASES[case]
    row = made(**{"amortization_gap": stat(0.7), **changes})
    (text,) = texts(elements(advice(row)), "p")
    assert said in text
    doubts = case in ("not converged", "modes missed", "at a lesser mode", "heavy tails")
    assert text.startswith("What to do (test, full): " + ("" if doubts else said))


def test_nothing_is_said_of_what_is_not_finite():
    assert advice(made(approximation_gap=stat(float("nan")))) == ""
