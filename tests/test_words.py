"""Words that a person reads: the field's terms, and sentences that are read once."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROSE = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
CODE = sorted([*(ROOT / "vaelab").rglob("*.py"), *(ROOT / "experiments").glob("*.py"), ROOT / "launch.py"])
OTHERS = {
    r"\blaws?\b(?! of (total|large))": "distribution",
    r"\bphi by\b|\bgives phi\b": "where phi comes from",
    r"\bevaluations a point\b": "gradient evaluations",
    r"\bcertified by: estimate\b": "certificate",
    r"\bso many\b": "as many, the number of",
}
SENTENCE = re.compile(r"(?:^|[.;:] |\n\n *|\| )(Of|As many) [a-z]")


def texts(path: Path) -> list[tuple[int, str]]:
    """(line, text) of every docstring and string of a file of code, or the whole of a page."""
    if path.suffix == ".md":
        return [(1, path.read_text())]
    tree = ast.parse(path.read_text())
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.parametrize("path", [*PROSE, *CODE], ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_those_of_the_field(path):
    said = []
    for line, text in texts(path):
        said += [
            f"{path.name}:{line}: {match[0]!r}: say {better!r}"
            for pattern, better in OTHERS.items()
            for match in re.finditer(pattern, text)
        ]
        said += [f"{path.name}:{line}: a sentence begins {m[0]!r}" for m in SENTENCE.finditer(text)]
    assert not said, "\n".join(said)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Of a run the rows.", 1),
        ("One. Of a run the rows.", 1),
        ("The law of z is known.", 1),
        ("by the law of total variance", 0),
        ("The rows of a run. Office hours.", 0),
    ],
)
def test_the_patterns_tell_them(text, number):
    patterns = [*map(re.compile, OTHERS), SENTENCE]
    assert sum(len(pattern.findall(text)) for pattern in patterns) == number
