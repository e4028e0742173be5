"""Rows of runs, as sweeps take them."""

from vaelab import report


def run_row(split, elbo, *, broken=()):
    """A row of a run whose quantities are all `elbo` ± 0.3."""
    statistic = {"mean": elbo, "stderr": 0.3}
    quantities = dict.fromkeys(report.MEASURED, statistic)
    about = {"split": split, "family": "diagonal", "amortized_by": "encoder", "num_points": 9}
    counts = {"num_unconverged": 2, "num_broken_orders": {"a <= b": 1}, "broken_orders": list(broken)}
    return {**quantities, **about, **counts}
