"""Rows of runs, as tables and sweeps take them."""

from vaelab import report

STATISTIC = {"mean": 1.0, "stderr": 0.1}
ROW = {
    "split": "test",
    "family": "diagonal",
    **dict.fromkeys(
        (
            "elbo_amortized",
            "elbo_optimal",
            "amortization_gap",
            "approximation_gap",
            "inference_gap",
        ),
        STATISTIC,
    ),
    "log_evidence": {**STATISTIC, "bias": "below", "num_heavy_tailed": 3},
    "num_points": 360,
    "certificate": "estimate",
    "num_unconverged": 5,
    "num_negative": 0,
    "decoder_evaluations_per_point": 795,
    "broken_orders": ["L[q*] above log p(x)"],
}


def run_row(split, elbo, *, broken=()):
    """A row of a run whose quantities are all `elbo` ± 0.3."""
    statistic = {"mean": elbo, "stderr": 0.3}
    quantities = dict.fromkeys(report.MEASURED, statistic)
    about = {"split": split, "family": "diagonal", "amortized_by": "encoder", "num_points": 9}
    counts = {"num_unconverged": 2, "num_broken_orders": {"a <= b": 1}, "broken_orders": list(broken)}
    return {**quantities, **about, **counts}
