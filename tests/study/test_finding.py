"""What a study comes to: tables of rows with the same keys, and a figure."""

import pytest

from experiments import full_covariance_kl, gradient_variance, reparameterization
from vaelab.config.study import build_study


@pytest.mark.parametrize(
    "experiment",
    [
        reparameterization,
        *(pytest.param(one, marks=pytest.mark.slow) for one in (full_covariance_kl, gradient_variance)),
    ],
)
def test_every_study_has_tables_of_one_kind_of_row_and_draws_its_figure(experiment, tmp_path):
    finding = build_study(experiment.get_config("smoke"))()
    for rows in finding.tables.values():
        assert rows
        assert all(row.keys() == rows[0].keys() for row in rows)  # a table has the columns of its first row
    finding.plot(tmp_path / "study.png")
    assert (tmp_path / "study.png").stat().st_size > 10_000
