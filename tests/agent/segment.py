"""A segment for tests of floating addresses: two nodes and a neighbor on one bridge, and what is asked of them."""

import subprocess
from dataclasses import dataclass

import msgspec

from tests.agent.node import Host, Node
from tests.agent.values import peer, private_key, public_key, settings, whole
from wgfleet.protocol.desired import DesiredInterface, FloatingSettings, InterfaceSettings

FOUR, SIX = "198.18.0.100", "2001:db8:18::100"
KEY, PROBE_KEY = private_key(), private_key()
PROBER = {public_key(PROBE_KEY): peer(999, psk=False)}


def floating(*addresses: str, witnesses: tuple[str, ...] = (), give_up_after_s: float = 4.0) -> InterfaceSettings:
    return msgspec.structs.replace(
        settings(key=KEY), floating=FloatingSettings(addresses, witnesses, PROBE_KEY, give_up_after_s)
    )


def at(generation: int, made: InterfaceSettings) -> DesiredInterface:
    return whole(generation, made, PROBER)


@dataclass
class Segment:
    """Two nodes and a neighbour on one bridge."""

    switch: Host
    a: Node
    b: Node
    neighbour: Host

    def cut(self, number: int, *, up: bool = False) -> None:
        self.switch.run("ip", "link", "set", f"p{number}", "up" if up else "down")

    def reaches(self, node: Node, address: str = FOUR) -> bool:
        """Whether the neighbour's packets for an address arrive at a node, asked without a new look for its place."""
        before = self._received(node)
        command = self.neighbour.command("ping", "-q", "-c", "1", "-W", "1", address)
        return (
            subprocess.run(command, capture_output=True, check=False).returncode == 0 and self._received(node) > before
        )

    @staticmethod
    def _received(node: Node) -> int:
        counters = node.host.run("nstat", "-asz", "IcmpInEchos", "Icmp6InEchos").splitlines()[1:]
        return sum(int(line.split()[1]) for line in counters)


def cable(switch: Host, host: Host, number: int) -> None:
    end = f"p{number}"
    switch.run("ip", "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid))
    switch.run("ip", "link", "set", end, "master", "br0", "up")
    host.run("ip", "addr", "add", f"198.18.0.{number}/24", "dev", "eth0")
    host.run("ip", "link", "set", "eth0", "up")


def has(node: Node, address: str = FOUR) -> bool:
    return f" {address}/" in node.host.run("ip", "-o", "addr", "show", "dev", "eth0")


def drift(node: Node) -> dict[str, str]:
    (interface,) = node.call("GET", "/v1/status").json()["interfaces"]
    return {each["field"]: each["observed"] for each in interface["drift"]}
