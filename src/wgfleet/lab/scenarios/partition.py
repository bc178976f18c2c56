"""`partition`: the network falls apart in four ways while every client pings without pause, one after the other.

`panel_alone`: the panel's cable is cut for `APART_S`. Nobody may notice: `withdrawals` (nodes taken out of use),
`migrations` (failovers, and peers with another home) and `clients_lost` (clients that lost a packet) are promised to be
0, and `frozen` says whether the panel said that it is the one that cannot see. These stand at the top of the object.
`blind_node`: the busiest node reaches only the panel, by nftables rules in the router; so clients cannot reach it and
the panel can. The other nodes miss it and its clients move.
`two_nodes`: all nodes but one are cut off, with a floor of one node, so their clients have to move to that.
`floor`: the same with `min_nodes` one less than there are nodes: only one may be taken out of use, the one that fell
silent first, which is the busiest. Its clients move to the node that is left and not to the other dead one; one with
a session on that other one waits for its cable (`silent`), and `in_use` never falls below the floor.

For each: `moved` clients answer before the cables are put back, of the `hit` ones whose session was on a node that
was cut off; `worst_gap_ms` is the longest time without a reply of those that moved.
"""

import time
from collections.abc import Callable, Collection
from typing import Any

from wgfleet.lab import face, fleet, pings, processes
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.lab.topology import CLIENT_SEGMENT, ROUTER, namespace
from wgfleet.lab.waiting import wait_for

APART_S = 12.0
AFTER_S = 5.0
BETWEEN_S = 0.5  # two cables are not pulled in the same moment; the floor takes who fell silent first
RETURN_S = 400.0
_TABLE = "wgfleetlab"
Figures = dict[str, Any]


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> Figures:
    """Take the network apart and put it together again, in each way."""
    nodes = fleet.hosts(lab, "node")
    with fleet.client(lab) as panel:
        with progress.step("the panel alone is cut off"):
            alone = panel_alone(lab, panel, options.rate)
        with progress.step("a node reaches only the panel"):
            node = standings.busiest(lab, panel)
            blind = nodes_apart(lab, panel, [node], options.rate, lambda apart: only_panel(lab, node, apart))
            standings.wait_all_serving(lab, panel, RETURN_S)
        with progress.step(f"{len(nodes) - 1} of {len(nodes)} nodes are cut off"):
            apart = _with_busiest(lab, panel)
            two = nodes_apart(lab, panel, apart, options.rate, _cables(lab, apart), approve=True)
            standings.wait_all_serving(lab, panel, RETURN_S)
        with progress.step(f"{len(nodes) - 1} of {len(nodes)} nodes are cut off, with a floor"):
            face.set_endpoint_group(lab, panel, min_nodes=len(nodes) - 1)
            apart = _with_busiest(lab, panel)
            floor = nodes_apart(lab, panel, apart, options.rate, _cables(lab, apart), approve=True)
            wait_for(
                lambda: "suspect" not in standings.states(lab, panel).values(), "a node is suspect", within_s=RETURN_S
            )
    kept = (
        not (alone["withdrawals"] or alone["migrations"] or alone["clients_lost"])
        and alone["frozen"]
        and two["moved"] == two["hit"]
        and blind["moved"] == blind["hit"]
        and floor["withdrawals"] == 1
        and floor["in_use"] == len(nodes) - 1
    )
    return {"ok": kept, **alone, "two_nodes": two, "blind_node": blind, "floor": floor}


def panel_alone(lab: Lab, panel: PanelClient, rate: float) -> Figures:
    """Cut the panel off for a while."""
    begun, homes = time.time(), standings.homes(panel)
    running = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=rate)
    lab.cut("panel")
    time.sleep(APART_S)
    lab.reconnect("panel")
    standings.wait_all_serving(lab, panel, RETURN_S)
    wait_for(lambda: standings.health(panel)["frozen"] is None, "the panel still says it is cut off", within_s=RETURN_S)
    time.sleep(AFTER_S)  # what it may have decided while it was cut off would be done now
    counts = pings.measure(running)
    log = (lab.host("panel").directory / "log" / "panel.log").read_text(encoding="utf-8", errors="replace")
    return {
        "withdrawals": len(standings.withdrawals(lab, panel, begun)),
        "migrations": len(standings.failovers(panel, begun)) + standings.moved(homes, standings.homes(panel)),
        "clients_lost": sum(count.lost > 0 for count in counts),
        "lost": sum(count.lost for count in counts),
        "frozen": '"health.frozen"' in log and '"health.unfrozen"' in log,
    }


