"""A server of another program moves in while it runs: imported, joined, taken over under traffic, and once more."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from tests.imports import samples
from tests.imports.samples import Keys
from wgfleet.lab import fleet, pings, state, stock
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.state import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
RATE = 50.0


@dataclass(frozen=True)
class Moving:
    """A server of another program: what its database is called, its address, its port, and who is let in."""

    source: str
    write: Callable[[Path, Keys], None]
    place: str
    statements: tuple[str, ...]
    address: str
    port: int
    users: dict[str, str]
    has_preshared: bool


SERVERS = {
    "wg-easy": Moving(
        "wg-easy",
        samples.wg_easy_15,
        "wg-easy.db",
        (
            "UPDATE clients_table SET enabled = 1, server_allowed_ips = '[]'",
            "CREATE TABLE another AS SELECT * FROM clients_table",
            "UPDATE another SET id = 5, name = 'phone', private_key = 'PHONE', public_key = 'PUBLIC'",
            "UPDATE another SET ipv4_address = '10.8.0.6', ipv6_address = 'fdcc:ad94:bacf:61a4::cafe:6'",
            "INSERT INTO clients_table SELECT * FROM another",
            "DROP TABLE another",
        ),
        "10.8.0.1/24",
        51820,
        {
            "tablet": "10.8.0.5/32,fdcc:ad94:bacf:61a4::cafe:5/128",
            "phone": "10.8.0.6/32,fdcc:ad94:bacf:61a4::cafe:6/128",
        },
        has_preshared=True,
    ),
    "wgdashboard": Moving(
        "wgdashboard",
        samples.wgdashboard,
        "wgdashboard.db",
        (
            "CREATE TABLE another AS SELECT * FROM office",
            "UPDATE another SET id = 'PUBLIC', name = 'phone', allowed_ip = '10.9.0.9/32', private_key = 'PHONE'",
            "INSERT INTO office SELECT * FROM another",
            "DROP TABLE another",
        ),
        "10.9.0.254/24",
        51833,
        {"anna": "10.9.0.7/32", "phone": "10.9.0.9/32"},
        has_preshared=False,
    ),
}


@pytest.fixture(params=SERVERS)
def moving(request: pytest.FixtureRequest) -> Moving:
    return SERVERS[request.param]


@pytest.fixture
def lab(moving: Moving) -> Iterator[Lab]:
    with state.temporary("movein", 1, len(moving.users)) as built:
        built.result = {"api_key": fleet.first_start(built)}
        yield built


@pytest.fixture
def folder(moving: Moving, keys: Keys, tmp_path: Path) -> Path:
    """Where the other program keeps its database."""
    place = tmp_path / "theirs"
    place.mkdir()
    moving.write(place, keys)
    for file in place.glob("*.conf"):
        file.write_text(file.read_text().replace("10.9.0.1/24", moving.address))
    with closing(sqlite3.connect(place / moving.place)) as database, database:
        for statement in moving.statements:
            database.execute(statement.replace("PHONE", keys.private("phone")).replace("PUBLIC", keys.public("phone")))
    return place


@pytest.fixture
def keys() -> Keys:
    return Keys()


def serve(host: Host, moving: Moving, keys: Keys) -> None:
    """Have the other program's server run, as wg-quick leaves it."""
    lines = [f"[Interface]\nPrivateKey = {keys.private('server')}\nListenPort = {moving.port}"]
    for user, allowed in moving.users.items():
        lines.append(f"[Peer]\nPublicKey = {keys.public(user)}\nAllowedIPs = {allowed}")
        if moving.has_preshared:
            lines.append(f"PresharedKey = {keys.psk('tablet')}")
    host.run("wireguard-go", stock.INTERFACE)
    host.run("wg", "setconf", stock.INTERFACE, "/dev/stdin", stdin="\n".join(lines) + "\n")
    host.run("ip", "addr", "add", moving.address, "dev", stock.INTERFACE)
    host.run("ip", "link", "set", stock.INTERFACE, "up")
    host.favour("wireguard-go")


