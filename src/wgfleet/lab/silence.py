"""Clients that get no answer through their tunnel, and what is known of each: whom it sends to, and who knows it."""

import time

from wgfleet.lab import fleet, stock
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import Document, PanelClient
from wgfleet.lab.state import Lab

REACHED_S = 30  # for WireGuard's own retry, which comes 15 s after data without an answer and every 5 s then


def silent(lab: Lab, panel: PanelClient) -> list[str]:
    """Have each client ping its node until it answers, for `REACHED_S`; say of those without an answer what is so."""
    quiet = [
        client
        for client in fleet.hosts(lab, "client")
        if not client.succeeds("ping", "-n", "-q", "-c", "1", "-w", str(REACHED_S), fleet.NODE_TUNNEL_ADDRESS)
    ]
    peers = panel.all(f"/api/configs/{fleet.CONFIG}/peers") if quiet else []
    return [f"{client.name} gets no answer: {_known(lab, client, peers)}" for client in quiet]


def _known(lab: Lab, client: Host, peers: list[Document]) -> str:
    try:
        key = client.run("wg", "show", stock.INTERFACE, "public-key").strip()
        said = [_end(lab, client, None)]
    except LabError as error:
        return str(error)
    for node in fleet.hosts(lab, "node"):
        try:
            said.append(_end(lab, node, key))
        except LabError:
            said.append(f"{node.name} has no {stock.INTERFACE}")
    names = {node["id"]: node["name"] for node in lab.result["nodes"]}
    for peer in peers:
        if peer["public_key"] == key:
            session = peer["session"] or {}
            home, last = names.get(peer["home_node_id"]), names.get(session.get("node_id"))
            said.append(f"for the panel it lives on {home}, and {last} said last that it has it: {session}")
    return "; ".join(said)


def _end(lab: Lab, host: Host, key: str | None) -> str:
    """Say what a host's WireGuard has of a peer (None: of all, as a client has one)."""
    hosts = {each.address: each.name for each in lab.hosts.values()}
    found = []
    for line in host.run("wg", "show", stock.INTERFACE, "dump").splitlines()[1:]:
        peer, _, endpoint, _, at, received, sent, _ = line.split("\t")
        if key in {None, peer}:
            whom = hosts.get(endpoint.rpartition(":")[0], "nobody known")
            age = f"{time.time() - int(at):.0f} s ago" if int(at) else "never"
            found.append(f"{endpoint} ({whom}), shook hands {age}, {received} B received, {sent} B sent")
    return f"{host.name} has {' and '.join(found) or 'no such peer'}"
