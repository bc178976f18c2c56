"""Pushes reach the machine, are checked by a fresh read, and never go back in time."""

import msgspec
import pytest

from tests.agent.node import Node
from tests.agent.values import peer, peers, random_key, settings, whole
from tests.waiting import eventually
from wgfleet.protocol.desired import apply_delta, delta_between
from wgfleet.protocol.ids import Generation
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import AgentStatus, Applied, Refusal

pytestmark = pytest.mark.lab


def applied(node: Node, body: object, name: str = "wg0") -> Applied:
    response = node.call("PUT", f"/v1/wg/{name}", body)
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=Applied)


def refused(node: Node, body: object, name: str = "wg0") -> Refusal:
    response = node.call("PUT", f"/v1/wg/{name}", body)
    assert response.headers["content-type"] == "application/problem+json", response.text
    refusal = msgspec.json.decode(response.content, type=Refusal)
    assert refusal.status == response.status_code
    return refusal


def test_a_whole_push_makes_the_interface(node: Node) -> None:
    wanted = whole(
        1,
        settings(addresses=("10.8.0.1/16", "fd00:8::1/64"), routes=("10.77.0.0/16", "fd77::/64"), mtu=1400),
    )
    result = applied(node, wanted)
    assert (result.generation, result.verified, result.changed, result.drift) == (1, True, True, ())
    dump = node.host.run("wg", "show", "wg0", "dump")
    for key, each in wanted.peers.items():
        assert f"{key}\t{each.preshared_key}\t(none)\t{each.allowed_ips[0]}\t" in dump
    shown = node.host.run("ip", "-o", "addr", "show", "wg0")
    assert "10.8.0.1/16" in shown
    assert "fd00:8::1/64" in shown
    assert "mtu 1400" in node.host.run("ip", "link", "show", "wg0")
    assert "10.77.0.0/16 dev wg0" in node.host.run("ip", "route")
    assert "fd77::/64 dev wg0" in node.host.run("ip", "-6", "route")
    again = applied(node, wanted)
    assert (again.changed, again.verified) == (False, True)


def test_a_delta_changes_what_it_names_and_nothing_else(node: Node) -> None:
    before = whole(1, having=peers(5))
    applied(node, before)
    keys = list(before.peers)
    changed = {
        **before.peers,
        keys[1]: peer(1000, psk=False, keepalive=25),  # loses its preshared key
        PublicKey(random_key()): peer(1001),
    }
    del changed[keys[0]]
    after = msgspec.structs.replace(before, generation=Generation(2), peers=changed)
    result = applied(node, delta_between(before, after))
    assert (result.generation, result.verified) == (2, True)
    dump = node.host.run("wg", "show", "wg0", "dump")
    assert keys[0] not in dump
    assert f"{keys[1]}\t(none)\t(none)\t10.8.3.232/32\t0\t0\t0\t25" in dump
    assert len(dump.splitlines()) == 1 + 5


def test_addresses_swapped_between_peers_end_where_they_are_wanted(node: Node) -> None:
    before = whole(1, having=peers(2))
    applied(node, before)
    (a, first), (b, second) = before.peers.items()
    after = msgspec.structs.replace(before, generation=Generation(2), peers={a: second, b: first})
    assert applied(node, delta_between(before, after)).verified


def test_a_delta_that_gives_a_peer_the_address_of_another_is_refused_whole(node: Node) -> None:
    before = whole(1, having=peers(3))
    applied(node, before)
    (holder, held), *_ = before.peers.items()
    key = PublicKey(random_key())
    wrong = {**before.peers, key: msgspec.structs.replace(peer(900), allowed_ips=held.allowed_ips)}
    refusal = refused(
        node, delta_between(before, msgspec.structs.replace(before, generation=Generation(2), peers=wrong))
    )
    assert (refusal.status, refusal.reason, refusal.field) == (422, "bad_field", f"upsert.{key}.allowed_ips")
    assert holder in refusal.detail
    by_hand = node.call("POST", "/v1/wg/wg0/peers", {"public_key": key, "peer": wrong[key]})
    assert (by_hand.status_code, by_hand.json()["reason"]) == (422, "bad_field")
    assert set(node.host.run("wg", "show", "wg0", "peers").split()) == set(before.peers)
    moved = {PublicKey(random_key()): held, **{k: p for k, p in before.peers.items() if k != holder}}
    after = msgspec.structs.replace(before, generation=Generation(2), peers=moved)
    assert applied(node, delta_between(before, after)).verified


def test_settings_change_by_delta(node: Node) -> None:
    before = whole(1)
    applied(node, before)
    down = msgspec.structs.replace(before.settings, enabled=False, addresses=("10.9.0.1/24",))
    after = msgspec.structs.replace(before, generation=Generation(2), settings=down)
    assert applied(node, delta_between(before, after)).verified
    assert "UP" not in node.host.run("ip", "-o", "link", "show", "wg0").split("<")[1].split(">")[0].split(",")
    assert len(node.host.run("wg", "show", "wg0", "peers").splitlines()) == 3


