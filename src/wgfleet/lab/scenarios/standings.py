"""The nodes' health and the peers' homes as the panel shows them, for scenarios that break nodes.

Reads the API and nothing else; what a client feels is counted by pings.py.
"""

import time
from collections import Counter
from datetime import datetime
from typing import Any

from wgfleet.lab import fleet
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.scenarios import drain
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for

POLL_S = 0.2
IN_USE = {"serving", "suspect", "unmanaged"}
Document = dict[str, Any]


def moment(at: str) -> float:
    """Return a time of the API in s since the epoch."""
    return datetime.fromisoformat(at).timestamp()


def health(panel: PanelClient, history: int = 0) -> Document:
    """Return the health of the config's nodes."""
    found: Document = panel.call("GET", f"/api/configs/{fleet.CONFIG}/health?history={history}")
    return found


def states(lab: Lab, panel: PanelClient) -> dict[str, str]:
    """Return the health of each node, by the name of its host."""
    by_id = {entry["node_id"]: entry["health"] for entry in health(panel)["nodes"]}
    return {host.name: by_id[drain.node_id(lab, host)] for host in fleet.hosts(lab, "node")}


def changes(lab: Lab, panel: PanelClient, since: float) -> list[Document]:
    """Return the changes of health since a time (s since the epoch), oldest first; `node` is a host's name."""
    names = {node["id"]: node["name"] for node in lab.result["nodes"]}
    found = [
        {**change, "at": at, "node": names[change["node_id"]]}
        for change in health(panel, 1000)["history"]
        if (at := moment(change["at"])) >= since
    ]
    return found[::-1]


def withdrawals(lab: Lab, panel: PanelClient, since: float) -> list[Document]:
    """Return how often a node was taken out of use since a time."""
    return [change for change in changes(lab, panel, since) if change["before"] in IN_USE and change["after"] == "down"]


def failovers(panel: PanelClient, since: float) -> list[Document]:
    """Return the failovers that began since a time."""
    found = panel.all("/api/operations?kind=failover")
    return [each for each in found if moment(each["created_at"]) >= since]


def homes(panel: PanelClient) -> dict[str, str | None]:
    """Return each peer's home, by its id."""
    return {peer["id"]: peer["home_node_id"] for peer in panel.all(f"/api/configs/{fleet.CONFIG}/peers")}


def moved(before: dict[str, str | None], after: dict[str, str | None]) -> int:
    """Count the peers that have another home."""
    return sum(after.get(peer) != home for peer, home in before.items())


def wait_state(lab: Lab, panel: PanelClient, node: str, state: str, within_s: float) -> float:
    """Wait until a node is in a state; return after how many s."""
    begun = time.monotonic()
    wait_for(
        lambda: states(lab, panel)[node] == state,
        lambda: f"{node} is {states(lab, panel)[node]} and not {state}",
        within_s=within_s,
        every_s=POLL_S,
    )
    return time.monotonic() - begun


def wait_all_serving(lab: Lab, panel: PanelClient, within_s: float) -> None:
    """Wait until every node serves."""
    wait_for(
        lambda: set(states(lab, panel).values()) == {"serving"},
        lambda: f"not all nodes are serving ({states(lab, panel)})",
        within_s=within_s,
        every_s=POLL_S,
    )


def wait_operations(panel: PanelClient, within_s: float = 90.0) -> None:
    """Wait until no operation is under way."""
    wait_for(
        lambda: all(each["finished_at"] is not None for each in panel.all("/api/operations")),
        "operations are still under way",
        within_s=within_s,
        every_s=POLL_S,
    )


def busiest(lab: Lab, panel: PanelClient) -> Host:
    """Return the node in use that most peers shook hands with last."""
    latest: dict[str, tuple[int, str]] = {}
    for name, state in states(lab, panel).items():
        if state in IN_USE:
            for key, at in drain.handshakes(lab.host(name)).items():
                latest[key] = max(latest.get(key, (0, "")), (at, name))
    return lab.host(Counter(name for at, name in latest.values() if at).most_common(1)[0][0])


def clients_by_key(lab: Lab, panel: PanelClient) -> dict[str, str]:
    """Return the name of each client's host by its public key."""
    keys = {peer["id"]: peer["public_key"] for peer in panel.all(f"/api/configs/{fleet.CONFIG}/peers")}
    return {keys[client["id"]]: client["name"] for client in lab.result["clients"]}