def connect(clients: list[Host], server: Host, moving: Moving, keys: Keys) -> None:
    """Have users connect with the files that the other program gave them."""
    preshared = f"PresharedKey = {keys.psk('tablet')}\n" if moving.has_preshared else ""
    files = [
        f"[Interface]\nPrivateKey = {keys.private(user)}\nAddress = {allowed.split(',')[0]}\n"
        f"[Peer]\nPublicKey = {keys.public('server')}\n{preshared}AllowedIPs = {ip_interface(moving.address).network}\n"
        f"Endpoint = {server.address}:{moving.port}\nPersistentKeepalive = 25\n"
        for user, allowed in moving.users.items()
    ]
    stock.connect(list(zip(clients, files, strict=True)), moving.address.partition("/")[0])


def imported(lab: Lab, moving: Moving, folder: Path) -> str:
    """Import, as a person does on the panel's machine; return what is said."""
    host, trusted = lab.host("panel"), folder.with_name("ca.pem")
    trusted.write_text(fleet.ca_file(lab).read_text())  # where the machine sees it
    variables = {"WGFLEET_URL": fleet.panel_url(lab), "WGFLEET_CA_FILE": str(trusted)}
    known = [f"{name}={value}" for name, value in (variables | {"WGFLEET_API_KEY": lab.result["api_key"]}).items()]
    command = [fleet.PROGRAM, "import", moving.source, str(folder), "--config", fleet.CONFIG, "--yes"]
    files = ["--files", str(folder)] if moving.source == "wgdashboard" else []
    return host.run("env", *known, "sh", "-c", '"$@" 2>&1', "sh", *command, *files)


def of_panel(panel: PanelClient) -> list[Any]:
    """Return all that the panel has of the config and its peers, but what traffic changes."""
    moving_on = {"session", "usage", "used"}
    peers = panel.all(f"/api/configs/{fleet.CONFIG}/peers")
    config = panel.call("GET", f"/api/configs/{fleet.CONFIG}")
    jobs = [panel.call("GET", f"/api/peers/{peer['id']}/jobs") for peer in peers]
    return [config, jobs, *({name: peer[name] for name in peer.keys() - moving_on} for peer in peers)]


def of_device(lab: Lab) -> list[str]:
    """Return what WireGuard has been told and where users are, but from which port the panel's own probes come."""
    lines = lab.host("node-1").run("wg", "showconf", stock.INTERFACE).splitlines()
    return sorted(line for line in lines if f"Endpoint = {lab.host('panel').address}:" not in line)


def test_its_users_lose_no_packet_and_a_second_time_changes_nothing(
    lab: Lab, moving: Moving, folder: Path, keys: Keys
) -> None:
    node, clients = lab.host("node-1"), fleet.hosts(lab, "client")
    serve(node, moving, keys)
    connect(clients, node, moving, keys)
    running = pings.start(clients, moving.address.partition("/")[0], rate=RATE)
    process = node.find("wireguard-go")
    adopt = [fleet.PROGRAM, "agent", "adopt", stock.INTERFACE, "--yes", "--state-dir", str(node.directory / "agent")]
    with fleet.client(lab) as panel:
        said = imported(lab, moving, folder)
        assert f"imported into {fleet.CONFIG}" in said
        joined = fleet.enroll(panel, node)
        fleet.wait_connected(panel, 1)
        fleet.assign(panel, joined["id"])
        assert f"{len(moving.users)} use it now" in node.run("sh", "-c", '"$@" 2>&1', "sh", *adopt)
        fleet.wait_serving(panel, 1)
        fleet.wait_connected(panel, 1)
        before = of_panel(panel), of_device(lab)
        again = imported(lab, moving, folder)
        assert "0 peers were imported" in again, again
        assert "the agent's own" in node.run("sh", "-c", '"$@" 2>&1; true', "sh", *adopt)
        counts = pings.measure(running)
        assert (of_panel(panel), of_device(lab)) == before
    assert [count.lost for count in counts] == [0] * len(clients), counts
    assert all(count.sent > RATE for count in counts)
    assert node.find("wireguard-go") == process
