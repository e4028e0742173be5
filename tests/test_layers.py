"""Imports flow one way: a file or folder of `vaelab` imports only from rows before it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vaelab

LAYERS = """
errors, types, linalg, keys
model | runtime | data
posterior, objective
inference | evidence
training | measure
report
study
config
runs | audit
__init__, public, prepare, compare, command
"""
# A row's groups, divided by |, do not import each other; inside a group anything goes without a circle.
ROWS = [[group.strip().split(", ") for group in row.split("|")] for row in LAYERS.strip().splitlines()]
PLACE = {
    name: (number, part)
    for number, row in enumerate(ROWS)
    for part, group in enumerate(row)
    for name in group
}
MATHEMATICS = {
    "errors",
    "types",
    "linalg",
    "keys",
    "model",
    "posterior",
    "objective",
    "inference",
    "evidence",
}
ROOT = Path(vaelab.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def identity(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix(""))


NEVER = {"tensorflow"}
ONLY_IN_FUNCTIONS = {
    "sklearn",
    "tensorflow_datasets",
    "matplotlib",
    "blackjax",
    "tensorboardX",
    "distrax",
    "scipy",
    "numpyro",
    "wandb",
    "mlflow",
}
# The bijectors that families build their distributions of are themselves imported in the families' functions.
EXCEPT = {"posterior/bijectors": {"distrax"}}


def imported(tree: ast.AST) -> list[str]:
    """Every module that the code names in an import, dotted; `from a import b` gives a and a.b."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides its layer"
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names += [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
    return names


def at_top(tree: ast.Module) -> list[str]:
    """What importing the module imports: everything outside the bodies of functions."""

    class Hollow(ast.NodeTransformer):
        def visit_FunctionDef(self, node):
            return ast.Pass()

        def visit_If(self, node):
            return ast.Pass() if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

        visit_AsyncFunctionDef = visit_FunctionDef

    return imported(Hollow().visit(tree))


def siblings(names: list[str]) -> set[str]:
    """The modules of vaelab among these names."""
    parts = {tuple(name.split(".")[1:2]) for name in names if name.split(".")[0] == "vaelab"}
    return {part[0] for part in parts if part and part[0] in PLACE}


def concept(path: Path) -> str:
    """The name in the table: that of the file, or of the folder it is in."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def roots(names: list[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_imports_only_from_rows_above(path):
    mine = concept(path)
    assert mine in PLACE, f"{path.name} is in no row of the table"
    others = siblings(imported(ast.parse(path.read_text()))) - {mine}
    row, part = PLACE[mine]
    wrong = {name for name in others if PLACE[name][0] >= row and PLACE[name] != (row, part)}
    assert not wrong, f"{path.name} imports {sorted(wrong)}, which are not in a row before it"
    assert mine not in MATHEMATICS or "runtime" not in others, f"{path.name} is mathematics"


def test_no_two_files_import_each_other():
    """At the top of the files: what a function imports is there by the time it runs."""
    names = {identity(path): at_top(ast.parse(path.read_text())) for path in FILES}
    graph = {
        file: {other for other in map(module_of, own) if other and other != file}
        for file, own in names.items()
    }
    while graph:
        free = [file for file, others in graph.items() if not others & graph.keys()]
        assert free, f"a circle among {sorted(graph)}"
        for file in free:
            del graph[file]


def module_of(name: str) -> str | None:
    """The file that a dotted name of vaelab is in, as `identity` has it; None where it is a symbol of one."""
    path = ROOT.parent.joinpath(*name.split("."))
    if name.split(".")[0] == "vaelab" and path.with_suffix(".py").is_file():
        return identity(path.with_suffix(".py"))
    return None


@pytest.mark.parametrize("path", FILES, ids=identity)
def test_heavy_packages_are_imported_where_they_are_used(path):
    source = path.read_text()
    assert not roots(imported(ast.parse(source))) & NEVER
    assert not roots(at_top(ast.parse(source))) & ONLY_IN_FUNCTIONS - EXCEPT.get(identity(path), set())


def test_importing_vaelab_imports_no_heavy_package():
    program = f"import vaelab, sys; print(sorted({ONLY_IN_FUNCTIONS | NEVER!r} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_the_table_names_files_that_exist():
    assert set(PLACE) - {"command"} == {concept(path) for path in FILES} - {"command"}


def test_readme_prints_the_table():
    readme = Path(__file__).parents[1] / "README.md"
    blocks = re.findall(r"^```text\n(.*?)^```$", readme.read_text(), re.MULTILINE | re.DOTALL)
    assert LAYERS.strip().splitlines() in [block.splitlines() for block in blocks]


def test_the_walk_sees_every_form_of_import():
    source = """
import tensorflow.keras
from vaelab import measure, __version__
from vaelab.training import step
if True:
    import sklearn.datasets
class A:
    from matplotlib import pyplot
def f():
    import importlib, tensorflow_datasets
    return importlib.import_module("vaelab.runs.run")
"""
    names = imported(ast.parse(source))
    assert siblings(names) == {"measure", "training", "runs"}
    assert roots(names) == {
        "tensorflow", "vaelab", "sklearn", "matplotlib", "importlib", "tensorflow_datasets"
    }  # fmt: skip
    assert roots(at_top(ast.parse(source))) == {"tensorflow", "vaelab", "sklearn", "matplotlib"}


MOST_IN_A_FILE, MOST_IN_A_FUNCTION = 300, 60
CODE = [*FILES, ROOT.parent / "launch.py", *sorted((ROOT.parent / "experiments").glob("*.py"))]


def num_lines(function: ast.FunctionDef) -> int:
    """Lines of a function from its def on, less those of its docstring."""
    documented = ast.get_docstring(function) is not None
    text = function.body[0] if documented else None
    return function.end_lineno - function.lineno + 1 - (text.end_lineno - text.lineno + 1 if text else 0)


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT.parent)))
def test_files_and_functions_are_short(path):
    source = path.read_text()
    assert source.count("\n") <= MOST_IN_A_FILE, "split it: a file is a concept"
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    long = {f.name: num_lines(f) for f in functions if num_lines(f) > MOST_IN_A_FUNCTION}
    assert not long, "say each step of it in a function"


def test_every_file_has_a_test_file_of_its_name():
    """tests/PACKAGE/test_FILE.py for each vaelab/PACKAGE/FILE.py but for those that only gather others."""
    tests = Path(__file__).parent
    files = [path.relative_to(ROOT) for path in FILES if path.name != "__init__.py"]
    missing = [str(file) for file in files if not (tests / file.parent / f"test_{file.name}").is_file()]
    assert not missing
