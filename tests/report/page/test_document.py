"""A page as such: headings of what is there, and a policy that lets nothing in."""

from tests.support.page import Page
from vaelab.report.page.document import write_document
from vaelab.report.page.markup import Markup, tag


def written(tmp_path, **more):
    sections = {"First": tag("p", "one"), "Nothing": Markup(), "Last": tag("p", "two")}
    write_document(tmp_path / "a.html", "a <title>", Markup(), tag("p", "lead"), sections, **more)
    return Page(tmp_path / "a.html")


def test_sections_with_nothing_in_them_have_no_heading_and_the_others_are_linked(tmp_path):
    page = written(tmp_path)
    assert [text for _, _, text in page.all("h2")] == ["First", "Last"]
    assert [attrs["href"] for _, attrs, _ in page.all("a")] == ["#part-0", "#part-1"]
    assert {attrs["id"] for _, attrs, _ in page.all("h2")} == {"part-0", "part-1"}
    assert "a &lt;title&gt;" in page.text


def test_the_policy_lets_nothing_in_but_the_script_that_is_given(tmp_path):
    def policy(page):
        (said,) = (a["content"] for _, a, _ in page.all("meta") if a.get("http-equiv"))
        return said

    without = policy(written(tmp_path))
    assert without.startswith("default-src 'none'")
    assert "script-src" not in without
    with_script = policy(written(tmp_path, script="f()"))
    assert with_script.count("script-src 'sha256-") == 1
