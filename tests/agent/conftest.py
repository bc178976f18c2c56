"""Fixtures: hosts that are cleaned up, and agents on them."""

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.agent.authority import Authority
from tests.agent.node import Host, Node
from tests.agent.segment import Segment, cable

_numbers = itertools.count(1)


@pytest.fixture
def make_host() -> Iterator[Callable[[], Host]]:
    hosts: list[Host] = []

    def make() -> Host:
        hosts.append(Host(f"agt-{os.getpid()}-{next(_numbers)}"))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def make_node(make_host: Callable[[], Host], authority: Authority, tmp_path: Path) -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def make(node_id: str = "node-1", host: Host | None = None, state: Path | None = None) -> Node:
        nodes.append(Node(host or make_host(), state or tmp_path / node_id, authority, node_id))
        return nodes[-1]

    yield make
    for node in nodes:
        node.close()


@pytest.fixture
def node(make_node: Callable[..., Node]) -> Node:
    made = make_node()
    made.start()
    return made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.fixture
def segment(make_host: Callable[[], Host], make_node: Callable[..., Node]) -> Segment:
    switch, neighbour = make_host(), make_host()
    switch.run("ip", "link", "add", "br0", "type", "bridge")
    switch.run("ip", "link", "set", "br0", "up")
    a, b = make_node("node-a"), make_node("node-b")
    for number, host in enumerate((a.host, b.host, neighbour), 1):
        cable(switch, host, number)
        host.run("ip", "addr", "add", f"2001:db8:18::{number}/64", "dev", "eth0", "nodad")
    for node in (a, b):
        node.favoured = True
        node.start()
    return Segment(switch, a, b, neighbour)
