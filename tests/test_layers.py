"""Every import points down the layers of the package, and none goes in a circle."""

import ast
from pathlib import Path

import streamlstm

ROOT = Path(streamlstm.__file__).parent
# From the bottom up. A module belongs to the longest name here that its own begins with.
LAYERS = [
    ["errors"],
    ["kernels"],
    ["model"],
    ["interop"],
    ["forecaster", "regressor", "classifier", "multi_target"],
    ["fleets"],
    ["snapshots"],
    ["live"],
    ["replays"],
    [""],  # streamlstm itself: its names
    ["cli", "__main__"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(module: str) -> set[str]:
    """Modules of the package that a module imports when it is loaded or at any later time."""
    path = PATHS[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".") for alias in node.names]
            found |= {rest for top, _, rest in names if top == "streamlstm"}
        elif isinstance(node, ast.ImportFrom) and (node.level or node.module):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            if not node.level:
                if full.partition(".")[0] != "streamlstm":
                    continue
                full = full.partition(".")[2]
            inner = {f"{full}.{alias.name}".strip(".") for alias in node.names}
            found |= (inner & PATHS.keys()) or {full}
    return found - {module}


def level(module: str) -> int:
    return LEVEL[module.partition(".")[0]]


def test_every_import_points_down():
    upward = [
        f"{module} -> {other}"
        for module in PATHS
        if module  # the front door imports everything, late
        for other in imports(module)
        if level(other) > level(module)
    ]
    assert upward == []


def test_no_imports_go_in_a_circle():
    left = {module: imports(module) - {""} for module in PATHS if module}
    while free := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in free:
            del left[module]
    assert left == {}


def test_connectors_import_the_live_package_and_errors_only():
    import streamlstm_connectors

    folder = Path(streamlstm_connectors.__file__).parent
    found = {
        node.module
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("streamlstm.")
    }
    assert found == {"streamlstm.errors", "streamlstm.live"}


def test_the_top_of_the_package_stays_small():
    entries = [path for path in ROOT.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 16
