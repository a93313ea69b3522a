"""Type checkers find nothing in a user's project, nor in the Python of the documentation."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pages
import pytest

# Pages may use a name twice and define functions without types.
MYPY = """
[mypy]
strict = true
[mypy-documentation.*]
allow_redefinition = true
disallow_untyped_defs = false
disallow_untyped_calls = false
[mypy-streamlstm.*,streamlstm_connectors.*,jsonl_connector]
follow_imports = silent
[mypy-river.*]
follow_untyped_imports = true
[mypy-jax.*,keras.*,onnxruntime.*,torch.*]
follow_imports = skip
ignore_missing_imports = true
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with user_project.py and a module for each page, its lines where the page's are."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(Path(__file__).with_name("user_project.py"), folder)
    (folder / "documentation").mkdir()
    (folder / "documentation" / "__init__.py").touch()
    for page in pages.PAGES:
        if any(block.language == "python" for block in pages.blocks(page)):
            name = pages.name_of(page).removesuffix(".md").replace("/", "_")
            (folder / "documentation" / f"{name}.py").write_text(
                pages.module_of(page), encoding="utf-8"
            )
    (folder / "mypy.ini").write_text(MYPY)
    here = [str(pages.ROOT / name) for name in (".", "connectors", "examples")]
    (folder / "pyrightconfig.json").write_text(json.dumps({"extraPaths": here}))
    return folder


def check(tool, project, *options):
    command = [sys.executable, "-m", tool, *options]
    environment = {**os.environ, "MYPYPATH": str(pages.ROOT / "examples")}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy(project):
    check("mypy", project, "--cache-dir", pages.ROOT / ".mypy_cache" / "project", ".")


def test_pyright(project):
    check("pyright", project, "--pythonpath", sys.executable)


def test_the_project_runs(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import user_project

    (tmp_path / "readings.csv").write_text(
        "t,flow\n" + "".join(f"{n},{n % 7}\n" for n in range(90))
    )
    user_project.main(tmp_path)
