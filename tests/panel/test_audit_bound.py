"""The audit log has an end: the oldest entries go first, and it is said where they go before their age."""

import asyncio
import json
import threading
import time

import httpx
import pytest
from sqlalchemy import delete, func, insert, select
from structlog.testing import capture_logs
from typer.testing import CliRunner

from tests.panel.conftest import made, one_database
from wgfleet.cli import app
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.reconcile.retention import DAY_S, AuditBound
from wgfleet.panel.services import audit
from wgfleet.panel.store import Store
from wgfleet.panel.store.tables import AuditEntry

MOST = 2000
KEPT = MOST - MOST // 100  # of a log that was full


@pytest.fixture(autouse=True)
def _empty(panel: Panel) -> None:
    """Leave out what the panel's start has written."""
    with panel.store.write() as tx:
        tx.session.execute(delete(AuditEntry))


def write(store: Store, count: int, action: str = "filled", days_ago: float = 1.0) -> None:
    entry = {"actor": "t", "action": action, "entity_type": "t", "entity_id": "", "details": {}}
    rows = [{"at": clock.now() - days_ago * DAY_S, **entry} for _ in range(count)]
    with store.write() as tx:
        tx.session.execute(insert(AuditEntry), rows)


def shorten(store: Store, days: int | None = 365) -> None:
    asyncio.run(AuditBound(store, MOST, days).shorten(clock.now()))


def numbers(store: Store) -> list[int]:
    with store.read() as tx:
        return list(tx.session.scalars(select(AuditEntry.id).order_by(AuditEntry.id)))


@one_database
def test_the_oldest_go_where_there_are_too_many_and_the_log_says_so(panel: Panel) -> None:
    write(panel.store, MOST)
    before = numbers(panel.store)
    shorten(panel.store)
    assert numbers(panel.store) == before, "no more than there may be"
    write(panel.store, 1300, days_ago=0.5)
    everything = numbers(panel.store)
    with capture_logs() as logged:
        shorten(panel.store)
    assert numbers(panel.store)[:-1] == everything[-KEPT:]
    [said] = [entry for entry in logged if entry["event"] == "audit.shortened"]
    assert (said["log_level"], said["rows"]) == ("warning", len(everything) - KEPT)
    with panel.store.read() as tx:
        [entry] = audit.page(tx, action=audit.SHORTENED)[0]
    assert entry.details["entries"] == len(everything) - KEPT
    shorten(panel.store)
    assert len(numbers(panel.store)) == KEPT + 1


def test_numbers_that_are_missing_count_as_none(panel: Panel) -> None:
    """Those that a change took which was then refused."""
    write(panel.store, MOST)
    with panel.store.write() as tx:
        highest = tx.session.scalar(select(func.max(AuditEntry.id))) or 0
        tx.session.add(
            AuditEntry(
                id=highest + 5000, at=clock.now(), actor="t", action="t", entity_type="t", entity_id="", details={}
            )
        )
        tx.session.flush()
        tx.session.delete(tx.session.get_one(AuditEntry, numbers(panel.store)[0]))
    before = numbers(panel.store)
    shorten(panel.store)
    assert numbers(panel.store) == before


def test_entries_that_are_old_enough_go_without_a_word(panel: Panel, anonymous: httpx.Client) -> None:
    write(panel.store, MOST + 1, days_ago=400)
    with capture_logs() as logged:
        shorten(panel.store)
    assert [entry["event"] for entry in logged if entry["log_level"] == "warning"] == []
    assert len(numbers(panel.store)) == KEPT
    assert "warnings" not in anonymous.get("/readyz").json()


@pytest.mark.parametrize("days", [365, None])
@one_database
def test_status_says_for_a_week_that_entries_went_before_their_age(
    panel: Panel, anonymous: httpx.Client, days: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(panel.store, MOST + 1)
    shorten(panel.store, days)
    ready = anonymous.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")
    [warning] = ready.json()["warnings"]
    assert f"audit.keep_entries, {MOST}" in warning
    assert "1.0 days old" in warning
    monkeypatch.setenv("WGFLEET_URL", str(anonymous.base_url))
    shown = CliRunner().invoke(app, ["status"])
    assert (shown.exit_code, shown.stdout) == (0, f"the panel is ok\nwarning: {warning}\n")
    assert json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)["warnings"] == [warning]
    later = clock.now() + 8 * DAY_S
    monkeypatch.setattr(clock, "now", lambda: later)
    assert "warnings" not in anonymous.get("/readyz").json()


@one_database
def test_a_key_that_writes_without_end_does_not_wait_while_its_entries_go(panel: Panel, client: httpx.Client) -> None:
    """They go in small transactions: none of its calls waits for all of them."""
    write(panel.store, 30_000)
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    ended = threading.Event()

    def shortening() -> None:
        shorten(panel.store)
        ended.set()

    thread = threading.Thread(target=shortening)
    thread.start()
    calls = 0
    while not ended.is_set():
        answer = client.patch("/api/configs/wg0", json={"mtu": 1280 + calls % 2})
        assert answer.status_code == 200, answer.text
        calls += 1
        time.sleep(0.01)
    thread.join()
    assert calls > 1
    assert len(numbers(panel.store)) < KEPT + calls + 5
