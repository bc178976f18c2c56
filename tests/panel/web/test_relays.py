"""Pages of relays: who hangs on them is listed, prolonged, and ended after it was said who is cut off."""

from html import unescape

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import nodes, peers
from wgfleet.panel.store import assignments, sessions
from wgfleet.panel.store.sessions import NodeSessions
from wgfleet.protocol.observed import PeerStats

NODE = "/configs/wg0/nodes/ams1/relays"


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=12)
    sample.relay(panel, "user-001", "user-003")
    with panel.store.write() as tx:  # one of them is connected through the relay
        config, relaying, target = configs.get(tx, "wg0"), nodes.get(tx, "ams1"), nodes.get(tx, "fra1")
        (peer,) = (each for each in peers.page(tx, config.id, None, 20) if each.name == "user-001")
        seen = PeerStats(latest_handshake=int(clock.steady()) + 9, endpoint=f"{relaying.endpoint_addresses[0]}:20001")
        sessions.record(tx, [NodeSessions(target.id, config.id, {peer.public_key: seen})], clock.steady() + 9)
        row = assignments.get(tx, config.id, relaying.id)
        assert row is not None
        assignments.remove(tx, row.id)


def rows(page: str) -> list[str]:
    return [part.split("</tr>")[0] for part in page.split('<tr><th scope="row"')[1:]]


@pytest.mark.parametrize("path", ["/configs/wg0", "/nodes/ams1"])
def test_a_node_that_relays_is_named_where_it_matters(admin: httpx.Client, path: str) -> None:
    page = unescape(admin.get(path).text)
    assert "ams1 relays 2 devices, which are cut off if that machine ends" in page
    assert 'href="/configs/wg0/relays"' in page


def test_relays_are_listed_prolonged_and_ended(admin: httpx.Client) -> None:
    listed = rows(unescape(admin.get("/configs/wg0/relays").text))
    assert len(listed) == 3, "the node, and two devices"
    assert [("needs it now" in row, "not connected through it" in row) for row in listed[1:]] in (
        [(True, False), (False, True)], [(False, True), (True, False)],
    )  # fmt: skip
    assert submit(admin, f"{NODE}/prolong", hours="0.5").status_code == 409, "none is made shorter"
    assert submit(admin, f"{NODE}/prolong", hours="soon").status_code == 422
    assert submit(admin, f"{NODE}/prolong", hours="1,500").status_code == 422, "an hour and a half, or many"
    assert submit(admin, f"{NODE}/prolong", hours=" 48,5 ").status_code == 200
    page = unescape(admin.get(f"{NODE}/end").text)
    assert "It would be refused now" in page
    assert "user-001" in page
    assert submit(admin, f"{NODE}/end").status_code == 409
    alone = f"{NODE}/end?peer=user-003"
    assert "nobody is cut off" in admin.get(alone).text
    assert "is being ended" in submit(admin, alone).text
    assert submit(admin, f"{NODE}/end", force="true").text.count("is being ended") == 2


@pytest.mark.parametrize("what", ["end", "prolong"])
def test_where_nobody_hangs_on_a_relay_that_is_said(admin: httpx.Client, what: str) -> None:
    answer = submit(admin, f"/configs/wg0/nodes/fra1/relays/{what}", hours="48")
    assert answer.status_code == 409
    assert "nobody hangs on a relay of fra1" in unescape(answer.text)


def test_who_reads_changes_nothing(person: Person) -> None:
    viewer = person(Role.VIEWER)
    assert f"{NODE}/end" not in viewer.get("/configs/wg0/relays").text
    assert viewer.get(f"{NODE}/end").status_code == 403
    assert viewer.post(f"{NODE}/prolong", data={"hours": "9"}).status_code == 403
