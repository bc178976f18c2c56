"""Hosts with WireGuard of the real kernel: network namespaces on one bridge."""

import asyncio
import os
import subprocess
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pyroute2 import netns

from tests.protocol.strategies import clamp, text
from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.kernel.machine import Machine, detect
from wgfleet.agent.state.ledger import Ledger
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey

T = TypeVar("T")
NAME = InterfaceName("wg0")
BRIDGE = "wgk-bridge"


def run(*command: str, stdin: str | None = None) -> str:
    return subprocess.run(command, check=True, input=stdin, capture_output=True, text=True).stdout


def key_pair(number: int) -> tuple[PrivateKey, PublicKey]:
    private = text(clamp(number.to_bytes(32, "big")))
    return PrivateKey(private), PublicKey(run("wg", "pubkey", stdin=private).strip())


def desired(
    peers: dict[PublicKey, DesiredPeer],
    *,
    generation: int = 1,
    private_key: PrivateKey,
    addresses: tuple[str, ...] = ("10.8.0.1/24", "fd00:8::1/64"),
    routes: tuple[str, ...] = (),
    mtu: int | None = None,
    masquerade: bool = False,
    enabled: bool = True,
    listen_port: int = 51820,
) -> DesiredInterface:
    settings = InterfaceSettings(
        name=NAME,
        config_id=ConfigId("config"),
        private_key=private_key,
        listen_port=listen_port,
        addresses=addresses,
        routes=routes,
        mtu=mtu,
        masquerade=masquerade,
        enabled=enabled,
    )
    return DesiredInterface(generation=Generation(generation), settings=settings, peers=peers)


class Host:
    """A network namespace with an address on the bridge; the agent's code runs in it through `do`."""

    def __init__(self, name: str, address: str, log_dir: Path) -> None:
        self.name = f"wgk-{name}"
        self.address = address
        self.machine = Machine("kernel", log_dir)
        self.ledger = Ledger(log_dir / f"{name}.ledger.json")
        self.floating = FloatingAddresses(self.ledger)
        self.changes = 0

    def changed(self, _name: InterfaceName, _peers: object = (), _counted: object = ()) -> None:
        """Count what the reconciler has to tell."""
        self.changes += 1

    def reconciler(self, wanted: DesiredInterface) -> InterfaceReconciler:
        return InterfaceReconciler(self.machine, wanted, self, self.floating)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        async def run_it() -> T:
            try:
                return await work
            finally:
                self.floating.close()

        with self._inside():
            return asyncio.run(run_it())

    def run(self, *command: str) -> str:
        return run("ip", "netns", "exec", self.name, *command)

    def pings(self, address: str) -> bool:
        command = ["ip", "netns", "exec", self.name, "ping", "-c", "1", "-W", "2", "-q", address]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    @contextmanager
    def _inside(self) -> Iterator[None]:
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            netns.setns(self.name)
            try:
                yield
            finally:
                netns.setns(home)
        finally:
            os.close(home)


class Network:
    """Hosts on one bridge, all gone at the end."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._hosts: list[Host] = []
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "link", "set", BRIDGE, "up")

    def host(self, name: str) -> Host:
        number = len(self._hosts) + 1
        host = Host(name, f"198.18.0.{number}", self._log_dir)
        self._hosts.append(host)
        run("ip", "netns", "add", host.name)
        run("ip", "link", "add", f"wgk-{number}", "type", "veth", "peer", "name", "eth0", "netns", host.name)
        run("ip", "link", "set", f"wgk-{number}", "master", BRIDGE, "up")
        run("ip", "-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            run("ip", "-n", host.name, "link", "set", link, "up")
        return host

    def close(self) -> None:
        for host in self._hosts:
            run("ip", "netns", "delete", host.name)
        run("ip", "link", "delete", BRIDGE)


@pytest.fixture(scope="session", autouse=True)
def _kernel_has_wireguard() -> None:
    """These tests mean nothing on another backend, so its absence is a failure and no skip."""
    backend = asyncio.run(detect())
    assert backend == "kernel", "this kernel has no WireGuard; run `make test-kernel`"


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    network = Network(tmp_path)
    yield network
    network.close()


@pytest.fixture
def node(network: Network) -> Host:
    return network.host("node")
