"""Two low estimates of log p(x): when the one from the prior's side tells anything."""

import numpy as np
import pytest

from vaelab.evidence.weights import Evidence
from vaelab.measure.by_modes import BESIDES, compare_sides


def evidence(values, stderr):
    values = np.float32(values)
    rest = np.full(values.shape, 100.0, np.float32)
    return Evidence(values, np.broadcast_to(np.float32(stderr), values.shape), rest, 0.0 * rest, rest)


@pytest.mark.parametrize(("local", "other"), [(0.01, 0.1), (0.1, 0.01)])
def test_only_a_lead_beyond_five_errors_of_both_is_told(local, other):
    error = np.hypot(0.01, 0.1)
    leads = np.array([-3.0, 0.0, 4.9 * error, 5.1 * error + BESIDES, 3.0])
    compared = compare_sides(evidence(np.zeros(5), local), evidence(leads, other))
    assert compared.missed_N.tolist() == [False, False, False, True, True]
    np.testing.assert_allclose(compared.shortfall_N, leads, rtol=1e-6)


def test_what_is_not_finite_tells_nothing_unless_nothing_stands_against_it():
    local = evidence([0.0, -np.inf, -np.inf, np.nan], [0.01, np.inf, np.inf, np.nan])
    other = evidence([np.nan, -2.0, -np.inf, -2.0], [np.nan, 0.1, np.inf, 0.1])
    with np.errstate(all="raise"):
        missed_N = compare_sides(local, other).missed_N
    assert missed_N.tolist() == [False, True, False, True]
