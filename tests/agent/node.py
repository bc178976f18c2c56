"""A node for tests: a network namespace with its own /run, and the real agent in it as a process of its own."""

import contextlib
import ctypes
import json
import os
import queue
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

from tests.agent.authority import Authority, Files
from tests.lab.namespaces import MAKE_PRIVATE, UNSHARE_MOUNTS, enter
from tests.markers import require
from tests.programs import forked_agent
from tests.waiting import eventually
from wgfleet.agent.state.files import write_atomic
from wgfleet.agent.state.identity import AgentFile, StateDirectory
from wgfleet.cli import agent
from wgfleet.panel.agents.authority import agent_server_name
from wgfleet.protocol.features import HEARD_HEADER
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.messages import Snapshot, WatchMessage

T = TypeVar("T")
PORT = 51900
STARTS = 3
_CLONE_NEWNET = 0x40000000  # setns(2)
_libc = ctypes.CDLL(None, use_errno=True)


def becomes(*options: str) -> list[str]:
    """Return the command that `wgfleet agent run` becomes; labs have it become that."""
    with mock.patch("os.execv") as become:
        parsed = CliRunner().invoke(agent.app, ["run", *options])
    assert parsed.exit_code == 0, parsed.output
    command: list[str] = become.call_args.args[1]
    return command


