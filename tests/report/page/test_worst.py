"""Which datapoints lose the most, and why."""

import math
import re

import numpy as np
import pytest

from tests.support.page import given
from vaelab.report.page.worst import robust_z, worst

REASONS = {
    "pareto_k": (0.834, "heavy weights (k-hat 0.83)"),
    "acceptance": (0.0, "no move was accepted"),
    "diagonal/converged": (False, "not converged (L[q*] may be 0.00 ± 0.01 nats too low)"),
    "log_evidence": (-math.inf, "log p(x) is not finite"),
    "diagonal/elbo_optimal": (math.nan, "L[q*] is not finite"),
}


@pytest.mark.parametrize("name", REASONS)
def test_a_datapoint_among_the_worst_has_its_reason(name):
    arguments = given(families=("diagonal",))
    row, arrays = arguments["rows"][0], arguments["per_datapoint"]
    arrays["test/diagonal/elbo_amortized"][7] -= 100.0
    value, reason = REASONS[name]
    arrays[f"test/{name}"][7] = value
    first, second, *_ = worst(row, arrays)
    assert (first.position, first.reasons) == (7, (reason,))
    larger = "the encoder" if second.amortization > second.approximation else "the family"
    assert second.reasons == (larger,)


def test_out_of_distribution_is_told_by_the_robust_z_score():
    arguments = given(num_points=200, families=("diagonal",))
    arrays = arguments["per_datapoint"]
    z_N = robust_z(arrays["test/log_evidence"])
    # The robust score of a normal distribution is the ordinary one, up to the MAD's error: 1.17 / sqrt(N).
    ordinary_N = (arrays["test/log_evidence"] + 90) / 5
    assert abs(np.polyfit(ordinary_N, z_N, 1)[0] - 1) < 5 * 1.17 / math.sqrt(200)
    for name in ("log_evidence", "diagonal/elbo_optimal", "diagonal/elbo_amortized"):
        arrays[f"test/{name}"][3] -= 60.0
    arrays["test/diagonal/elbo_amortized"][3] -= 30.0
    (reason,) = worst(arguments["rows"][0], arrays)[0].reasons
    assert re.fullmatch(r"log p\(x\) far below the others \(z -1\d\.\d\)", reason)
    assert not robust_z(np.float64([-1.0, -1.01, -9.0])).any()
