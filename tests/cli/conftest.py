"""The panel that the commands are tried on, that of the panel's own tests; and the program as people start it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import pytest

from tests import programs
from tests.panel.conftest import anonymous, client, fra1, panel, wg0

__all__ = ["anonymous", "client", "fra1", "panel", "wg0"]

Run = Callable[..., CompletedProcess[str]]
PROGRAM = Path(sys.executable).with_name("wgfleet")


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One database will do: the API's tests cover both."""
    return sqlite_url


@pytest.fixture
def environment(client: httpx.Client, tmp_path: Path) -> dict[str, str]:
    key = str(client.headers["Authorization"]).removeprefix("Bearer ")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WGFLEET", "XDG"))}
    return {**kept, "HOME": str(tmp_path), "WGFLEET_URL": str(client.base_url), "WGFLEET_API_KEY": key}


@pytest.fixture
def wgfleet(environment: dict[str, str]) -> Run:
    def run(*words: str, given: str | None = None, **variables: str) -> CompletedProcess[str]:
        return programs.run(*words, given=given, environment={**environment, **variables})

    return run
