"""Whole pushes of which most is the same for many nodes: kept once, sent in parts, read as if it were one piece."""

import ssl
import tracemalloc

import pytest

from tests.panel.agents.conftest import ScriptedAgent
from tests.panel.agents.test_client import APPLIED, WG0, call
from wgfleet.panel.agents.calls import PART
from wgfleet.panel.agents.push_body import PushBody
from wgfleet.panel.services.fleet.common_peers import FEW_KEYS, PackedPeers
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings, parse_push
from wgfleet.protocol.ids import ConfigId, Generation
from wgfleet.protocol.keys import PrivateKey, PublicKey, raw_to_text

PEERS = {
    PublicKey(raw_to_text(bytes([n % 256, n // 256] * 16))): DesiredPeer((f"10.8.{n // 256}.{n % 256}/32",))
    for n in range(3000)
}
PROBE = {PublicKey(raw_to_text(bytes([7] * 31 + [8]))): DesiredPeer(())}


def whole(peers: dict[PublicKey, DesiredPeer]) -> DesiredInterface:
    key = PrivateKey(raw_to_text(bytes([8] * 31 + [64])))
    return DesiredInterface(Generation(7), InterfaceSettings(WG0, ConfigId('"peers":{'), key, 51820), peers)


@pytest.mark.parametrize("own", [{}, PROBE], ids=["nothing of its own", "probes"])
def test_the_agent_reads_one_whole(
    agent: ScriptedAgent, panel_context: ssl.SSLContext, own: dict[PublicKey, DesiredPeer]
) -> None:
    agent.answer = (200, APPLIED)
    shared = PackedPeers(PEERS).members
    assert len(shared) > 2 * PART
    call(panel_context, agent.port, lambda client: client.push(whole(own), shared))
    [(_, path, body)] = agent.requests
    assert path == "/v1/wg/wg0"
    assert parse_push(body, "wg0") == whole(PEERS | own)


def test_bodies_for_many_nodes_take_the_memory_of_one() -> None:
    shared = PackedPeers(PEERS).members
    tracemalloc.start()
    try:
        bodies = [PushBody(whole(PROBE), shared) for _ in range(100)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert {len(body) for body in bodies} == {len(b"".join(bodies[0]))}
    assert taken < len(shared)


def test_packed_peers_are_the_same_peers() -> None:
    packed, few = PackedPeers(PEERS), dict(list(PEERS.items())[:100])
    assert packed.unpacked() == PEERS
    assert list(packed) == list(PEERS)
    assert dict(PackedPeers(few)) == few  # each is read out of all
    assert len(packed) == len(PEERS)
    some = list(PEERS)
    for keys in ([some[5]], ["x", some[-1]], some[: FEW_KEYS + 1]):
        assert packed.has_any(keys)
    for none in ([], ["A" * 44, ""], [f"{n}" for n in range(FEW_KEYS + 1)]):
        assert not packed.has_any(none)
