"""`wgfleet` on a node: installed without the panel's libraries."""

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
# Hides modules, as if they were not installed, and runs the program.
PROGRAM = """
import sys
from importlib.abc import MetaPathFinder

hidden = set(sys.argv.pop(1).split(","))


class Hide(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hide())
import importlib.util

find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.partition(".")[0] in hidden else find(name, package)
from wgfleet.cli import main

sys.exit(main())
"""


def hidden() -> str:
    """Name the modules of the libraries that only the panel needs."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["panel"]
    wanted = {Requirement(line).name.lower().replace("_", "-") for line in extras} - {"pydantic"}  # which typer brings
    names = [
        name
        for name, distributions in packages_distributions().items()
        if any(each.lower().replace("_", "-") in wanted for each in distributions)
    ]
    assert {"dns", "fastapi", "sqlalchemy"} <= set(names)
    return ",".join(names)


def wgfleet(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, hidden(), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_help_shows_what_works_there() -> None:
    shown = wgfleet("--help")
    assert shown.returncode == 0, shown.stderr
    assert "agent" in shown.stdout
    assert "lab" not in shown.stdout.split()


@pytest.mark.parametrize("group", ["lab", "panel"])
def test_a_group_that_needs_the_panel_says_so(group: str) -> None:
    refused = wgfleet(group, "--help")
    assert refused.returncode == 2
    assert "needs the panel's libraries" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("group", ["agent", "node", "config", "peer", "operation", "login"])
def test_the_others_work(group: str) -> None:
    shown = wgfleet(group, "--help")
    assert shown.returncode == 0, shown.stderr
