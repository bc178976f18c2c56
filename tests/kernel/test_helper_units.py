"""The helper for Linux clients under a live systemd, installed with the commands of the bundle's README."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.conftest import BRIDGE, Network, desired, key_pair
from tests.kernel.systemd import UNITS, journal, run, shown, succeeds, verify
from tests.waiting import eventually
from wgfleet.panel.services.clients import bundle
from wgfleet.panel.services.clients.files import ClientFile
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.keys import PresharedKey

pytestmark = pytest.mark.kernel

SERVICE, TIMER, TUNNEL = "wgfleet-reresolve@office.service", "wgfleet-reresolve@office.timer", "wg-quick@office"
NODE_PRIVATE, NODE_PUBLIC = key_pair(1)
CLIENT_PRIVATE, CLIENT_PUBLIC = key_pair(2)
PSK = PresharedKey(key_pair(3)[0])
NAME = "vpn.example.com"
FILE = f"""[Interface]
PrivateKey = {CLIENT_PRIVATE}
Address = 10.8.0.2/32
[Peer]
PublicKey = {NODE_PUBLIC}
PresharedKey = {PSK}
AllowedIPs = 10.8.0.0/24, fd00:8::/64
Endpoint = {NAME}:51820
"""


@contextmanager
def known_as(name: str, *addresses: str) -> Iterator[None]:
    hosts = Path("/etc/hosts")
    before = hosts.read_text()
    hosts.write_text(before + "".join(f"{address} {name}\n" for address in addresses))
    yield
    hosts.write_text(before)


def looked_at() -> int:
    """When the last look began, in us since the boot."""
    return int(shown(SERVICE, "ExecMainStartTimestampMonotonic") or 0)


def looks_again(times: int = 2) -> None:
    for _ in range(times):
        before = looked_at()
        eventually(lambda before=before: looked_at() > before, every_s=0.2)  # type: ignore[misc]  # the default is what binds it


def settings() -> list[str]:
    columns = ("preshared-keys", "allowed-ips", "persistent-keepalive")
    return [run("wg", "show", "office", column) for column in columns]


def test_the_helper_runs_beside_the_tunnel_says_nothing_and_finds_the_other_node(
    network: Network, tmp_path: Path
) -> None:
    nodes = [network.host("one"), network.host("two")]
    wanted = desired({CLIENT_PUBLIC: DesiredPeer(("10.8.0.2/32",), PSK)}, private_key=NODE_PRIVATE)
    for node in nodes:
        assert node.do(node.reconciler(wanted).apply_whole(wanted)).verified
    run("ip", "address", "add", "198.18.0.250/24", "dev", BRIDGE)
    name, data = bundle.archive(ClientFile(None, None, "office.conf", FILE))
    (tmp_path / name).write_bytes(data)
    run("tar", "-xzf", name, cwd=tmp_path)
    folder = tmp_path / "office"
    commands = re.findall(r"^  sudo (.*)$", (folder / bundle.README).read_text(), re.MULTILINE)
    Path("/etc/wireguard").mkdir(exist_ok=True)
    with known_as(NAME, *(node.address for node in nodes)):
        for command in commands:
            run(*command.split(), cwd=folder)
        assert verify(str(UNITS / SERVICE), str(UNITS / TIMER)) == ""
        eventually(lambda: succeeds("ping", "-q", "-c", "1", "-W", "2", "10.8.0.1"), every_s=0.2)
        looks_again()
        assert (shown(SERVICE, "Result"), shown(TIMER, "ActiveState")) == ("success", "active")
        assert journal("--unit", SERVICE) == [], "all is well: not a word a second"
        assert Path("/run/wgfleet-reresolve/office.addresses").read_text().split() == [n.address for n in nodes]

        before = settings()
        first = run("wg", "show", "office", "endpoints").split()[1].rpartition(":")[0]
        gone, other = nodes if nodes[0].address == first else reversed(nodes)
        gone.run("ip", "link", "set", "eth0", "down")

        def moved() -> bool:
            succeeds("ping", "-q", "-c", "1", "-W", "1", "10.8.0.1")
            return other.address in run("wg", "show", "office", "endpoints")

        eventually(moved, every_s=0.2)
        eventually(lambda: succeeds("ping", "-q", "-c", "1", "-W", "2", "10.8.0.1"), every_s=0.2)
        assert settings() == before
        said = f"office: {gone.address}:51820 did not answer; now at {other.address}:51820"
        eventually(lambda: said in journal("--identifier", bundle.PROGRAM), every_s=0.2)

        # It comes and goes with the tunnel.
        run("systemctl", "stop", TUNNEL)
        eventually(lambda: shown(TIMER, "ActiveState") == "inactive", every_s=0.2)
        run("systemctl", "start", TUNNEL)
        assert shown(TIMER, "ActiveState") == "active"
        looks_again(1)
        run("systemctl", "disable", "--now", TUNNEL, TIMER)
        assert shown(SERVICE, "Result") == "success"
