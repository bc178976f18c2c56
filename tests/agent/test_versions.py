"""Agents of this release and the one before, with panels of both: what each sends the other understands."""

import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from tests.agent.authority import Authority
from tests.agent.node import Node
from tests.agent.test_journal import state
from tests.versions.release import unpacked
from tests.waiting import eventually
from wgfleet.protocol import features
from wgfleet.protocol.desired import DesiredInterface, Push, delta_between
from wgfleet.protocol.features import ALL, NONE, Feature
from wgfleet.protocol.messages import AgentStatus, Snapshot, Takeover

pytestmark = pytest.mark.lab

# The panel of 0.1.0, as far as it talks to an agent: run with its own modules, in the agent's namespace.
OLD_PANEL = """
import asyncio, contextlib, ssl, sys
import msgspec
from wgfleet.panel.agents.client import AgentClient
from wgfleet.protocol.desired import Push
from wgfleet.protocol.messages import Heartbeat, Snapshot
import wgfleet

async def main(ca, certificate, key, port, node_id, *pushes):
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    client = AgentClient("127.0.0.1", int(port), node_id, context)
    assert wgfleet.__version__ == "0.1.0"
    for push in pushes:
        applied = await client.push(msgspec.json.decode(push, type=Push))
        assert applied.verified, applied
    kinds = []
    async with contextlib.aclosing(client.watch()) as messages:
        async for message in messages:
            kinds.append(type(message))
            if isinstance(message, Snapshot):
                print([(each.name, each.generation) for each in message.interfaces])
            if kinds.count(Heartbeat) == 3:
                break
    status = await client.status()
    await client.delete("wg0", status.interfaces[0].config_id, status.interfaces[0].generation + 1)
    print([each.name for each in (await client.status()).interfaces])
    await client.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


def with_history(whole: DesiredInterface, history: str) -> DesiredInterface:
    return msgspec.structs.replace(whole, history=history)


def put(node: Node, push: Push, known: frozenset[Feature]) -> int:
    """Push as the panel does to an agent that knows this much; return the status."""
    return node.call("PUT", "/v1/wg/wg0", features.for_agent(push, known)).status_code


def status(node: Node) -> AgentStatus:
    return msgspec.json.decode(node.call("GET", "/v1/status").content, type=AgentStatus)


def reported(node: Node) -> tuple[int, str]:
    with node.watch() as messages:
        snapshot = next(each for _, each in iter(messages.get, None) if isinstance(each, Snapshot))
    [report] = snapshot.interfaces
    return report.generation, report.history


def test_an_agent_is_upgraded_rolled_back_and_upgraded_again(
    make_node: Callable[..., Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, old = make_node(), unpacked(tmp_path)

    def start_old() -> None:
        with monkeypatch.context() as release:
            release.setenv("PYTHONPATH", str(old))
            node.start()
        assert (status(node).version, status(node).features) == ("0.1.0", ())

    first, second, third, fourth = (state(number, {number, 0}) for number in (1, 2, 3, 4))
    start_old()
    assert put(node, with_history(first, "a"), NONE) == 200
    assert put(node, delta_between(with_history(first, "a"), with_history(second, "a")), NONE) == 200
    assert node.call("POST", "/v1/wg/wg0/takeover", features.for_agent(Takeover(()), NONE)).status_code == 200
    node.stop()

    node.start()
    assert features.known(status(node).features) == ALL
    assert reported(node) == (2, "")
    assert put(node, with_history(second, "b"), ALL) == 200
    assert put(node, delta_between(with_history(second, "b"), with_history(third, "c")), ALL) == 200
    assert reported(node) == (3, "c")
    node.stop()
    node.start()
    assert reported(node) == (3, "c")
    node.stop()

    start_old()
    assert [(each.generation, each.peers) for each in status(node).interfaces] == [(3, 2)]
    assert put(node, with_history(third, "c"), ALL) == 422
    assert put(node, delta_between(with_history(third, "c"), with_history(fourth, "c")), NONE) == 200
    node.stop()

    node.start()
    assert reported(node) == (4, ""), "what it has is of no history that this release knows"
    fifth = state(5, {5})
    assert put(node, delta_between(with_history(fourth, "c"), with_history(fifth, "c")), ALL) == 409
    assert put(node, with_history(fifth, "c"), ALL) == 200
    assert reported(node) == (5, "c")


def test_a_panel_of_0_1_0_rules_an_agent_of_this_release(make_node: Callable[..., Node], tmp_path: Path) -> None:
    node, old = make_node(), unpacked(tmp_path)
    node.start()
    assert node.call("GET", "/v1/status").status_code == 200
    assert put(node, with_history(state(1, {1}), "a"), ALL) == 200
    pushes = [state(2, {1, 2}), delta_between(state(2, {1, 2}), state(3, {2}))]
    texts = [msgspec.json.encode(features.for_agent(push, NONE)).decode() for push in pushes]
    said = node.host.run(
        *("env", f"PYTHONPATH={old}", sys.executable, "-c", OLD_PANEL, str(node.authority.path)),
        *(str(node.panel.certificate), str(node.panel.key), "51900", node.node_id, *texts),
    )
    assert said.splitlines()[-2:] == ["[('wg0', 3)]", "[]"]


def test_an_agent_of_0_1_0_takes_both_steps_to_another_ca(
    make_node: Callable[..., Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, old = make_node(), unpacked(tmp_path)
    with monkeypatch.context() as release:
        release.setenv("PYTHONPATH", str(old))
        node.start()
    following = Authority(tmp_path / "next", "next")
    both = node.authority.pem + following.pem

    def install(issuer: Authority, ca: str, client: httpx.Client | None) -> None:
        csr = node.call("POST", "/v1/certificate/request", client=client).json()["csr"]
        body = {"certificate": issuer.sign(csr, node.node_id), "ca": ca}
        assert node.call("PUT", "/v1/certificate", body, client=client).status_code == 204

    install(node.authority, both, None)
    with node.client(following.panel()) as client:
        install(following, following.pem, client)
    with node.client(following.panel(), following) as client:
        assert "features" not in node.call("GET", "/v1/status", client=client).json()
    node.stop()
    node.start(wait=False)
    with node.client(following.panel(), following) as client:

        def is_upgraded() -> bool:
            try:
                return "features" in node.call("GET", "/v1/status", client=client).json()
            except httpx.ConnectError:
                return False

        eventually(is_upgraded)
    with node.client(node.panel, following) as client, pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        node.call("GET", "/health", client=client)