def nodes_apart(
    lab: Lab,
    panel: PanelClient,
    apart: Collection[Host],
    rate: float,
    cut: Callable[[bool], None],
    *,
    approve: bool = False,
) -> Figures:
    """Cut nodes off for a while. `cut` is called with True, and later with False.

    `approve`: they are more than half, so that somebody has to approve that they are replaced.
    """
    devices = fleet.hosts(lab, "client")
    keys = standings.clients_by_key(lab, panel)
    running = pings.start(devices, fleet.NODE_TUNNEL_ADDRESS, rate=rate)
    earlier = {host.name: drain.received(host) for host in apart}
    time.sleep(drain.CALM_S)
    hit = {keys[key] for host in apart for key in drain.live_peers(host, earlier[host.name])}
    begun = time.time()
    cut(True)
    try:
        if approve:
            # The one that was cut off first may have been replaced before the second was missed.
            wait_for(lambda: _noticed(lab, panel, apart), "no approval is asked for", within_s=APART_S)
            panel.call("POST", "/api/health/freeze/approve", {"id": _frozen(panel)["id"]})
        time.sleep(APART_S)
        states = standings.states(lab, panel)
        counts = {count.client: count for count in pings.measure(running)}
    finally:
        cut(False)
    # A gap that ends with the counting never ended.
    answering = {name for name in hit if counts[name].worst_gap_at < begun + APART_S}
    return {
        "withdrawals": len(standings.withdrawals(lab, panel, begun)),
        "in_use": sum(state in standings.IN_USE for state in states.values()),
        "hit": len(hit),
        "moved": len(answering),
        "silent": len(hit - answering),
        "worst_gap_ms": max((counts[name].worst_gap_ms for name in answering), default=0.0),
        "others_lost": sum(count.lost for name, count in counts.items() if name not in hit),
    }


def _noticed(lab: Lab, panel: PanelClient, apart: Collection[Host]) -> bool:
    waiting = {node["node_name"] for node in _frozen(panel)["nodes"]}
    states = standings.states(lab, panel)
    return bool(waiting) and all(host.name in waiting or states[host.name] == "down" for host in apart)


def _frozen(panel: PanelClient) -> Figures:
    found: Figures | None = panel.call("GET", "/api/health/freeze")["freeze"]
    return found or {"nodes": []}


def _with_busiest(lab: Lab, panel: PanelClient) -> list[Host]:
    """Return all nodes but one, the busiest among them."""
    busiest = standings.busiest(lab, panel)
    return [busiest, *(host for host in fleet.hosts(lab, "node") if host.name != busiest.name)][:-1]


def _cables(lab: Lab, hosts: Collection[Host]) -> Callable[[bool], None]:
    def pull(apart: bool) -> None:
        for host in hosts:
            (lab.cut if apart else lab.reconnect)(host.name)
            time.sleep(BETWEEN_S)

    return pull


def only_panel(lab: Lab, host: Host, apart: bool) -> None:
    """Have the router pass between a node and the panel only, or everything again."""
    enter = ["nsenter", f"--net={processes.NETNS_DIR / namespace(lab.name, ROUTER)}", "--", "nft", "-f", "-"]
    cable = lab.place(host.name).cable
    rules = (
        f"table bridge {_TABLE} {{ chain pass {{ type filter hook forward priority 0;\n"
        f'iifname "{cable}" drop\noifname "{cable}" drop\n}}\n}}\n'
        f"table ip {_TABLE} {{ chain pass {{ type filter hook forward priority 0;\n"
        f"ip saddr {CLIENT_SEGMENT.network} ip daddr {host.address} drop\n"
        f"ip saddr {host.address} ip daddr {CLIENT_SEGMENT.network} drop\n}}\n}}\n"
    )
    processes.run(enter, stdin=rules if apart else f"delete table bridge {_TABLE}\ndelete table ip {_TABLE}\n")
