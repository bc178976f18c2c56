"""`drain`: a node is removed from a config while every client pings through the tunnel without pause.

What is counted, in each round: all clients start to ping; for `CALM_S` nothing happens; then
`DELETE /api/configs/wg0/nodes/ID`; when the operation has ended, the clients go on for `AFTER_S`. `packets_*` and
`worst_gap_ms` are those of pings.py, over the whole round and all clients. `live_on_removed_node` is read from
WireGuard in the node's own namespace just before the call: peers with a handshake in the last `LIVE_S` that have sent
something within `CALM_S`. `peers_migrated` and `sessions_taken_over` are the operation's own words, and
`verified_elsewhere` checks them: those of the live peers that have, after the round, a handshake on another node that
is newer than the call. `seconds` is from the call to the operation's end. Each round removes the node that has the most
live sessions; before the next one it is assigned again and serves.

With `relay` the removal asks for relays of `RELAY_S`, and `relayed` counts the clients that the operation names as
relayed. They lose what they send from when the relay begins until the new node's call through it is answered:
`MAX_LOST_RELAYED` packets at most are promised.

Behind NAT without `relay` nobody can be called, so a removal has to end without having cut anybody off: `refused`
counts the clients that it names, and the node serves on.
"""

import statistics
import time
from dataclasses import asdict
from ipaddress import ip_network
from typing import Any

from wgfleet.lab import fleet, pings, stock
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.protocol.observed import LIVE_S

CALM_S = 2.0
AFTER_S = 3.0
_OPERATION_S = 120.0
RELAY_S = 3600.0
MAX_LOST_RELAYED = 20
MAX_LOST = 1  # the round trip before the new keys are in use, at up to 100 packets/s
_GUEST = f"{ip_network(fleet.POOL)[-2]}/32"  # the last address that a user may have, and that none has
Round = dict[str, Any]


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Run the rounds and sum them up; `ok` means that every round was as promised."""
    with fleet.client(lab) as panel:
        rounds = []
        for number in range(1, options.rounds + 1):
            with progress.step(f"round {number} of {options.rounds}"):
                rounds.append(remove_busiest(lab, panel, options.rate, RELAY_S if options.relay else 0.0))
                if number < options.rounds and rounds[-1]["interface_gone"]:
                    put_back(lab, panel, lab.host(rounds[-1]["removed_node"]))
    return summary(rounds)


def summary(rounds: list[Round]) -> dict[str, Any]:
    """Sum rounds up: totals, and the worst of what must be small."""
    lost = [count["lost"] for entry in rounds for count in entry["clients"]]
    total: dict[str, Any] = {
        "ok": all(entry["ok"] for entry in rounds),
        "packets_sent": sum(entry["packets_sent"] for entry in rounds),
        "packets_lost": sum(lost),
        "packets_lost_max": max(lost),
        "packets_lost_median": statistics.median(lost),
        "worst_gap_ms": max(entry["worst_gap_ms"] for entry in rounds),
        "seconds": max(entry["seconds"] for entry in rounds),
    }
    for name in (
        "relayed",
        "sessions_taken_over",
        "peers_migrated",
        "live_on_removed_node",
        "verified_elsewhere",
        "refused",
    ):
        total[name] = sum(entry[name] for entry in rounds)
    if len(rounds) == 1:
        return {**total, "removed_node": rounds[0]["removed_node"], "clients": rounds[0]["clients"]}
    return {**total, "rounds": rounds}


def remove_busiest(lab: Lab, panel: PanelClient, rate: float, relay_s: float = 0.0) -> Round:
    """Remove the node with the most live sessions and count."""
    devices = fleet.hosts(lab, "client")
    fleet.favour_nodes(lab)
    running = pings.start(devices, fleet.NODE_TUNNEL_ADDRESS, rate=rate)
    earlier = {host.name: received(host) for host in serving(lab, panel)}
    time.sleep(CALM_S)
    live = {host.name: live_peers(host, earlier[host.name]) for host in serving(lab, panel)}
    node = lab.host(max(live, key=lambda name: len(live[name])))
    called = time.time()
    begun = time.monotonic()
    path = f"/api/configs/{fleet.CONFIG}/nodes/{node_id(lab, node)}"
    asked = panel.call("DELETE", f"{path}?relay_s={relay_s}")
    operation = panel.ended_operation(asked["id"], timeout_s=_OPERATION_S)
    result, refused = operation["result"], operation["state"] == "failed"
    seconds = time.monotonic() - begun
    time.sleep(AFTER_S)
    counts = pings.measure(running)
    elsewhere: set[str] = set()
    for host in serving(lab, panel):
        elsewhere |= {key for key, at in handshakes(host).items() if at >= int(called)}
    expected = live[node.name]
    lost_max = max(count.lost for count in counts)
    gone = not node.succeeds("wg", "show", stock.INTERFACE)
    moved = result["sessions_taken_over"] == len(expected) and expected <= elsewhere and gone
    kept = lab.nat and not relay_s and result["left_behind"] == len(expected) and not gone
    return {
        "ok": lost_max <= (MAX_LOST_RELAYED if relay_s else MAX_LOST)
        and (relay_s or statistics.median(count.lost for count in counts) == 0)
        and (kept if refused else moved),
        "refused": result["left_behind"] if refused else 0,
        "removed_node": node.name,
        "interface_gone": gone,
        "packets_sent": sum(count.sent for count in counts),
        "packets_lost": sum(count.lost for count in counts),
        "packets_lost_max": lost_max,
        "worst_gap_ms": max(count.worst_gap_ms for count in counts),
        "sessions_taken_over": result["sessions_taken_over"],
        "peers_migrated": result["peers_migrated"],
        "relayed": len(result.get("relayed") or ()),
        "seconds": round(seconds, 3),
        "live_on_removed_node": len(expected),
        "verified_elsewhere": len(expected & elsewhere),
        "clients": [asdict(count) for count in counts],
    }


def put_back(lab: Lab, panel: PanelClient, removed: Host) -> None:
    """Assign a removed node again and wait until all serve."""
    fleet.assign(panel, node_id(lab, removed))
    fleet.wait_serving(panel, lab.nodes)


def node_id(lab: Lab, host: Host) -> str:
    """Return the panel's id of a node."""
    return next(str(node["id"]) for node in lab.result["nodes"] if node["name"] == host.name)


