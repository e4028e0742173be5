"""`import vaelab`: every public name is there when it is asked for, and none costs who does not ask."""

import subprocess
import sys

import vaelab
from vaelab import public
from vaelab.audit import auditing


def printed(program: str) -> str:
    return subprocess.check_output([sys.executable, "-c", program], text=True).strip()


def test_the_public_names_are_those_that_are_imported():
    given = {name for name, value in vars(public).items() if not name.startswith("_")}
    assert set(vaelab.__all__) == given
    assert all(getattr(vaelab, name) is vars(public)[name] for name in vaelab.__all__)
    assert set(vaelab.__all__) <= set(dir(vaelab))


def test_the_audit_is_the_function_whatever_was_imported_before():
    assert vaelab.audit is auditing.audit
    for before in ("vaelab.audit.results", "vaelab.command.report", "vaelab.runs.load"):
        assert printed(f"import {before}, vaelab; print(vaelab.audit.__module__)") == "vaelab.audit.auditing"


def test_modules_are_there_by_their_names_and_what_is_no_name_is_an_error():
    assert printed("import vaelab; print(vaelab.posterior.gaussian.__name__)") == "vaelab.posterior.gaussian"
    program = "import vaelab; print(hasattr(vaelab, 'nothing'), hasattr(vaelab, '__nothing__'))"
    assert printed(program) == "False False"


def test_reading_finished_runs_imports_no_jax():
    for name in ("vaelab.compare", "vaelab.runs.index", "vaelab.command", "vaelab.command.report"):
        program = f"import sys, {name}; print({{'jax', 'flax', 'optax', 'scipy'}} & set(sys.modules))"
        assert printed(program) == "set()", name