class Host:
    """A network namespace with a mount namespace whose /run is its own. Ends with everything that runs in it."""

    def __init__(self, namespace: str) -> None:
        require("lab")
        self.namespace = namespace
        self._spawned: list[subprocess.Popen[bytes]] = []
        subprocess.run(["ip", "netns", "add", namespace], check=True)
        self._holder = subprocess.Popen(
            [
                *("nsenter", f"--net=/run/netns/{namespace}", *UNSHARE_MOUNTS, "sh", "-ec"),
                f"{MAKE_PRIVATE}; mount -t tmpfs tmpfs /run; ip link set lo up; echo ready; exec sleep infinity",
            ],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"

    @property
    def pid(self) -> int:
        """A process that is in both namespaces."""
        return self._holder.pid

    def command(self, *command: str) -> list[str]:
        return [*enter(self.pid), *command]

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(self.command(*command), input=stdin, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, (command, done.stderr)
        return done.stdout

    def spawn(self, *command: str) -> None:
        """Start a program that runs until the host is closed."""
        self._spawned.append(
            subprocess.Popen(self.command(*command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )

    def wireguard(self, interface: str = "wg0") -> None:
        """Start a user's WireGuard and wait until it answers; where it ends before, say why and try again."""
        self.run("mkdir", "-p", "/run/wireguard")
        for _ in range(STARTS):
            with tempfile.TemporaryFile() as said:
                process = subprocess.Popen(
                    self.command("wireguard-go", "-f", interface), stdout=subprocess.DEVNULL, stderr=said
                )
                self._spawned.append(process)
                eventually(partial(self._answers_or_ended, process, interface))
                if process.poll() is None:
                    return
                said.seek(0)
                print(f"wireguard-go ended with {process.returncode}: {said.read().decode()}")  # noqa: T201 - shown with a failure
        pytest.fail(f"wireguard-go of {self.namespace} did not start")

    def _answers_or_ended(self, process: subprocess.Popen[bytes], interface: str) -> bool:
        return process.poll() is not None or bool(self.run("wg", "show", interface, check=False))

    def enter(self) -> None:
        """Move the calling thread into the network namespace."""
        with Path(f"/run/netns/{self.namespace}").open("rb") as handle:
            if _libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def close(self) -> None:
        for pid in subprocess.run(
            ["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=True
        ).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        for process in (self._holder, *self._spawned):
            process.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()
        subprocess.run(["ip", "netns", "del", self.namespace], check=True)


class Node:
    """An enrolled agent on a host, and the panel's side of its API."""

    def __init__(self, host: Host, state: Path, authority: Authority, node_id: str) -> None:
        self.host = host
        self.node_id = node_id
        self.state = StateDirectory(state)
        self.authority = authority
        self.panel = authority.panel()
        self.favoured = False
        self._agent: subprocess.Popen[str] | None = None
        self.log_path = state.parent / f"{node_id}.log"
        self._caller, self.address = host, "127.0.0.1"
        self._thread = ThreadPoolExecutor(2, initializer=host.enter)
        mine = authority.node(node_id)
        self.state.make()
        self.state.write_certificate(
            key=mine.key.read_bytes(), certificate=mine.certificate.read_bytes(), ca=authority.pem.encode()
        )
        write_atomic(
            self.state.agent, msgspec.json.encode(AgentFile(NodeId(node_id), PORT, "https://panel.invalid:8443"))
        )
        self._client = self.client(self.panel)

    @property
    def pid(self) -> int:
        assert self._agent is not None
        return self._agent.pid

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines() if line.startswith("{")]

    def start(self, *options: str, wait: bool = True) -> None:
        with self.log_path.open("ab") as log:
            command = becomes("--state-dir", str(self.state.root), *options)
            self._agent = forked_agent(command, self.host.pid, stdout=log, stderr=log)
        if self.favoured:
            self._favour()
        if wait:
            eventually(self.answers)

    def _favour(self) -> None:
        """Let the agent, and what it starts, run at once when it has something to do: tests of its times need that."""
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(PermissionError):  # a container may not be allowed to
                os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(1))

    def answers(self) -> bool:
        assert self._agent is not None
        assert self._agent.poll() is None, self.log_path.read_text()
        try:
            return self.call("GET", "/health").status_code == httpx.codes.OK
        except httpx.ConnectError:
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self._agent is not None
        self._agent.send_signal(number)
        return self._agent.wait(60)

    def signal(self, number: signal.Signals) -> None:
        """Send the agent a signal, and wait for nothing."""
        assert self._agent is not None
        self._agent.send_signal(number)

    def call_from(self, host: Host, address: str) -> None:
        """Have the panel be on another host from now on, which reaches the agent at an address."""
        self._client.close()
        self._thread.shutdown()
        self._caller, self.address = host, address
        self._thread = ThreadPoolExecutor(2, initializer=host.enter)
        self._client = self.client(self.panel)

    def client(self, files: Files | None, authority: Authority | None = None) -> httpx.Client:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations((authority or self.authority).path)
        if files is not None:
            context.load_cert_chain(files.certificate, files.key)
        return httpx.Client(verify=context, base_url=f"https://{self.address}:{PORT}", timeout=60, trust_env=False)

    def begin(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        client: httpx.Client | None = None,
        heard_at: float | None = None,
    ) -> "Future[httpx.Response]":
        """Call the agent's API from inside its namespace, beside whatever else is going on.

        `heard_at`: when the panel last heard the agent, as it says; None: it does not say.
        """
        headers = {} if heard_at is None else {HEARD_HEADER: repr(heard_at)}
        content = body if isinstance(body, bytes) else None if body is None else msgspec.json.encode(body)
        extensions = {"sni_hostname": agent_server_name(self.node_id)}
        return self._thread.submit(
            lambda: (client or self._client).request(
                method, path, content=content, extensions=extensions, headers=headers
            )
        )

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        client: httpx.Client | None = None,
        heard_at: float | None = None,
    ) -> httpx.Response:
        return self.begin(method, path, body, client=client, heard_at=heard_at).result()

    @contextlib.contextmanager
    def watch(self) -> Iterator["queue.Queue[tuple[float, WatchMessage]]"]:
        """Read the stream in the background; messages come with the time of their arrival."""
        messages: queue.Queue[tuple[float, WatchMessage]] = queue.Queue()
        decoder = msgspec.json.Decoder(WatchMessage)
        with self.client(self.panel) as client, ThreadPoolExecutor(1, initializer=self._caller.enter) as thread:
            request = client.build_request(
                "GET", "/v1/watch", extensions={"sni_hostname": agent_server_name(self.node_id)}
            )
            response = thread.submit(client.send, request, stream=True).result()
            assert response.status_code == httpx.codes.OK

            def read() -> None:
                with contextlib.suppress(httpx.HTTPError, httpx.StreamError, ssl.SSLError, OSError):
                    for line in response.iter_lines():
                        messages.put((time.monotonic(), decoder.decode(line)))

            reading = thread.submit(read)
            first = messages.get(timeout=60)
            assert isinstance(first[1], Snapshot)
            messages.put(first)
            try:
                yield messages
            finally:
                with contextlib.suppress(OSError):  # closed already: the agent is dead
                    response.extensions["network_stream"].get_extra_info("socket").shutdown(2)
                reading.result(60)
                response.close()

    def close(self) -> None:
        if self._agent is not None and self._agent.poll() is None:
            self._agent.kill()
            self._agent.wait()
        self._client.close()
        self._thread.shutdown()
