"""Sign-ins that wait for a code: begun at one process of the API, and ended at another."""

from dataclasses import replace
from pathlib import Path

import pytest

from wgfleet.panel import clock
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.services.access.sign_ins import ClaimedUser
from wgfleet.panel.siblings import Siblings
from wgfleet.panel.store.notes import FILE
from wgfleet.panel.web import pending_sign_ins
from wgfleet.panel.web.pending_sign_ins import PendingSignIn

PENDING = PendingSignIn(ClaimedUser("u1", "argon2 of a password", second_factor=True), "anna", "visit")


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """No database has them."""
    return sqlite_url


def test_a_sign_in_goes_on_at_another_process_and_is_over_at_all(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = (replace(panel, siblings=each) for each in Siblings.begin(2, tmp_path))
    ticket, other = (pending_sign_ins.keep(here, PENDING) for _ in range(2))
    assert pending_sign_ins.find(there, ticket, "visit") == PENDING
    assert pending_sign_ins.find(there, ticket, "another browser's visit") is None
    assert b"argon2" not in (tmp_path / FILE).with_name(f"{FILE}-wal").read_bytes()
    pending_sign_ins.forget(there, ticket)
    assert pending_sign_ins.find(here, ticket, "visit") is None
    later = clock.monotonic() + pending_sign_ins.LASTS_S + 1
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    assert pending_sign_ins.find(there, other, "visit") is None