def test_masquerade_is_set_seen_and_removed(node: Node) -> None:
    wanted = whole(1, settings(addresses=("10.8.0.1/16", "fd00:8::1/64"), masquerade=True))
    assert applied(node, wanted).verified
    assert "masquerade" in node.host.run("nft", "list", "table", "inet", "wgfleet_wg0")
    assert node.host.run("cat", "/proc/sys/net/ipv4/ip_forward").strip() == "1"
    assert not applied(node, wanted).changed
    assert node.call("DELETE", "/v1/wg/wg0").status_code == 204
    assert "wgfleet" not in node.host.run("nft", "list", "tables")


def test_older_generations_and_wrong_bases_are_refused(node: Node) -> None:
    five = whole(5)
    applied(node, five)
    four = msgspec.structs.replace(five, generation=Generation(4), peers={})
    refusal = refused(node, four)
    assert (refusal.status, refusal.reason, refusal.generation) == (409, "older_generation", 5)
    six = msgspec.structs.replace(five, generation=Generation(6), peers={})
    delta = msgspec.structs.replace(delta_between(five, six), base=Generation(4))
    refusal = refused(node, delta)
    assert (refusal.status, refusal.reason, refusal.generation) == (409, "base_mismatch", 5)
    other = msgspec.structs.replace(six, settings=msgspec.structs.replace(six.settings, config_id="config-2"))
    assert refused(node, other).reason == "other_config"
    assert len(node.host.run("wg", "show", "wg0", "peers").splitlines()) == 3


def test_a_removed_interface_is_not_brought_back_by_a_late_push(node: Node) -> None:
    wanted = whole(3)
    applied(node, wanted)
    assert node.call("DELETE", "/v1/wg/wg0?config_id=config-1&generation=4").status_code == 204
    assert node.call("DELETE", "/v1/wg/wg0?config_id=config-1&generation=4").status_code == 204
    assert "wg0" not in node.host.run("ip", "link")
    assert refused(node, wanted).reason == "older_generation"
    node.stop()
    node.start()
    assert refused(node, wanted).reason == "older_generation"
    assert applied(node, msgspec.structs.replace(wanted, generation=Generation(5))).verified


def test_a_foreign_interface_is_never_touched(node: Node) -> None:
    node.host.run("ip", "tuntap", "add", "wg0", "mode", "tun")
    node.host.run("ip", "addr", "add", "10.1.1.1/24", "dev", "wg0")
    assert refused(node, whole(1)).reason == "foreign_interface"
    response = node.call("DELETE", "/v1/wg/wg0")
    assert (response.status_code, response.json()["reason"]) == (409, "foreign_interface")
    assert node.call("DELETE", "/v1/wg/wg0?config_id=config-1&generation=5").status_code == 204, (
        "nothing of the panel's"
    )
    assert "10.1.1.1/24" in node.host.run("ip", "-o", "addr", "show", "wg0")
    assert applied(node, whole(1, settings("wg1")), "wg1").verified


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, "body"),
        (b"[]", 400, "body"),
        (whole(0), 422, "generation"),
        (whole(1, settings("wg9")), 422, "settings.name"),
        (whole(1, having={PublicKey("short"): peer(1)}), 422, "peers.short"),
    ],
)
def test_a_wrong_push_is_refused_with_its_field(node: Node, body: object, status: int, field: str) -> None:
    refusal = refused(node, body)
    assert (refusal.status, refusal.field) == (status, field)
    assert "wg0" not in node.host.run("ip", "link")


def test_status_tells_what_is_kept(node: Node) -> None:
    applied(node, whole(7))
    status = msgspec.json.decode(node.call("GET", "/v1/status").content, type=AgentStatus)
    (one,) = status.interfaces
    assert (status.node_id, status.backend) == ("node-1", "userspace")
    assert (one.name, one.config_id, one.generation, one.peers, one.up, one.drift) == (
        "wg0", "config-1", 7, 3, True, (),
    )  # fmt: skip
    assert status.certificate_expires_at > status.now + 29 * 86400


def test_many_deltas_end_at_the_same_state_after_a_restart(node: Node) -> None:
    state = whole(1, having=peers(20))
    applied(node, state)
    for generation in range(2, 12):
        having = {**state.peers, PublicKey(random_key()): peer(100 + generation)}
        having.pop(next(iter(having)))
        after = msgspec.structs.replace(state, generation=Generation(generation), peers=having)
        delta = delta_between(state, after)
        assert apply_delta(state, delta) == after
        applied(node, delta)
        state = after
    node.stop()
    node.host.run("ip", "link", "del", "wg0")
    node.start()
    eventually(lambda: set(node.host.run("wg", "show", "wg0", "peers", check=False).split()) == set(state.peers))


@pytest.mark.parametrize("count", [3, 2_000])
def test_a_port_that_somebody_has_is_named_however_many_peers_there_are(node: Node, count: int) -> None:
    applied(node, whole(1))
    other = settings("wg1", config_id="config-2", addresses=("10.9.0.1/16",))
    said = refused(node, whole(1, other, peers(count)), "wg1")
    assert "UDP port 51820 of this machine is in use" in said.detail
