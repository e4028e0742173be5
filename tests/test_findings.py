"""The scripts of `findings/`, read and never run: each is in the index and is written as its README says."""

import os
import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "findings"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
HEADINGS = ("# Expected:", "# Seen:", "# Versions:", "# Instead:", "# Output:")


def test_the_index_names_each_script_once_and_no_other():
    named = re.findall(r"^\| \[(\S+)\]\((\S+)\) \| \S", (FOLDER / "README.md").read_text(), re.M)
    assert SCRIPTS
    assert [shown for shown, _ in named] == [script.name for script in SCRIPTS]
    assert all(shown == link for shown, link in named)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_stands_alone_and_cleans_up(script):
    text = script.read_text()
    header, *code = _header_and_code(text)
    assert text.startswith("#!/usr/bin/env bash\n")
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True, check=False).returncode == 0
    places = [header.find(heading) for heading in HEADINGS]
    assert -1 not in places, "the header lacks a part"
    assert places == sorted(places)
    assert header.splitlines()[-1].startswith("#   "), "the output is missing"
    assert code[:3] == ["set -euo pipefail", "work=$(mktemp -d)", "trap 'rm -rf \"$work\"' EXIT"]
    assert "vaelab" not in text
    assert "://" not in text, "no host is named"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_pins_what_it_installs(script):
    text = script.read_text().replace("\\\n", " ")
    installs = re.findall(r'^"\$work/venv/bin/pip" install --quiet (.+)$', text, re.M)
    assert installs
    assert text.count("bin/pip") == len(installs), "an unusual call of pip"
    words = [word for line in installs for word in line.split()]
    assert [word for word in words if not re.fullmatch(r"[\w.-]+==[\w.]+", word)] == []
    header = _header_and_code(text)[0]
    versions = re.findall(r"==([\w.]+)", installs[0])
    assert versions[0] in header, "the header names another version"


def _header_and_code(text):
    """The comment on top, and the lines of code below it without the blank ones."""
    lines = text.splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return ["\n".join(lines[:end]), *(line for line in lines[end:] if line)]
