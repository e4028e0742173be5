"""What a person sees: tables, plots, pages, logs."""

from vaelab.report.plots import figure, plot_gaps, plot_pictures
from vaelab.report.quantities import MEASURED, QUANTITIES
from vaelab.report.tables import (
    COUNTS,
    HEAVY_TAILED,
    OF_NO_VALUE,
    at_least,
    cell,
    gap_table,
    level_gap,
    plain_table,
    remarks,
    to_json,
)

__all__ = [
    "COUNTS",
    "HEAVY_TAILED",
    "MEASURED",
    "OF_NO_VALUE",
    "QUANTITIES",
    "at_least",
    "cell",
    "figure",
    "gap_table",
    "level_gap",
    "plain_table",
    "plot_gaps",
    "plot_pictures",
    "remarks",
    "to_json",
]
