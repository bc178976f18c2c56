"""A witness as a process: without root, without WireGuard, with a certificate as any agent's."""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.agent.authority import Authority
from tests.probing.test_prober import vantage
from tests.protocol.responder import Responder
from tests.waiting import eventually
from wgfleet.agent.settings import AgentSettings
from wgfleet.agent.state.files import write_atomic
from wgfleet.agent.state.identity import AgentFile, StateDirectory
from wgfleet.panel.agents.authority import agent_server_name
from wgfleet.protocol import features
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.keys import PublicKey, raw_to_text
from wgfleet.protocol.messages import ProbeRequest, ProbeResult, ProbeTarget, Snapshot, WatchMessage

NODE = "0" * 32
NOBODY = 65534


@dataclass
class WitnessProcess:
    """The process, and the panel's side of its API."""

    process: subprocess.Popen[str]
    client: httpx.Client

    def call(self, method: str, path: str, body: bytes | None = None) -> httpx.Response:
        return self.client.request(method, path, content=body, extensions={"sni_hostname": agent_server_name(NODE)})


def enrolled(folder: Path, authority: Authority, *, witness: bool) -> StateDirectory:
    state, mine = StateDirectory(folder), authority.node(NODE)
    state.make()
    state.write_certificate(
        key=mine.key.read_bytes(), certificate=mine.certificate.read_bytes(), ca=authority.pem.encode()
    )
    write_atomic(state.agent, msgspec.json.encode(AgentFile(NodeId(NODE), 51900, "https://panel.invalid", witness)))
    return state


def start(settings: AgentSettings) -> subprocess.Popen[str]:
    """Run as a user without privileges, where nothing of WireGuard is found."""
    if os.geteuid() == 0:
        for path in (settings.state_dir, *settings.state_dir.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    nobody = NOBODY if os.geteuid() == 0 else None
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "wgfleet.agent", settings.to_json()],
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": "/nowhere"},
        user=nobody,
        group=nobody,
        extra_groups=None if nobody is None else (),
    )


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that others may pass through, which those of pytest are not."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def witness(place: Path) -> Iterator[WitnessProcess]:
    authority = Authority(place / "ca")
    state = enrolled(place / "state", authority, witness=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    panel = authority.panel()
    context = ssl.create_default_context(cafile=authority.path)
    context.load_cert_chain(panel.certificate, panel.key)
    process = start(AgentSettings(state_dir=state.root, listen="127.0.0.1", port=port, witness=True))
    try:
        with httpx.Client(verify=context, base_url=f"https://127.0.0.1:{port}", trust_env=False) as client:
            found = WitnessProcess(process, client)

            def answers() -> bool:
                assert process.poll() is None, process.stderr and process.stderr.read()
                try:
                    return found.call("GET", "/health").status_code == 200
                except httpx.ConnectError:
                    return False

            eventually(answers)
            yield found
    finally:
        process.terminate()
        process.communicate(timeout=20)
        shutil.rmtree(place / "state")


def answering(stop: threading.Event) -> tuple[Responder, int]:
    """Answer handshakes on loopback in a thread."""
    responder, line = Responder(X25519PrivateKey.generate()), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.bind(("127.0.0.1", 0))
    line.settimeout(0.1)

    def run() -> None:
        with line:
            while not stop.is_set():
                try:
                    packet, source = line.recvfrom(2048)
                except TimeoutError:
                    continue
                line.sendto(responder.respond(packet), source)

    threading.Thread(target=run).start()
    return responder, line.getsockname()[1]


def test_it_probes_for_the_panel_of_whatever_interface(witness: WitnessProcess) -> None:
    stop = threading.Event()
    responder, port = answering(stop)
    try:
        key = PublicKey(raw_to_text(responder.public))
        targets = (ProbeTarget(f"127.0.0.1:{port}", key, vantage()), ProbeTarget("127.0.0.1:9", key, vantage()))
        request = ProbeRequest(interface="wg7", targets=targets, timeout_s=0.5, tries=2)  # type: ignore[arg-type]
        response = witness.call("POST", "/v1/probe", msgspec.json.encode(request))
        assert response.status_code == 200, response.text
        result = msgspec.json.decode(response.content, type=ProbeResult)
    finally:
        stop.set()
    assert [*result.answered] == [f"127.0.0.1:{port}"]
    assert result.unanswered == ("127.0.0.1:9",)


def test_its_status_and_its_stream_say_that_it_is_a_witness_and_has_nothing(witness: WitnessProcess) -> None:
    status = witness.call("GET", "/v1/status").json()
    assert (status["backend"], status["interfaces"]) == ("witness", [])
    assert "witness" in status["features"]
    assert "wgfleet_agent_up_seconds" in witness.call("GET", "/v1/metrics").text
    extensions = {"sni_hostname": agent_server_name(NODE)}
    with witness.client.stream("GET", "/v1/watch", extensions=extensions) as stream:
        first = msgspec.json.decode(next(stream.iter_lines()), type=WatchMessage)
    assert isinstance(first, Snapshot)
    assert first.interfaces == ()
    asked = features.of_agent(first.status)
    assert {Feature.WITNESS, Feature.PROBE_SERIES, Feature.REVOKED} <= asked
    assert not {Feature.USAGE, Feature.RELAY, Feature.QUOTA} & asked, "it is not asked for what is about users"


def test_it_refuses_interfaces_clearly_and_renews_its_certificate(witness: WitnessProcess) -> None:
    for method, path in (("PUT", "/v1/wg/wg0"), ("POST", "/v1/wg/wg0/takeover"), ("GET", "/v1/wg/wg0")):
        refused = witness.call(method, path, b"{}")
        assert (refused.status_code, refused.json()["reason"]) == (409, "witness")
        assert "witness" in refused.json()["detail"]
    assert witness.call("DELETE", "/v1/wg/wg0").status_code == 204
    assert "BEGIN CERTIFICATE REQUEST" in witness.call("POST", "/v1/certificate/request").json()["csr"]


@pytest.mark.parametrize(("as_witness", "run_as_witness"), [(False, True), (True, False)])
def test_who_enrolled_as_the_other_is_told_what_to_do(place: Path, *, as_witness: bool, run_as_witness: bool) -> None:
    state = enrolled(place / "state", Authority(place / "ca"), witness=as_witness)
    process = start(AgentSettings(state_dir=state.root, port=1, witness=run_as_witness))
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    if run_as_witness:
        assert "node create NAME --witness" in said
    else:
        assert "start it with `wgfleet agent run --witness`" in said


def test_a_state_directory_with_interfaces_is_no_witnesss(place: Path) -> None:
    state = enrolled(place / "state", Authority(place / "ca"), witness=True)
    state.desired.mkdir()
    (state.desired / "wg0.json").write_text("{}")
    process = start(AgentSettings(state_dir=state.root, port=1, witness=True))
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "another state directory" in said
