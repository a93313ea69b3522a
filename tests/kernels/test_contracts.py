"""Every cell and every rule defines the same names, in the same order, with the same arguments."""

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest

from streamlstm.kernels import cells, rules

RULE_NAMES = ("RULE", "advance", "peek", "gradient")
CELL_FILES = [pytest.param(file, id=name) for name, file in cells.CELLS.items()]
RULE_FILES = [pytest.param(file, id=name) for name, file in rules.RULES.items()]


def path_of(module: ModuleType) -> Path:
    assert module.__file__ is not None
    return Path(module.__file__)


def defined_in(file: ModuleType) -> list[str]:
    """Names that a file defines itself, in order."""
    names = []
    for node in ast.parse(path_of(file).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [name.id for name in node.targets if isinstance(name, ast.Name)]
    return names


def names_of(cell: ModuleType) -> tuple[str, ...]:
    return cells.NAMES + (cells.FORWARD_NAMES if cell.FORWARD else ())


def test_the_names_are_those_of_the_dispatched_functions():
    functions = [name for name in defined_in(cells) if name.islower() and name != "by_cell"]
    assert (*cells.NAMES[2:], *cells.FORWARD_NAMES) == tuple(functions)
    functions = [name for name in defined_in(rules) if name.islower() and name != "by_rule"]
    assert RULE_NAMES[1:] == tuple(functions)


@pytest.mark.parametrize("cell", CELL_FILES)
def test_a_cell_defines_all_names_in_their_order(cell):
    expected = names_of(cell)
    assert [name for name in expected if not hasattr(cell, name)] == []
    own = [name for name in defined_in(cell) if name in expected]
    assert own == [name for name in expected if name in own]
    assert not cell.FORWARD or cell.FORWARD in rules.LEARNING


@pytest.mark.parametrize("rule", RULE_FILES)
def test_a_rule_defines_all_names(rule):
    assert [name for name in RULE_NAMES if not hasattr(rule, name)] == []


@pytest.mark.parametrize(
    ("shared", "file", "names"),
    [
        *[pytest.param(cells, f, names_of(f)[2:], id=n) for n, f in cells.CELLS.items()],
        *[pytest.param(rules, f, RULE_NAMES[1:], id=n) for n, f in rules.RULES.items()],
    ],
)
def test_functions_of_a_name_have_the_same_arguments(shared, file, names):
    for name in names:
        arguments = list(inspect.signature(getattr(file, name)).parameters)
        assert arguments == list(inspect.signature(getattr(shared, name)).parameters)


@pytest.mark.parametrize("package", [cells, rules], ids=["cells", "rules"])
def test_every_file_is_listed(package):
    files = {path.stem for path in path_of(package).parent.glob("*.py")} - {"__init__"}
    listed = cells.CELLS if package is cells else rules.RULES
    assert files == {path_of(file).stem for file in listed.values()}
