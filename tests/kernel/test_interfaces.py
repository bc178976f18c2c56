"""The agent's kernel layer on WireGuard of the real kernel: interfaces made, changed, repaired and removed."""

import pytest

from tests.kernel.conftest import NAME, Host, desired, key_pair
from tests.protocol.strategies import text
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, delta_between
from wgfleet.protocol.keys import PresharedKey, PublicKey
from wgfleet.protocol.messages import Applied

pytestmark = pytest.mark.kernel

PRIVATE, PUBLIC = key_pair(1)
_, KEY = key_pair(2)
_, OTHER_KEY = key_pair(3)
PRESHARED = PresharedKey(key_pair(4)[0])
PEERS = {
    KEY: DesiredPeer(("10.8.0.2/32", "fd00:8::2/128"), PRESHARED, 25),
    OTHER_KEY: DesiredPeer(("10.8.0.3/32", "10.9.0.0/24")),
}


def push(node: Host, wanted: DesiredInterface) -> Applied:
    return node.do(node.reconciler(wanted).apply_whole(wanted))


def allowed_ips(node: Host) -> dict[str, set[str]]:
    lines = node.run("wg", "show", NAME, "allowed-ips").splitlines()
    return {key: set(ips.split()) for key, ips in (line.split("\t") for line in lines)}


def index_of_link(node: Host) -> str:
    return node.run("ip", "-o", "link", "show", NAME).split(":")[0]


def test_an_interface_is_made_with_everything_that_is_wanted(node: Host) -> None:
    wanted = desired(PEERS, private_key=PRIVATE, routes=("10.9.0.0/24", "fd09::/64"), mtu=1380, masquerade=True)
    applied = push(node, wanted)
    assert (applied.verified, applied.changed, applied.drift) == (True, True, ())
    assert "wireguard" in node.run("ip", "-d", "link", "show", NAME)
    assert "mtu 1380" in node.run("ip", "link", "show", NAME)
    assert node.run("wg", "show", NAME, "public-key").strip() == PUBLIC
    assert allowed_ips(node) == {key: set(peer.allowed_ips) for key, peer in PEERS.items()}
    assert dict(line.split("\t") for line in node.run("wg", "show", NAME, "preshared-keys").splitlines()) == {
        KEY: PRESHARED,
        OTHER_KEY: "(none)",
    }
    addresses = node.run("ip", "-o", "address", "show", NAME)
    assert "10.8.0.1/24" in addresses
    assert "fd00:8::1/64" in addresses
    assert "10.9.0.0/24" in node.run("ip", "-4", "route", "show", "dev", NAME)
    assert "fd09::/64" in node.run("ip", "-6", "route", "show", "dev", NAME)
    assert "masquerade" in node.run("nft", "list", "ruleset")


def test_the_same_push_again_changes_nothing(node: Host) -> None:
    wanted = desired(PEERS, private_key=PRIVATE, routes=("10.9.0.0/24",), masquerade=True)
    push(node, wanted)
    again = push(node, wanted)
    assert (again.verified, again.changed) == (True, False)


def test_a_delta_removes_adds_and_moves_networks_between_peers(node: Host) -> None:
    before = desired(PEERS, private_key=PRIVATE)
    _, new_key = key_pair(5)
    after = desired(
        {KEY: DesiredPeer(("10.8.0.2/32", "10.9.0.0/24")), new_key: DesiredPeer(("10.8.0.3/32", "fd00:8::2/128"))},
        private_key=PRIVATE,
        generation=2,
    )
    reconciler = node.reconciler(before)
    node.do(reconciler.apply_whole(before))
    applied = node.do(reconciler.apply_delta(delta_between(before, after), after))
    assert (applied.generation, applied.verified) == (2, True)
    assert allowed_ips(node) == {key: set(peer.allowed_ips) for key, peer in after.peers.items()}
    assert node.run("wg", "show", NAME, "preshared-keys").count("(none)") == 2, "a preshared key that goes is cleared"


