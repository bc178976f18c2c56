"""ProbeRoute of a real interface: who gets an answer, and what a probe leaves alone."""

import asyncio
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import msgspec
import pytest

from tests.agent.node import Host, Node
from tests.agent.test_push import applied
from tests.agent.values import private_key, public_key, settings, whole
from tests.waiting import eventually
from wgfleet.probing.prober import Prober
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer
from wgfleet.protocol.handshake import Answer, Ephemeral, initiate, pair, tai64n
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import ProbeRequest, ProbeResult, ProbeTarget

pytestmark = pytest.mark.lab

V4, V6 = "127.0.0.1:51820", "[::1]:51820"
CLIENT_PEER = DesiredPeer(("10.8.0.2/32",))


def ask(node: Node, *targets: ProbeTarget, timeout_s: float = 5.0, interface: str = "wg0") -> httpx.Response:
    return node.call("POST", "/v1/probe", ProbeRequest(InterfaceName(interface), targets, timeout_s))


def probe(node: Node, *targets: ProbeTarget, timeout_s: float = 5.0) -> ProbeResult:
    response = ask(node, *targets, timeout_s=timeout_s)
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=ProbeResult)


def serve(node: Node, vantages: list[PrivateKey], having: dict[PublicKey, DesiredPeer] | None = None) -> PublicKey:
    """Push an interface with the vantages' keys as peers without allowed IPs; return its public key."""
    probes = {public_key(each): DesiredPeer(()) for each in vantages}
    wanted: DesiredInterface = whole(1, settings(addresses=("10.8.0.1/24",)), {**probes, **(having or {})})
    applied(node, wanted)
    return public_key(wanted.settings.private_key)


def test_an_interface_answers_those_that_it_knows_and_nobody_else(node: Node) -> None:
    first, second = private_key(), private_key()
    public = serve(node, [first, second])
    stranger, other = private_key(), public_key(private_key())

    result = probe(node, ProbeTarget(V4, public, first), ProbeTarget(V6, public, second))
    assert set(result.answered) == {V4, V6}
    assert all(seconds > 0 for seconds in result.answered.values())

    wrong = probe(node, ProbeTarget(V4, other, first), ProbeTarget(V6, public, stranger), timeout_s=0.3)
    assert wrong == ProbeResult({}, (V4, V6))
    closed = probe(node, ProbeTarget("127.0.0.1:51821", public, first), timeout_s=0.3)
    assert closed.unanswered == ("127.0.0.1:51821",)
    nowhere = probe(node, ProbeTarget("[2001:db8::1]:51820", public, first), timeout_s=0.3)
    assert nowhere.unsent == nowhere.unanswered == ("[2001:db8::1]:51820",)


def test_probes_in_a_row_are_all_answered(node: Node) -> None:
    vantage = private_key()
    target = ProbeTarget(V4, serve(node, [vantage]), vantage)
    assert sum(len(probe(node, target).answered) for _ in range(20)) == 20


def test_a_node_under_load_asks_for_a_cookie_and_is_alive(node: Node) -> None:
    vantage = private_key()
    target = ProbeTarget(V4, serve(node, [vantage]), vantage)

    async def has_cookie() -> bool:
        flood = initiate(pair(vantage, target.public_key), Ephemeral(), tai64n(0), 1).packet
        prober = Prober()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                # The flood fills the interface's socket, so many are lost; it stays under load for 1 s.
                for number in range(120):
                    for _ in range(0 if number % 6 else 5000):
                        sender.sendto(flood, ("127.0.0.1", 51820))
                    if (await prober.probe(target, 0.1)).answer is Answer.COOKIE:
                        return True
                return False
        finally:
            prober.close()

    with ThreadPoolExecutor(1, initializer=node.host.enter) as inside:
        assert inside.submit(lambda: asyncio.run(has_cookie())).result()


def test_a_wrong_request_is_refused_and_shows_no_key(node: Node) -> None:
    vantage = private_key()
    public = serve(node, [vantage])
    good = ProbeTarget(V4, public, vantage)
    for targets, timeout_s, field in (
        ((good, good), 1.0, "targets[1].endpoint"),
        ((ProbeTarget("node-2:51820", public, vantage),), 1.0, "targets[0].endpoint"),
        ((ProbeTarget(V4, PublicKey("x"), vantage),), 1.0, "targets[0].public_key"),
        ((ProbeTarget(V4, public, PrivateKey(vantage[:-1])),), 1.0, "targets[0].private_key"),
        ((good,), 0.0, "timeout_s"),
    ):
        response = ask(node, *targets, timeout_s=timeout_s)
        assert (response.status_code, response.json()["field"]) == (422, field)
        assert vantage[:-1] not in response.text
    absent = ask(node, good, interface="wg7")
    assert (absent.status_code, absent.json()["reason"]) == (404, "not_found")


def test_a_probe_changes_no_session_and_gets_no_traffic(node: Node, make_host: Callable[[], Host]) -> None:
    vantage, client_key = private_key(), private_key()
    public = serve(node, [vantage], {public_key(client_key): CLIENT_PEER})
    client = make_host()
    connect(node.host, client, client_key, public)

    def ping(count: int = 1) -> bool:
        out = client.run("ping", "-c", str(count), "-i", "0.02", "-W", "2", "-q", "10.8.0.1", check=False)
        return f"{count} received" in out

    eventually(ping)
    before = session(node, public_key(client_key))
    for _ in range(10):
        assert probe(node, ProbeTarget(V4, public, vantage)).answered
        eventually(lambda: ping(5))
    after = session(node, public_key(client_key))
    assert after[:2] == before[:2], "the client's endpoint and handshake are those of before"

    endpoint, handshake, _, sent = session(node, public_key(vantage))
    assert endpoint.startswith("127.0.0.1:")
    assert handshake == "0", "nobody sends data with the keys of a probe"
    # Responses, of 92 bytes each: nothing else goes to a probe, also when something asks for its peer's network.
    assert int(sent) % 92 == 0
    assert node.host.run("wg", "show", "wg0", "allowed-ips").count("(none)") == 1
    time.sleep(0.2)
    assert session(node, public_key(vantage))[3] == sent


def connect(node: Host, client: Host, key: PrivateKey, public: PublicKey) -> None:
    """Join two hosts by a cable, and bring up a stock client."""
    node.run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(client.pid))
    for host, address in ((node, "198.18.16.1/24"), (client, "198.18.16.2/24")):
        host.run("ip", "address", "add", address, "dev", "cable")
        host.run("ip", "link", "set", "cable", "up")
    client.run("wireguard-go", "wg0")
    client.run("wg", "set", "wg0", "private-key", "/dev/stdin", stdin=key)
    client.run("wg", "set", "wg0", "peer", public, "allowed-ips", "10.8.0.0/24", "endpoint", "198.18.16.1:51820")
    client.run("ip", "address", "add", "10.8.0.2/24", "dev", "wg0")
    client.run("ip", "link", "set", "wg0", "up")


def session(node: Node, key: PublicKey) -> list[str]:
    """Endpoint, latest handshake, bytes received and sent of a peer."""
    for line in node.host.run("wg", "show", "wg0", "dump").splitlines()[1:]:
        fields = line.split("\t")
        if fields[0] == key:
            return [fields[2], fields[4], fields[5], fields[6]]
    raise AssertionError(key)
