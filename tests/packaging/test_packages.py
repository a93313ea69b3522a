"""What the sdist and the wheel hold, and whether the README's links work outside the repository."""

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def metadata(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        return message_from_bytes(archive.read(name))


def test_the_readme_has_absolute_links_only(metadata):
    links = re.findall(r"\]\((.+?)\)", metadata.get_payload())
    assert len(links) > 10
    assert all(link.startswith(("https://", "#")) for link in links), links


def test_the_links_of_the_readme_lead_to_files():
    links = re.findall(r"\]\((?!https?://|#)(.+?)(?:#.*?)?\)", (ROOT / "README.md").read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_metadata_has_project_urls(metadata):
    names = {url.partition(",")[0] for url in metadata.get_all("Project-URL")}
    assert names == {"Homepage", "Documentation", "Changelog", "Issues"}


def test_the_wheel_holds_the_packages_alone(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    info = {top for top in tops if top.endswith(".dist-info")}
    assert len(info) == 1
    assert tops - info == {"streamlstm", "streamlstm_connectors"}


def test_the_sdist_holds_documentation_examples_and_benchmarks(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    wanted = {"streamlstm", "connectors", "tests", "docs", "examples", "benchmarks"}
    assert wanted | {"README.md", "CONTRIBUTING.md", "LICENSE", "pyproject.toml"} <= tops
