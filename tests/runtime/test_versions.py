"""A run is of one set of versions, unless it is asked to go on under others, which it then says."""

import json

import jax
import pytest
from rich.console import Console

from vaelab.runtime import versions as module
from vaelab.runtime.directory import DirectoryError
from vaelab.runtime.versions import FILE, keep_versions, versions

QUIET = Console(quiet=True)


def test_they_are_those_of_what_computes():
    assert versions()["jax"] == jax.__version__
    assert versions()["device"] == jax.devices()[0].device_kind
    assert {"vaelab", "Python", "jaxlib", "flax", "optax", "distrax"} < versions().keys()


def test_a_run_goes_on_under_its_own_versions_alone(tmp_path, monkeypatch):
    first = versions()
    assert keep_versions(tmp_path, QUIET, across=False) == [first]
    assert keep_versions(tmp_path, QUIET, across=False) == [first]
    later = first | {"jax": "99.0", "device": "another"}
    monkeypatch.setattr(module, "versions", lambda: later)
    with pytest.raises(DirectoryError) as raised:
        keep_versions(tmp_path, QUIET, across=False)
    line = str(raised.value)
    assert (
        f"(jax {first['jax']} there and 99.0 here; device {first['device']} there and another here)" in line
    )
    assert "--across_versions" in line
    assert "flax" not in line
    assert json.loads((tmp_path / FILE).read_text()) == [first]
    assert keep_versions(tmp_path, QUIET, across=True) == [first, later]
    # Both are now of the run.
    assert keep_versions(tmp_path, QUIET, across=False) == [first, later]
    monkeypatch.undo()
    assert keep_versions(tmp_path, QUIET, across=False) == [first, later]
