"""The layout is as CONTRIBUTING.md says, and a subject has one word in the source, the tests and the documentation."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import groups, markers
from tests.postgresql import postgresql_server
from tests.providers.knot import knot
from tests.providers.powerdns import powerdns

ROOT = Path(__file__).parents[2]
PANEL = ROOT / "src/wgfleet/panel"
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
TABLES = [re.findall(r"^\| (.*) \|$", table, re.MULTILINE) for table in re.split(r"\n\n", TEXT)]
LAYERS = {"services", "reconcile", "domain"}
# Folders whose tests are under another word, each with that word.
ELSEWHERE = {
    "client_helper": "clients",
    "migrations": "store",
    "placement": "fleet",
    "providers": "dns",
    "tables": "store",
    "versions": "store",
}
OF_THE_WEB = PANEL / "web"  # its folders of scripts, styles, templates and catalogs have tests of the web's
OF_NO_SUBJECT = {"architecture", "glossary", "production", "scale", "troubleshooting", "upgrade"}


def rows(heading: str) -> dict[str, str]:
    """Return the rows of the table whose first column's heading is this and whose first column holds `code`."""
    found = [table for table in TABLES if table and table[0].startswith(heading)]
    return {match[1]: line for table in found for line in table if (match := re.match(r"`([^`]+)`", line))}


def folders(top: Path) -> set[Path]:
    return {path for path in top.rglob("*") if path.is_dir() and "__pycache__" not in path.parts}


def named() -> set[str]:
    """Return every path of the repository that CONTRIBUTING.md names."""
    return set(re.findall(r"\b(?:src|tests|bench|docs|packaging|script)/[\w./-]*", TEXT))


def test_every_path_that_contributing_names_exists() -> None:
    assert len(named()) > 50
    assert [path for path in sorted(named()) if not (ROOT / path.rstrip(".")).exists()] == []


def test_every_folder_of_tests_is_on_the_map() -> None:
    tests = ROOT / "tests"
    there = {
        f"{path.relative_to(ROOT)}/" for top in (tests, tests / "panel") for path in top.iterdir() if path.is_dir()
    }
    there = {path for path in there if "__pycache__" not in path}
    assert there == {path for path in rows("path") if path.startswith("tests/")}


def test_every_package_of_the_source_is_on_the_map() -> None:
    source = ROOT / "src/wgfleet"
    there = {path for top in (source, PANEL) for path in top.iterdir() if (path / "__init__.py").exists()} - {PANEL}
    there |= {path for path in source.iterdir() if path.is_dir() and "_" in path.name} - {source / "__pycache__"}
    listed = {path for path in rows("path") if path.startswith("src/")}
    assert {f"{path.relative_to(ROOT)}/" for path in there} == listed


COLLECT = """
import json, pytest
from tests import markers
class Finished:
    def pytest_collection_finish(self, session):
        found = session.config.stash[markers.OF_FOLDERS]
        print(json.dumps({folder: sorted(marks) for folder, marks in found.items()}))
options = ["--collect-only", "-qq", "-m", "", "-p", "no:cacheprovider"]
assert pytest.main(options, plugins=[Finished()]) == 0
"""


@pytest.mark.slow
def test_the_markers_of_each_folder_are_on_the_map(pytestconfig: pytest.Config) -> None:
    found = pytestconfig.stash[markers.OF_FOLDERS]
    if found is None:  # some were named on the command line
        done = subprocess.run([sys.executable, "-c", COLLECT], cwd=ROOT, check=True, capture_output=True, text=True)
        found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert len(found) > 20
    there = {folder: set(marks) & registered() for folder, marks in found.items()}
    assert there == {
        folder: set(re.findall(r"`(\w+)`", row.rpartition("|")[2]))
        for folder, row in rows("path").items()
        if folder.startswith("tests/")
    }


def registered() -> set[str]:
    """Return the markers that are ours."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    return {line.partition(":")[0] for line in options["markers"]}


def test_every_marker_is_explained() -> None:
    assert registered() == set(rows("marker"))


def test_a_test_that_does_not_say_that_it_needs_a_server_gets_none() -> None:
    for server, marker in ((knot, "servers"), (powerdns, "servers"), (postgresql_server, "postgresql")):
        with pytest.raises(AssertionError, match=f"needs the marker '{marker}'"), server():
            pytest.fail("it was started")


def test_every_folder_of_a_group_exists() -> None:
    assert [folder for folder in groups.FOLDERS_APART if not (ROOT / folder).is_dir()] == []


def test_a_subject_of_the_panel_has_the_same_word_in_the_tests() -> None:
    subjects = {path.name for path in folders(PANEL) if OF_THE_WEB not in path.parents} - LAYERS
    tested = {path.name for path in folders(ROOT / "tests/panel")}
    assert {ELSEWHERE.get(subject, subject) for subject in subjects} <= tested
    assert tested <= subjects | {path.stem for path in PANEL.rglob("*.py")}
    assert ELSEWHERE.keys() <= subjects


def test_a_page_has_the_word_of_its_subject() -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    words = {path.stem for path in (ROOT / "src").rglob("*") if path.is_dir() or path.suffix == ".py"}
    assert pages - OF_NO_SUBJECT - words == set()
