"""Live sessions on WireGuard of the real kernel: they survive changes, and move to another node by takeover."""

import asyncio
import time

import msgspec
import pytest

from tests.kernel.conftest import NAME, Host, Network, desired, key_pair
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.interfaces.takeover import PeerCall, Takeovers
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, FloatingSettings, delta_between
from wgfleet.protocol.messages import TakeoverResult

pytestmark = pytest.mark.kernel

NODE_PRIVATE, NODE_PUBLIC = key_pair(1)
CLIENT_PRIVATE, CLIENT_PUBLIC = key_pair(2)
_, OTHER_KEY = key_pair(3)
PEER = DesiredPeer(("10.8.0.2/32",))
WANTED = desired({CLIENT_PUBLIC: PEER}, private_key=NODE_PRIVATE)


def serve(node: Host, wanted: DesiredInterface = WANTED) -> InterfaceReconciler:
    reconciler = node.reconciler(wanted)
    assert node.do(reconciler.apply_whole(wanted)).verified
    return reconciler


def connect(client: Host, node: Host, address: str | None = None) -> None:
    """Bring up a client with the plain tools; nothing of ours is in it."""
    client.run("ip", "link", "add", NAME, "type", "wireguard")
    client.run("sh", "-c", f"echo {CLIENT_PRIVATE} | wg set {NAME} listen-port 40000 private-key /dev/stdin")
    endpoint = f"{address or node.address}:51820"
    client.run("wg", "set", NAME, "peer", NODE_PUBLIC, "allowed-ips", "10.8.0.0/24", "endpoint", endpoint)
    client.run("ip", "address", "add", "10.8.0.2/24", "dev", NAME)
    client.run("ip", "link", "set", NAME, "up")
    assert client.pings("10.8.0.1")


def take(
    node: Host, reconciler: InterfaceReconciler, endpoint: str, timeout_s: float = 10, source: str | None = None
) -> TakeoverResult:
    """Take the client over, and wait until the keepalives of the call are put back."""

    async def work() -> TakeoverResult:
        async with asyncio.timeout(60):
            result = await Takeovers(node.machine).run(
                reconciler, {CLIENT_PUBLIC: PeerCall(endpoint, source)}, timeout_s
            )
            while reconciler.calling:  # noqa: ASYNC110 - the reconciler tells nobody when a call has ended
                await asyncio.sleep(0.05)
            return result

    return node.do(work())


def endpoint_of_node(client: Host) -> str:
    return client.run("wg", "show", NAME, "endpoints").split()[1]


def handshake(node: Host) -> int:
    lines = node.run("wg", "show", NAME, "latest-handshakes").splitlines()
    return int(dict(line.split("\t") for line in lines)[CLIENT_PUBLIC])


def test_a_live_session_survives_pushes_and_deltas(network: Network) -> None:
    node, client = network.host("node"), network.host("client")
    reconciler = serve(node)
    connect(client, node)
    before = handshake(node)
    more = desired({**WANTED.peers, OTHER_KEY: DesiredPeer(("10.8.0.3/32",))}, private_key=NODE_PRIVATE, generation=2)
    assert node.do(reconciler.apply_delta(delta_between(WANTED, more), more)).verified
    changed = desired(
        {CLIENT_PUBLIC: DesiredPeer(("10.8.0.2/32", "10.8.0.4/32"), persistent_keepalive=25)},
        private_key=NODE_PRIVATE,
        generation=3,
    )
    assert node.do(reconciler.apply_whole(changed)).verified
    assert client.pings("10.8.0.1")
    assert handshake(node) == before != 0


def test_a_session_moves_to_the_node_that_calls_the_client(network: Network) -> None:
    first, second, client = network.host("first"), network.host("second"), network.host("client")
    serve(first)
    reconciler = serve(second)
    connect(client, first)
    assert endpoint_of_node(client) == f"{first.address}:51820"
    first.run("ip", "link", "set", "eth0", "down")

    result = take(second, reconciler, f"{client.address}:40000")

    assert set(result.answered) == {CLIENT_PUBLIC}
    assert client.pings("10.8.0.1")
    assert endpoint_of_node(client) == f"{second.address}:51820"
    assert second.run("wg", "show", NAME, "persistent-keepalive").split()[1] == "off", "the call's keepalive is gone"
    second.do(reconciler.scan(repair=False))
    assert reconciler.drift == ()


def test_a_planned_move_ends_at_the_new_node_when_the_old_one_drops_the_peer(network: Network) -> None:
    first, second, client = network.host("first"), network.host("second"), network.host("client")
    old_keeper, reconciler = serve(first), serve(second)
    connect(client, first)
    result = take(second, reconciler, f"{client.address}:40000")
    assert set(result.answered) == {CLIENT_PUBLIC}
    gone = desired({}, private_key=NODE_PRIVATE, generation=2)
    assert first.do(old_keeper.apply_whole(gone)).verified
    assert client.pings("10.8.0.1")
    assert endpoint_of_node(client) == f"{second.address}:51820"


def test_a_client_that_is_not_there_is_reported_and_its_peer_kept(network: Network) -> None:
    node = network.host("node")
    reconciler = serve(node)
    result = take(node, reconciler, "198.18.0.99:40000", timeout_s=1)
    assert result.unanswered == (CLIENT_PUBLIC,)
    node.do(reconciler.scan(repair=False))
    assert reconciler.drift == ()


def test_a_call_from_a_floating_address_comes_from_there_and_the_clients_endpoint_stays(network: Network) -> None:
    first, second, client = network.host("first"), network.host("second"), network.host("client")
    floating, nothing = "198.18.0.100", FloatingSettings((), (), NODE_PRIVATE, 3.0)
    without = msgspec.structs.replace(WANTED, settings=msgspec.structs.replace(WANTED.settings, floating=nothing))
    held = FloatingSettings((floating,), (), NODE_PRIVATE, 3.0)
    holding = msgspec.structs.replace(WANTED, settings=msgspec.structs.replace(WANTED.settings, floating=held))
    for node in (first, second):
        node.ledger.add(NAME, WANTED.settings.config_id, "boot")
        node.floating.confirm(NAME, time.monotonic())
    first_keeper, second_keeper = serve(first, holding), serve(second, without)
    connect(client, first, floating)
    endpoint = first.run("wg", "show", NAME, "endpoints").split()[1]
    assert first.do(first_keeper.apply_whole(without)).verified
    assert second.do(second_keeper.apply_whole(holding)).verified
    assert set(take(second, second_keeper, endpoint, source=floating).answered) == {CLIENT_PUBLIC}
    assert endpoint_of_node(client) == f"{floating}:51820"
    assert client.pings("10.8.0.1")
    assert "lookup 519" not in second.run("ip", "rule")
