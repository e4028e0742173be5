"""Rows as a DataFrame and as LaTeX: every number is that of the row."""

import math

import pytest

from tests.support.rows import ROW, run_row
from vaelab.errors import ConfigError
from vaelab.report import export


@pytest.mark.parametrize(
    ("mean", "stderr", "text"),
    [
        (-23.4987, 0.1912, "-23.50(19)"),
        (0.30031, 0.00986, "0.300(10)"),  # 986 is rounded up to 1000, which has two digits
        (0.2870, 0.0049, "0.287(5)"),
        (0.827, 0.119, "0.83(12)"),
        (0.827, 0.367, "0.8(4)"),
        (91.1876, 0.0021, "91.1876(21)"),
        (123.4, 1.23, "123.4(1.2)"),
        (1234.0, 45.0, "1234(45)"),
        (1.5, 0.0, "1.5000"),
        (1.5, None, "1.5"),
        (None, None, r"\text{not finite}"),
        (math.nan, 0.1, r"\text{not finite}"),
    ],
)
def test_an_error_has_the_digits_that_it_is_worth(mean, stderr, text):
    assert export.rounded(mean, stderr) == text


def test_the_latex_table_has_every_quantity_of_every_row():
    text = export.to_latex([ROW, run_row("test", -20.0) | {"family": "low_rank"}])
    lines = text.splitlines()
    assert lines[0] == r"\begin{tabular}{lrr}"
    assert r" & test, diagonal & test, low\_rank \\" in lines
    assert r"$\log p(x)$ & $1.00(10)$ & $-20.00(30)$ \\" in lines
    assert r"amortization gap & $1.00(10)$ & $-20.00(30)$ \\" in lines
    without = export.to_latex([ROW | {"amortization_gap": None}, ROW])
    assert r"amortization gap & -- & $1.00(10)$ \\" in without


def test_a_dataframe_has_a_line_for_each_row():
    pandas = pytest.importorskip("pandas")
    swept = run_row("test", -20.0) | {"settings": {"encoder.hidden": "10"}, "num_seeds": 3}
    swept["elbo_optimal"] = {"mean": -20.0, "stderr": 0.3, "half_width": 1.3}
    frame = export.to_dataframe([swept, ROW | {"amortization_gap": None}])
    assert frame["encoder.hidden"][0] == "10"
    assert frame["elbo_optimal"].tolist() == [-20.0, 1.0]
    assert frame["elbo_optimal_half_width"][0] == 1.3
    assert pandas.isna(frame["amortization_gap"][1])
    assert frame["log_evidence_stderr"].tolist() == [0.3, 0.1]


def test_without_pandas_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ConfigError, match=r"needs pandas: pip install 'vaelab\[tables\]'"):
        export.to_dataframe([ROW])


def test_what_may_lack_modes_is_at_least_what_stands_there():
    text = export.to_latex([ROW | {"modes": {"may_lack": True}}])
    assert r"$\log p(x)$ & $\geq 1.00(10)$ \\" in text
    assert r"approximation gap & $\geq 1.00(10)$ \\" in text
    assert r"amortization gap & $1.00(10)$ \\" in text