def serving(lab: Lab, panel: PanelClient) -> list[Host]:
    """Return the hosts of the nodes that serve the config."""
    names = {node["id"]: node["name"] for node in lab.result["nodes"]}
    entries = panel.all(f"/api/configs/{fleet.CONFIG}/nodes")
    return [lab.host(names[entry["node_id"]]) for entry in entries if entry["phase"] == "serving"]


def _column(host: Host, what: str, column: int) -> dict[str, int]:
    lines = host.run("wg", "show", stock.INTERFACE, what).splitlines()
    return {fields[0]: int(fields[column]) for fields in (line.split("\t") for line in lines)}


def handshakes(host: Host) -> dict[str, int]:
    """Return the latest handshake of each user's peer on a node, in s since the epoch."""
    users = user_keys(host)
    return {key: at for key, at in _column(host, "latest-handshakes", 1).items() if key in users}


def user_keys(host: Host) -> set[str]:
    """Return the public keys of a node's users."""
    return users_among(host.run("wg", "show", stock.INTERFACE, "allowed-ips"))


def users_among(allowed_ips: str) -> set[str]:
    """Find the users in what `wg` says (pure): peers that only probe the node have no addresses.

    No user is the guest that the agent itself lets in now and then, to see whether packets are forwarded.
    """
    lines = (line.split("\t") for line in allowed_ips.splitlines())
    return {key for key, networks in lines if networks not in {"(none)", _GUEST}}


def received(host: Host) -> dict[str, int]:
    """Return the bytes that a node received of each peer."""
    return _column(host, "transfer", 1)


def live_peers(host: Host, earlier: dict[str, int]) -> set[str]:
    """Return the peers with a session on a node that sent something since `earlier`."""
    now, sent = time.time(), received(host)
    return {key for key, at in handshakes(host).items() if now - at < LIVE_S and sent.get(key, 0) > earlier.get(key, 0)}
