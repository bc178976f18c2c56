"""The kernel's own WireGuard answers probes, and a probe leaves sessions alone."""

import time

import pytest

from tests.kernel.conftest import NAME, Host, Network, desired, key_pair
from wgfleet.probing.prober import PACE_S, ProbeOutcome, Prober
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.handshake import Answer
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import ProbeTarget

pytestmark = pytest.mark.kernel

NODE_PRIVATE, NODE_PUBLIC = key_pair(1)
CLIENT_PRIVATE, CLIENT_PUBLIC = key_pair(2)
VANTAGE_PRIVATE, VANTAGE_PUBLIC = key_pair(4)
STRANGER_PRIVATE, OTHER_PUBLIC = key_pair(5)
WANTED = desired(
    {CLIENT_PUBLIC: DesiredPeer(("10.8.0.2/32",)), VANTAGE_PUBLIC: DesiredPeer(())}, private_key=NODE_PRIVATE
)


def serve(node: Host) -> None:
    assert node.do(node.reconciler(WANTED).apply_whole(WANTED)).verified


def probe(
    vantage: Host, node: Host, count: int = 1, *, key: PrivateKey = VANTAGE_PRIVATE, to: PublicKey = NODE_PUBLIC
) -> list[ProbeOutcome]:
    """Probe `node` from `vantage`, one probe after the other."""
    target = ProbeTarget(f"{node.address}:51820", to, key)

    async def work() -> list[ProbeOutcome]:
        prober = Prober()
        try:
            return [await prober.probe(target, 1) for _ in range(count)]
        finally:
            prober.close()

    return vantage.do(work())


def test_the_kernel_answers_each_probe_of_a_peer_that_it_knows(network: Network) -> None:
    node, vantage = network.host("node"), network.host("vantage")
    serve(node)
    assert [outcome.answer for outcome in probe(vantage, node, 10)] == [Answer.RESPONSE] * 10


def test_the_kernel_answers_nobody_else(network: Network) -> None:
    node, vantage = network.host("node"), network.host("vantage")
    serve(node)
    assert probe(vantage, node, key=STRANGER_PRIVATE)[0].answer is None
    assert probe(vantage, node, to=OTHER_PUBLIC)[0].answer is None
    assert probe(vantage, node)[0].answer is Answer.RESPONSE


def test_a_session_of_another_peer_goes_on_during_probes(network: Network) -> None:
    node, vantage, client = network.host("node"), network.host("vantage"), network.host("client")
    serve(node)
    connect(client, node)
    before = session(node, CLIENT_PUBLIC)
    for _ in range(5):
        assert probe(vantage, node)[0].answer is Answer.RESPONSE
        time.sleep(PACE_S)
        assert client.pings("10.8.0.1")
    assert session(node, CLIENT_PUBLIC) == before
    endpoint, handshake = session(node, VANTAGE_PUBLIC)
    assert endpoint.startswith(f"{vantage.address}:")
    assert handshake == "0", "nobody sends data with the keys of a probe"


def connect(client: Host, node: Host) -> None:
    """Bring up a client with the plain tools; nothing of ours is in it."""
    client.run("ip", "link", "add", NAME, "type", "wireguard")
    client.run("sh", "-c", f"echo {CLIENT_PRIVATE} | wg set {NAME} private-key /dev/stdin")
    endpoint = f"{node.address}:51820"
    client.run("wg", "set", NAME, "peer", NODE_PUBLIC, "allowed-ips", "10.8.0.0/24", "endpoint", endpoint)
    client.run("ip", "address", "add", "10.8.0.2/24", "dev", NAME)
    client.run("ip", "link", "set", NAME, "up")
    assert client.pings("10.8.0.1")


def session(node: Host, key: PublicKey) -> tuple[str, str]:
    """Endpoint and latest handshake of a peer."""
    for line in node.run("wg", "show", NAME, "dump").splitlines()[1:]:
        fields = line.split("\t")
        if fields[0] == key:
            return fields[2], fields[4]
    raise AssertionError(key)
