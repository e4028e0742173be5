"""README and docs: every link leads somewhere, every page is in the menu, what the how-to pages say works."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml

import vaelab

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(ROOT / name / "README.md" for name in ("benchmarks", "examples")),
    ]
)
HOW_TO = sorted((DOCS / "how_to").glob("*.md"))
BLOCK = re.compile(r'^```(\w+)(?: title="([^"\n]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
AT_END = ", at the end"


def name(path):
    return str(path.relative_to(ROOT))


def without_code(path):
    return re.sub(r"^```.*?^```$|^    .*?$|`[^`\n]*`", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(path):
    """Of a page's headings, as both the site and viewers of repositories make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


def menu(entries):
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from menu(value) if isinstance(value, list) else [value]


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_and_pictures_exist(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(path)):
        if re.match(r"https?:", link):
            continue
        target, _, anchor = link.partition("#")
        found = (path.parent / target).resolve() if target else path
        assert found.is_relative_to(ROOT), f"{link} leads out of the repository"
        assert found.is_file(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(found), f"{link}: no such heading"


def test_every_page_is_in_the_menu_once():
    listed = list(menu(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert len(set(listed)) == len(listed)
    assert set(listed) <= {name(path).removeprefix("docs/") for path in PAGES}
    assert set(listed) >= {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}


def test_readme_is_short_and_links_every_page():
    readme = ROOT / "README.md"
    assert len(readme.read_text().splitlines()) < 200
    links = re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", without_code(readme))
    assert {*DOCS.rglob("*.md"), *PAGES} - {readme} <= {(ROOT / link).resolve() for link in links}


def test_reference_names_everything_public():
    index = (DOCS / "reference" / "index.md").read_text()
    table = index.partition("## What is public")[2].partition("## ")[0]
    assert set(vaelab.__all__) <= set(re.findall(r"`(\w+)`", table))


def test_functions_that_the_derivations_name_exist():
    named = re.findall(r"`(\w+(?:\.\w+)+)`", (DOCS / "derivations.md").read_text())
    assert len(named) > 10
    assert all(resolve_name(f"vaelab.{name}") for name in named)


def test_every_module_of_the_reference_exists_and_is_there_once():
    named = re.findall(r"^::: (.+)$", "\n".join(p.read_text() for p in DOCS.rglob("*.md")), re.MULTILINE)
    assert len(set(named)) == len(named) > 0
    assert [module for module in named if not find_spec(module)] == []


needs_mkdocs = pytest.mark.skipif(
    not find_spec("mkdocs"), reason="needs mkdocs: pip install -r docs/requirements.txt"
)


@needs_mkdocs
def test_formulas_and_columns_of_docstrings_stay_as_they_are(monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "hooks")
    markdown = import_module("docstrings").markdown
    formula = "The bound of x_i:\n\n    L[q]  <=  log p(x)\n      (1)\n\nby Jensen."
    assert markdown(formula) == (
        "The bound of x\\_i:\n\n```text\nL[q]  <=  log p(x)\n  (1)\n```\n\nby Jensen."
    )
    assert markdown("f(x) -> []\ng(x)   more") == "```text\nf(x) -> []\ng(x)   more\n```"
    assert markdown("first: one,\nor two\nf(x) -> []: f") == "- `first`: one,\n    or two\n- `f(x) -> []`: f"


@needs_mkdocs
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    built = list(tmp_path.rglob("*.html"))
    assert len(built) > len(PAGES)
    for page in built:
        for tag in re.findall(r"<(?:script|link|img|iframe|source|object)\b[^>]*>", page.read_text()):
            assert not re.search(r"""(src|href|data)=["']?(https?:)?//""", tag), f"{page.name}: {tag}"
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", sheet.read_text()), sheet.name


@pytest.mark.parametrize("page", HOW_TO, ids=lambda path: path.stem)
def test_what_how_to_changes_is_there(page, tmp_path):
    assert len(prepared(page, tmp_path)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("page", HOW_TO, ids=lambda path: path.stem)
def test_how_to_works_as_written(page, tmp_path):
    for code in prepared(page, tmp_path):
        execute(tmp_path, code)
    results = [*tmp_path.glob("runs/*/gap.json"), *tmp_path.glob("runs/*/sweep.json")]
    assert results
    assert all(json.loads(result.read_text()) for result in results)


def prepared(page, tmp_path):
    """A copy of the package in which its files are written and its changes made; the commands left to run."""
    for folder in ("vaelab", "experiments"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "launch.py", tmp_path)
    commands = []
    for language, title, code in BLOCK.findall(page.read_text()):
        if language == "python":
            write(tmp_path, title, code)
        elif language == "diff":
            change(tmp_path, code)
        elif language == "sh":
            commands.append(code)
    return commands


def write(directory, title, code):
    path = directory / title.removesuffix(AT_END)
    before = path.read_text() + "\n\n" if title.endswith(AT_END) else ""
    assert path.exists() == bool(before), f"{title} is there already"
    path.parent.mkdir(exist_ok=True)
    path.write_text(before + code)


def change(directory, diff):
    """Lines with a minus or no sign stand in the file once, and become those with a plus or no sign."""
    first, *hunks = diff.split("@@\n")
    path = directory / first.removeprefix("--- ").strip()
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        text = path.read_text()
        assert text.count(old) == 1, f"{path.name} has not, once:\n{old}"
        path.write_text(text.replace(old, new))


def execute(directory, code):
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "JAX_COMPILATION_CACHE_DIR": os.environ["VAELAB_TEST_CACHE"],
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        ["sh", "-e"], input=code, cwd=directory, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{code}{done.stdout}{done.stderr}"
