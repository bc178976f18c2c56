"""From where calls came, as the audit log has it."""

from contextvars import copy_context

import httpx
import pytest
from alembic import command
from sqlalchemy import text

from tests.panel.conftest import made
from tests.panel.store.plans import explained
from wgfleet.panel import clock, origin
from wgfleet.panel.api import Panel
from wgfleet.panel.services import audit
from wgfleet.panel.services.fleet.join_tokens import TokenRefused
from wgfleet.panel.store import Store, revisions
from wgfleet.panel.store import audit as audit_rows


def addresses(panel: Panel, **filters: str) -> list[tuple[str, str | None]]:
    with panel.store.read() as tx:
        return [(entry.actor, entry.address) for entry in audit.page(tx, **filters)[0]]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("client", "spelled"),
    [
        (("203.0.113.7", 4), "203.0.113.7"),
        (("2001:DB8:0::1", 4), "2001:db8::1"),
        (("::ffff:203.0.113.7", 4), "203.0.113.7"),
        (("fe80::1%eth0", 4), "fe80::1"),
        (("<script>", 4), "unknown"),
        (("", 4), "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_has_one_spelling_whatever_a_proxy_says(client: tuple[str, int] | None, spelled: str) -> None:
    assert origin.of({"client": client}) == spelled


def test_a_key_and_what_the_panel_does_by_itself(panel: Panel, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    with panel.store.write() as tx:
        audit.record(tx, audit.PANEL, "tried", "thing", "x")
    assert addresses(panel, action="tried") == [(audit.PANEL, None)]
    [entry] = client.get("/api/audit-logs", params={"action": "created", "entity_type": "config"}).json()["items"]
    assert (entry["actor"].partition(":")[0], entry["address"]) == ("key", "127.0.0.1")
    ours = client.get("/api/audit-logs", params={"address": "::ffff:127.0.0.1", "action": "created"}).json()["items"]
    assert entry in ours
    assert client.get("/api/audit-logs", params={"address": "203.0.113.7"}).json()["items"] == []
    for wrong in ("banana", "10.0.0.0/33", "10.0.0.0/x", "/8", "2001:db8::/129"):
        refused = client.get("/api/audit-logs", params={"address": wrong})
        assert (refused.status_code, refused.json()["field"]) == (422, "address")
        assert "203.0.113.0/24" in refused.json()["detail"]
    header, *_ = client.get("/api/audit-logs", params={"format": "csv"}).text.splitlines()
    assert header.split(",")[:4] == ["id", "at", "actor", "address"]


def test_refusals_that_are_counted_together_are_found_by_each_address(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    for number in (1, 2):
        panel.refusals.token_refused(panel.store, f"2001:db8:0:1::{number}", TokenRefused("no", "unknown"))
    now += 61
    panel.refusals.settle(panel.store)
    network = ("agent", "2001:db8:0:1::/64")
    assert addresses(panel, address="2001:db8:0:1::1") == [network, ("agent", "2001:db8:0:1::1")]
    assert addresses(panel, address="2001:db8:0:1::2") == [network]
    for wider in ("2001:db8:0:1::/64", "2001:db8::/32", "::/0"):
        assert addresses(panel, address=wider) == [network, ("agent", "2001:db8:0:1::1")]
    assert addresses(panel, address="2001:db8:0:1:8000::/65") == [network]
    assert addresses(panel, address="2001:db8:0:2::/64") == addresses(panel, address="0.0.0.0/0") == []


CALLERS = ("9.255.255.255", "10.0.0.0", "10.8.0.1", "10.255.255.255", "11.0.0.0", "::ffff:10.8.0.2", "a00::1", "nobody")


def tried(panel: Panel, address: str, actor: str) -> None:
    origin.bind({"client": (address, 1)})
    with panel.store.write() as tx:
        audit.record(tx, actor, "tried", "thing", "x")


@pytest.mark.parametrize(
    ("network", "found"),
    [
        ("10.0.0.0/8", (1, 2, 3, 5)),
        ("10.8.0.77/16", (2, 5)),
        ("::ffff:10.8.0.0/112", (2, 5)),
        ("10.8.0.1/32", (2,)),
        ("0.0.0.0/0", (0, 1, 2, 3, 4, 5)),
        ("::/0", (6,)),
        ("a00::/8", (6,)),
        ("192.0.2.0/24", ()),
        ("unknown", (7,)),
    ],
)
def test_a_network_finds_the_callers_in_it_by_an_index(
    panel: Panel, network: str, found: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, each in enumerate(CALLERS):
        copy_context().run(tried, panel, each, f"user:{number}")
    with panel.store.read() as tx:
        rows, total = audit.page(tx, action="tried", address=network)
    assert [entry.actor for entry in rows] == [f"user:{number}" for number in reversed(found)]
    assert total == len(found)
    with explained(panel.store.engine) as plans, panel.store.read() as tx:
        audit.page(tx, address=network)
    assert "ix_audit_log_address_key_id" in plans.indexes()
    with panel.store.read() as tx:
        newest = [entry.id for entry in rows]
        older = audit.page(tx, action="tried", address=network, before=newest[0] if newest else None, limit=1)[0]
        assert [entry.id for entry in older] == newest[1:2]
        monkeypatch.setattr(audit_rows, "COUNTED", 2)  # from two on they are looked for by their numbers
        rows, total = audit.page(tx, action="tried", address=network)
        assert [entry.id for entry in rows] == newest
        assert total == min(len(newest), 2)


def test_entries_of_before_are_found_by_their_network_too(empty_database_url: str) -> None:
    store = Store(empty_database_url)
    noted = ("10.8.0.1", "2001:db8:0:1::/64", "unknown", None)
    entry = "INSERT INTO audit_log (at, actor, address, action, entity_type, entity_id, details) VALUES (1, 'a', "
    with store.engine.begin() as connection:
        command.upgrade(revisions.configuration(connection), "0062")
        for each in noted:
            connection.execute(text(f"{entry}:address, 'tried', 'thing', 'x', '{{}}')"), {"address": each})
    with store.engine.begin() as connection:
        command.upgrade(revisions.configuration(connection), "head")
    with store.read() as tx:
        rows, _ = audit.page(tx, action="tried")
        assert [(row.address, row.address_key) for row in reversed(rows)] == [
            (each, None if each is None else origin.key(each)) for each in noted
        ]
    store.close()
