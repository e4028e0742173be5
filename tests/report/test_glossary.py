"""The glossary: the page is what the table gives, and the table has the terms that reports print."""

import pytest

from vaelab.report import glossary
from vaelab.report.quantities import LEVEL_GAPS, QUANTITIES


def test_the_page_is_what_the_table_gives():
    written = glossary.PAGE.read_text()
    assert written == glossary.page(), "python -m vaelab.report.glossary"


def test_no_term_is_there_twice_and_each_has_a_meaning_of_one_sentence():
    terms = [term for section in glossary.glossary().values() for term in section]
    names = [name for term in terms for name in term.name.split(", ")]
    assert len(set(names)) == len(names) > 90
    for term in terms:
        assert term.meaning.endswith("."), term
        assert ". " not in term.meaning, term
        assert all(cell == cell.strip() and "\n" not in cell for cell in term), term


def test_the_gaps_of_every_table_are_in_it():
    names = {term.name for section in glossary.glossary().values() for term in section}
    printed = {q.title or q.short for q in QUANTITIES if q.name.endswith("_gap")} | set(LEVEL_GAPS.values())
    assert len(printed) == 7
    assert printed <= names


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        (
            "## A\nb | c || d | one\n    two.",
            ["| term | symbol | meaning |", "| b | c \\|\\| d | one two. |"],
        ),
        ("## A\nb | | one.\ne | | two.", ["| term | meaning |", "| b | one. |", "| e | two. |"]),
        ("## A\nb | | one.\ne | f | two.", ["| b | | one. |", "| e | f | two. |"]),
    ],
)
def test_a_table_becomes_a_page(table, lines, monkeypatch):
    monkeypatch.setattr(glossary, "TERMS", table)
    page = glossary.page().splitlines()
    assert "## A" in page
    assert [line for line in page if line in lines] == lines
