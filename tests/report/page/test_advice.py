"""What to do, as it follows from the numbers of a row."""

import numpy as np
import pytest

from tests.report.page.test_summary import made
from tests.support.diagnostics import stat
from tests.support.page import elements, texts
from vaelab.report.page.advice import advice
from vaelab.report.tables import cell

CASES = {
    "the encoder": ({}, "Most is lost by the encoder: begin there."),
    "the family": (
        {"amortization_gap": stat(0.1), "approximation_gap": stat(0.5)},
        "Most is lost by the family: begin there.",
    ),
    "both": (
        {"amortization_gap": stat(0.3), "approximation_gap": stat(0.25)},
        "Encoder and family lose about as much: begin with the encoder, which loses somewhat more.",
    ),
    "both, within their errors": (
        {"amortization_gap": stat(0.9, 0.3), "approximation_gap": stat(0.3, 0.1)},
        "Encoder and family lose about as much, within the errors: begin with the encoder",
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
    text, *_ = texts(elements(advice([row], {})), "p")
    assert said in text
    doubts = case in ("not converged", "modes missed", "at a lesser mode", "heavy tails")
    assert text.startswith("What to do (test, full): " + ("" if doubts else said))


def steps(**changes):
    return texts(elements(advice([made(**changes)], {})), "li")


def test_the_steps_are_in_order_with_what_each_can_gain_at_most():
    encoder, family = steps(amortization_gap=stat(0.5), approximation_gap=stat(0.25))
    assert "can gain at most the amortization gap, 0.5000 ± 0.0010 nats." in encoder
    assert "can gain at most the approximation gap, 0.2500 ± 0.0010 nats; less where" in family
    gaps = {"amortization_gap": stat(0.2), "approximation_gap": stat(0.25)}
    bounded = stat(-1.0) | {"bias": "lower"}
    first, second = steps(**gaps, log_evidence=bounded)
    assert first.startswith("The family")
    assert "0.2500 ± 0.0010 nats, or more, as log p(x) is a lower bound; less" in first
    assert second.startswith("The encoder")
    # Apart by less than three errors of the difference: the encoder, whose change leaves the model as it is.
    gaps = {"amortization_gap": stat(0.24, 0.01), "approximation_gap": stat(0.25)}
    assert [step[:11] for step in steps(**gaps)] == ["The encoder", "The family:"]


def test_a_gap_within_its_errors_is_no_step():
    (text,) = texts(elements(advice([made(approximation_gap=stat(0.002))], {})), "p")
    assert "Most is lost by the encoder: begin there. The encoder: make it larger" in text
    assert "The family" not in text
    for changes in ({"amortization_gap": None, "approximation_gap": stat(0.01)}, CASES["neither"][0]):
        (text,) = texts(elements(advice([made(**changes)], {})), "p")
        assert "The family: " not in text
        assert "The encoder: " not in text


def test_another_family_is_compared_at_the_same_datapoints():
    rng = np.random.default_rng(0)
    log_evidence, lost, gain, worse = rng.normal(size=(4, 50))
    optimal, amortized = log_evidence - 1.0 - lost, log_evidence - 2.0 - 2.0 * lost
    per_datapoint = {
        "test/log_evidence": log_evidence,
        "test/full/elbo_optimal": optimal,
        "test/full/elbo_amortized": amortized,
        "test/rich/elbo_optimal": optimal + 0.5 + 0.01 * gain,
        "test/rich/elbo_amortized": amortized + 0.1 + 0.01 * worse,
    }
    rows = [made(), made(family="rich"), made(family="rich", split="train")]
    *_, said = texts(elements(advice(rows, per_datapoint)), "p")

    def paired(values):
        return cell(stat(np.mean(values), np.std(values, ddof=1) / np.sqrt(50)))

    assert said == (
        "Measured beside, at the same datapoints: with the rich family the best q loses"
        f" {paired(0.5 + 0.01 * gain)} nats less and the encoder loses"
        f" {paired(0.4 + 0.01 * (gain - worse))} nats more;"
        f" so in total inference loses {paired(0.1 + 0.01 * worse)} nats less."
    )
    per_datapoint["test/rich/elbo_amortized"] = amortized + worse
    *_, said = texts(elements(advice(rows, per_datapoint)), "p")
    assert f"so in total inference loses as much within the error ({paired(-worse)} nats more)." in said


def test_nothing_is_said_of_what_is_not_finite():
    assert advice([made(approximation_gap=stat(float("nan")))], {}) == advice([], {}) == ""
