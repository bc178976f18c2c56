"""Clients that cannot be called, and those that do not learn where the call came from: two nodes with one key."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.snapshot import machine
from wgfleet.lab import devices, processes, state, stock
from wgfleet.lab.hosts import Host
from wgfleet.lab.waiting import look_for

pytestmark = pytest.mark.lab
TUNNEL = "10.8.0.1"
SEEN_S = 30.0


def key(*words: str, stdin: str = "") -> str:
    return processes.run(["wg", *words], stdin=stdin).strip()


@contextmanager
def network(*, nat: bool) -> Iterator[state.Lab]:
    """A client that has a session with node-1; node-2 has the same key and the peer."""
    node_key, client_key = key("genkey"), key("genkey")
    before = machine()
    with state.temporary("pytestdevice", nodes=2, clients=1, nat=nat) as lab:
        for name in ("node-1", "node-2"):
            stock.write_file(
                lab.host(name),
                f"[Interface]\nPrivateKey = {node_key}\nListenPort = 51820\nAddress = {TUNNEL}/24\n"
                f"[Peer]\nPublicKey = {key('pubkey', stdin=client_key)}\nAllowedIPs = 10.8.0.2/32\n",
            )
            stock.up(lab.host(name))
        client = lab.host("client-1")
        file = (
            f"[Interface]\nPrivateKey = {client_key}\nAddress = 10.8.0.2/32\n"
            f"[Peer]\nPublicKey = {key('pubkey', stdin=node_key)}\nAllowedIPs = 10.8.0.0/24\n"
            f"Endpoint = {lab.host('node-1').address}:51820\n"
        )
        stock.connect([(client, file)], TUNNEL)
        yield lab
    assert machine() == before


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [("192.0.2.1:51820", "ip daddr set 192.0.2.1"), ("[2001:db8::1]:51820", "ip6 daddr set 2001:db8::1")],
)
def test_a_mobile_device_goes_on_sending_to_an_address_of_either_kind(endpoint: str, says: str) -> None:
    rules = devices.mobile_rules(endpoint)
    assert f"table {says.partition(' ')[0]} mobile" in rules
    assert f"udp dport 51820 notrack {says}" in rules


def call(lab: state.Lab) -> None:
    """Have node-2 start a handshake with the client, where node-1 has it."""
    peer, endpoint = lab.host("node-1").run("wg", "show", "wg0", "endpoints").split()
    lab.host("node-2").run("wg", "set", "wg0", "peer", peer, "endpoint", endpoint, "persistent-keepalive", "1")


def endpoint(host: Host) -> str:
    return host.run("wg", "show", "wg0", "endpoints").split()[1].rpartition(":")[0]


def has_session(host: Host) -> bool:
    return host.run("wg", "show", "wg0", "latest-handshakes").split()[1] != "0"


def received(host: Host) -> int:
    return int(host.run("wg", "show", "wg0", "transfer").split()[1])


def test_a_client_that_can_be_called_follows() -> None:
    with network(nat=False) as lab:
        call(lab)
        assert look_for(lambda: has_session(lab.host("node-2")), within_s=SEEN_S)
        assert look_for(lambda: endpoint(lab.host("client-1")) == lab.host("node-2").address, within_s=SEEN_S)


def test_nat_hides_a_client_and_lets_in_answers_only() -> None:
    with network(nat=True) as lab:
        client, box = lab.host("client-1"), lab.host("nat-1")
        assert endpoint(lab.host("node-1")) == box.address != client.address
        assert not lab.host("node-2").succeeds("ping", "-n", "-q", "-c", "1", "-W", "1", box.address)
        call(lab)
        assert not look_for(lambda: has_session(lab.host("node-2")), within_s=2)
        assert endpoint(client) == lab.host("node-1").address
        stock.wait_reply(client, TUNNEL, timeout_s=SEEN_S)
        lab.cut("client-1")
        assert not client.succeeds("ping", "-n", "-q", "-c", "1", "-W", "1", TUNNEL)


def test_a_mobile_client_takes_the_call_and_goes_on_sending_to_the_address_in_its_file() -> None:
    with network(nat=False) as lab:
        client = lab.host("client-1")
        devices.make_mobile(client)
        call(lab)
        assert look_for(lambda: endpoint(client) == lab.host("node-2").address, within_s=SEEN_S)
        assert not look_for(lambda: has_session(lab.host("node-2")), within_s=1)
        before = received(lab.host("node-1"))
        client.succeeds("ping", "-n", "-q", "-c", "1", "-W", "1", TUNNEL)
        assert look_for(lambda: received(lab.host("node-1")) > before, within_s=SEEN_S)
