"""The markers of the test that is running. What needs root or a server refuses a test that does not say so."""

import pytest

OF_FOLDERS = pytest.StashKey[dict[str, set[str]] | None]()
"""Of a session: the markers of each folder's tests, where it has read all."""
_running: set[str] | None = None  # None outside pytest, as in benchmarks


def begin(markers: set[str]) -> None:
    """Note which markers the test has that begins now."""
    global _running  # noqa: PLW0603 - one test runs at a time
    _running = markers


def require(marker: str) -> None:
    """Fail unless the running test is marked so."""
    assert _running is None or marker in _running, f"this test needs the marker {marker!r} (see pyproject.toml)"
