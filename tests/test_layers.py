"""Imports flow one way: a file or folder of `vaelab` imports only from layers above it."""

import ast
from pathlib import Path

import pytest

import vaelab

LAYERS = [
    {"types"},
    {
        "networks",
        "likelihood",
        "linalg",
        "data",
        "settings",
        "keys",
        "stop",
        "memory",
        "processes",
        "defaults",
    },
    {"checkpoint", "parallel"},
    {"posterior"},
    {"model", "prepare"},
    {"objective"},
    {"multisample", "curvature", "evidence"},
    {"solver", "certificate"},
    {"inference"},
    {"regime"},
    {"gap", "local_fit", "train"},
    {"report", "train_loop", "progress"},
    {"sweep_report", "metrics"},
    {"rundir"},
    {"study"},
    {"build"},
    {"splits", "train_stage", "normalised", "given"},
    {"measure"},
    {"trained", "measure_together", "given_checks", "audit_hints"},
    {"inference_time"},
    {"rows"},
    {"page"},
    {"run", "auditing"},
    {"sweep_rows", "compare"},
    {"sweep"},
    {"__init__"},
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
FILES = sorted(Path(vaelab.__file__).parent.rglob("*.py"))
NEVER = {"tensorflow"}
ONLY_IN_FUNCTIONS = {"sklearn", "tensorflow_datasets", "matplotlib", "blackjax", "tensorboardX"}


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

        visit_AsyncFunctionDef = visit_FunctionDef

    return imported(Hollow().visit(tree))


def siblings(names: list[str]) -> set[str]:
    """The modules of vaelab among these names."""
    parts = {tuple(name.split(".")[1:2]) for name in names if name.split(".")[0] == "vaelab"}
    return {part[0] for part in parts if part and part[0] in LAYER}


def concept(path: Path) -> str:
    """The name in the table: that of the file, or of the folder it is in."""
    return path.relative_to(Path(vaelab.__file__).parent).parts[0].removesuffix(".py")


def roots(names: list[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_imports_only_from_layers_above(path):
    mine = concept(path)
    assert mine in LAYER, f"{path.name} is in no layer of the table"
    others = siblings(imported(ast.parse(path.read_text()))) - {mine}
    below = {name for name in others if LAYER[name] >= LAYER[mine]}
    assert not below, f"{path.name} imports {sorted(below)}, which are not above it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_heavy_packages_are_imported_where_they_are_used(path):
    source = path.read_text()
    assert not roots(imported(ast.parse(source))) & NEVER
    assert not roots(at_top(ast.parse(source))) & ONLY_IN_FUNCTIONS


def test_the_table_names_files_that_exist():
    assert set(LAYER) == {concept(path) for path in FILES}


def test_the_walk_sees_every_form_of_import():
    source = """
import tensorflow.keras
from vaelab import gap, __version__
from vaelab.train import fit
if True:
    import sklearn.datasets
class A:
    from matplotlib import pyplot
def f():
    import importlib, tensorflow_datasets
    return importlib.import_module("vaelab.run")
"""
    names = imported(ast.parse(source))
    assert siblings(names) == {"gap", "train", "run"}
    assert roots(names) == {
        "tensorflow", "vaelab", "sklearn", "matplotlib", "importlib", "tensorflow_datasets"
    }  # fmt: skip
    assert roots(at_top(ast.parse(source))) == {"tensorflow", "vaelab", "sklearn", "matplotlib"}