def test_settings_of_a_live_interface_change_without_making_it_anew(node: Host) -> None:
    push(node, desired(PEERS, private_key=PRIVATE, routes=("10.9.0.0/24",), masquerade=True))
    index = index_of_link(node)
    other_private, other_public = key_pair(6)
    applied = push(
        node,
        desired(
            PEERS,
            private_key=other_private,
            listen_port=51999,
            addresses=("10.8.0.9/24", "fd00:8::9/64"),
            routes=("10.10.0.0/24",),
            mtu=1300,
        ),
    )
    assert applied.verified
    assert index_of_link(node) == index
    assert node.run("wg", "show", NAME, "public-key").strip() == other_public
    assert node.run("wg", "show", NAME, "listen-port").strip() == "51999"
    addresses = node.run("ip", "-o", "address", "show", NAME)
    assert "10.8.0.9/24" in addresses
    assert "10.8.0.1/24" not in addresses
    assert "fd00:8::1/64" not in addresses
    assert "10.9.0.0/24" not in node.run("ip", "route", "show", "dev", NAME)
    assert "wgfleet" not in node.run("nft", "list", "tables")


def test_a_disabled_interface_goes_down_keeps_its_peers_and_comes_back_whole(node: Host) -> None:
    on = desired(PEERS, private_key=PRIVATE, routes=("10.9.0.0/24",), masquerade=True)
    off = desired(PEERS, private_key=PRIVATE, routes=("10.9.0.0/24",), masquerade=True, enabled=False, generation=2)
    push(node, on)
    assert push(node, off).verified
    assert "state DOWN" in node.run("ip", "link", "show", NAME)
    assert set(allowed_ips(node)) == set(PEERS)
    assert push(node, on).verified
    assert "fd00:8::1/64" in node.run("ip", "-o", "address", "show", NAME)
    assert "10.9.0.0/24" in node.run("ip", "route", "show", "dev", NAME)


def test_what_someone_else_changes_is_seen_and_mended(node: Host) -> None:
    wanted = desired(PEERS, private_key=PRIVATE, routes=("10.9.0.0/24",), masquerade=True)
    reconciler = node.reconciler(wanted)
    node.do(reconciler.apply_whole(wanted))
    node.run("wg", "set", NAME, "peer", KEY, "remove")
    node.run("ip", "address", "delete", "10.8.0.1/24", "dev", NAME)
    node.run("nft", "flush", "ruleset")
    reconciler.refresh_link()
    assert not node.do(reconciler.scan(repair=False))
    # With its last IPv4 address, the kernel takes an interface's IPv4 routes.
    gone = {f"peers.{KEY}", "addresses.10.8.0.1/24", "routes.10.9.0.0/24", "masquerade"}
    assert {drift.field for drift in reconciler.drift} == gone
    assert node.do(reconciler.scan(repair=True))
    assert reconciler.drift == ()
    assert set(allowed_ips(node)) == set(PEERS)
    assert "10.8.0.1/24" in node.run("ip", "-o", "address", "show", NAME)
    assert "10.9.0.0/24" in node.run("ip", "route", "show", "dev", NAME)


def test_a_thousand_peers_come_in_one_push_and_go_in_one_delta(node: Host) -> None:
    peers = {
        PublicKey(text(number.to_bytes(32, "big"))): DesiredPeer((f"10.8.{number // 250}.{number % 250}/32",))
        for number in range(1, 1001)
    }
    full, empty = desired(peers, private_key=PRIVATE), desired({}, private_key=PRIVATE, generation=2)
    reconciler = node.reconciler(full)
    assert node.do(reconciler.apply_whole(full)).verified
    assert len(allowed_ips(node)) == 1000
    assert node.do(reconciler.apply_delta(delta_between(full, empty), empty)).verified
    assert allowed_ips(node) == {}


def test_deleting_leaves_neither_link_nor_rules_and_may_be_repeated(node: Host) -> None:
    push(node, desired(PEERS, private_key=PRIVATE, masquerade=True))
    for _ in range(2):
        node.do(node.machine.delete(NAME))
        assert NAME not in node.run("ip", "-o", "link", "show")
        assert "wgfleet" not in node.run("nft", "list", "tables")


def test_a_link_of_that_name_that_is_there_already_is_not_taken(node: Host) -> None:
    node.run("ip", "link", "add", NAME, "type", "bridge")
    with pytest.raises(KernelError, match=f"creating link {NAME} failed: EEXIST"):
        node.do(node.machine.create(NAME))
    assert "bridge" in node.run("ip", "-d", "link", "show", NAME)
