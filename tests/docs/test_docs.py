"""The code of the README and the documentation runs, and the site builds without a warning.

A page's blocks of Python share their names and run in an empty directory with `examples/` in it;
blocks of `sh` run if they begin with `streamlstm`. ```python notest is left out, for a reason that
a comment before the block gives: <!-- needs a broker -->.
"""

import re
import subprocess
import sys

import pages
import pytest

import streamlstm

TESTED = [
    page
    for page in pages.PAGES
    if any(block.language in ("python", "sh") for block in pages.blocks(page))
]


def shell(command, directory):
    ours = f'streamlstm() {{ "{sys.executable}" -m streamlstm "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", ours + command],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", TESTED, ids=pages.name_of)
def test_blocks_run(page, tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(pages.ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page.stem}
    for block in pages.blocks(page):
        if "notest" in block.flags:
            continue
        if block.language == "python":
            code = "\n" * (block.line - 1) + block.code
            exec(compile(code, page, "exec"), names)
        elif block.language == "sh" and block.code.startswith("streamlstm "):
            shell(block.code, tmp_path)


@pytest.mark.parametrize("page", TESTED, ids=pages.name_of)
def test_blocks_that_are_left_out_say_why(page):
    for block in pages.blocks(page):
        assert "notest" not in block.flags or block.comment, f"{page}, line {block.line}"


FILES = re.compile(r"`((?:streamlstm|connectors|tests|benchmarks|examples|docs)/[\w/.]+\.\w+)`")


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name_of)
def test_files_that_a_page_names_exist(page):
    names = FILES.findall(page.read_text(encoding="utf-8"))
    assert [name for name in names if not (pages.ROOT / name).exists()] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    made = ["-d", folder / "doctrees", pages.ROOT / "docs", folder / "html"]
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", *made]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_the_site_has_all_public_names(site):
    reference = "".join(page.read_text(encoding="utf-8") for page in site.glob("api/*.html"))
    missing = [name for name in streamlstm.__all__ if f'id="streamlstm.{name}"' not in reference]
    assert not missing


def test_the_site_loads_nothing_from_elsewhere(site):
    loads = re.compile(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(?:https?:)?//[^"]*"')
    for page in site.rglob("*.html"):
        assert not loads.findall(page.read_text(encoding="utf-8")), page
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"url\(['\"]?(?:https?:)?//|@import", text), style
