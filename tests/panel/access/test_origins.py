"""From where calls came, as the audit log has it."""

import httpx
import pytest

from tests.panel.conftest import made
from wgfleet.panel import clock, origin
from wgfleet.panel.api import Panel
from wgfleet.panel.services import audit
from wgfleet.panel.services.fleet.join_tokens import TokenRefused


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
    refused = client.get("/api/audit-logs", params={"address": "banana"})
    assert (refused.status_code, refused.json()["field"]) == (422, "address")
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
    assert addresses(panel, address="2001:db8:0:1::/64") == [network]
