"""`failover`: a node dies while every client pings through the tunnel without pause; `--rounds` times.

Its cable is cut, or with `--kill` everything that runs on it is killed, as in a power cut. What is counted, for the
clients whose session was on that node: `gap_ms`, the longest time between two replies as pings.py defines it, over all
rounds. `detected_ms`: from the cut until the panel wrote down that the node is down. `moved`: clients that answer again
before the node is back. Between rounds the node is put back and waited for until it serves again. Clients on other
nodes are watched too: `others_lost` is what they lost in all. With several rounds the panel runs with a trial that does
not grow (`stable_cap_s` 10), or twenty rounds would be an hour of waiting for nodes that fail again and again.

`--without-takeover` is the floor: the endpoint group's `auto_migrate` is off, so nobody calls the clients. Their
longest silence is then `floor_gap_ms`, watched for `FLOOR_WATCH_S` with the node away all the time: a client that
answers to nothing else is silent to the end, and its figure a lower bound (`silent` counts those).

What clients are like is in `setting`. With `floating` addresses all are promised the same bar. Without, nobody can call
those behind `nat` and the `mobile` ones: nothing is promised, they are the floor again. With the `helper` they go to
another node by themselves, and are promised `HELPER_BAR`. `held_wrong`: floating addresses that did not have exactly
one holder when all nodes served again, read from the nodes. `wrong`: how often a node was taken out of use that was
alive; promised is that none is.

In bad weather (`--loss`, `--delay`, `--jitter`, `--starve`) it takes longer, so the silence is only measured; promised
is that all clients move, and that what is decided is right.
"""

import math
import statistics
import time
from dataclasses import dataclass
from typing import Any

from wgfleet.lab import face, fleet, pings, routing, weather
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab

RETURN_S = 60.0
SHORT_TRIAL = {"WGFLEET_HEALTH__STABLE_CAP_S": "10"}
Round = dict[str, Any]
MODELS = {
    "nat": "each client behind a Linux NAT (conntrack, answers only), up to 5 behind one",
    "floating": "the clients' files name floating addresses that move between nodes (layer 2)",
    "routed": "the nodes are in two segments; their routing daemons announce the floating addresses to the router",
    "mobile": "modelled: an nftables rule in each client keeps it sending to the address in its file, as phone apps do",
    "helper": "each client runs the script of its bundle once a second; its hosts file has one name for all nodes",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """What is promised of the longest silence in ms, and how long a round watches."""

    p50: float
    p99: float
    watch_s: float


CALLED_BAR = Bar(1500, 3000, 8.0)
HOLD_TIME_BAR = Bar(4500, 6000, 12.0)  # routers notice after 3 s that a node is dead
HELPER_BAR = Bar(5000, 7000, 15.0)
BAD_WEATHER_BAR = Bar(math.inf, math.inf, 30.0)
FLOOR_WATCH_S = 30.0


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Run the rounds; `ok` means that all clients moved, within the bar."""
    rounds: list[Round] = []
    held_wrong: list[str] = []
    if options.rounds > 1:
        fleet.restart_panel(lab, SHORT_TRIAL)
    bar = promised(options, nat=lab.nat)
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, lab.nodes)
        standings.wait_all_serving(lab, panel, RETURN_S)
        if not options.takeover:
            face.set_endpoint_group(lab, panel, auto_migrate=False)
        with weather.over(lab, options.weather):
            begun = time.time()
            for number in range(options.rounds):
                with progress.step(f"round {number + 1} of {options.rounds}"):
                    rounds.append(lose_busiest(lab, panel, options, FLOOR_WATCH_S if bar is None else bar.watch_s))
                    if number + 1 < options.rounds or options.equipment.floating:
                        standings.wait_all_serving(lab, panel, return_s(options))
                        held_wrong += face.not_held_once(lab)
            wrong = wrongly_down(standings.withdrawals(lab, panel, begun), rounds)
    figures = {
        **summary(rounds, bar),
        "wrong": wrong,
        "held_wrong": held_wrong,
        "setting": setting(options, nat=lab.nat),
    }
    return {**figures, "ok": figures["ok"] and not held_wrong and not wrong, "each": rounds}


def return_s(options: ScenarioOptions) -> float:
    """Return for how long a node that is back may be on trial: in bad weather, trials begin again."""
    return RETURN_S if options.weather == weather.CALM else 3 * RETURN_S


def wrongly_down(withdrawals: list[dict[str, Any]], rounds: list[Round]) -> int:
    """Count the withdrawals of nodes that were alive."""
    return sum(
        not any(change["node"] == each["node"] and each["died"] <= change["at"] <= each["back"] for each in rounds)
        for change in withdrawals
    )


def promised(options: ScenarioOptions, *, nat: bool) -> Bar | None:
    """Return what clients are promised; None where nobody can call them and they do not help themselves."""
    equipment = options.equipment
    if equipment.helper and not equipment.floating:
        return HELPER_BAR
    if not options.takeover or ((nat or equipment.mobile) and not equipment.floating):
        return None
    if options.weather != weather.CALM:
        return BAD_WEATHER_BAR
    routed = equipment.floating and equipment.provider != face.ON_LINK
    return HOLD_TIME_BAR if routed and not routing.DAEMONS[equipment.daemon].has_bfd else CALLED_BAR


def setting(options: ScenarioOptions, *, nat: bool) -> dict[str, str]:
    """Say what the clients of a run are like; empty: reachable Linux clients at a node's own address."""
    equipment = options.equipment
    has = {"nat": nat, "floating": equipment.floating, "mobile": equipment.mobile, "helper": equipment.helper}
    routed = bool(equipment.floating) and equipment.provider != face.ON_LINK
    has |= {"routed": routed, "floating": has["floating"] and not routed}
    found = {name: text for name, text in MODELS.items() if has[name]}
    if routed:
        found["daemon"] = equipment.daemon + (" (IPv6)" if equipment.ipv6 else "")
    if options.weather != weather.CALM:
        found["weather"] = str(options.weather)
    return found if options.takeover else {**found, "takeover": "off: nobody calls the clients"}


def summary(rounds: list[Round], bar: Bar | None = CALLED_BAR) -> dict[str, Any]:
    """Sum rounds up."""
    gaps = sorted(gap for entry in rounds for gap in entry["gaps_ms"])
    spread = {"p50": percentile(gaps, 50), "p99": percentile(gaps, 99), "max": gaps[-1]}
    moved = sum(entry["moved"] for entry in rounds)
    detected = [entry["detected_ms"] for entry in rounds if entry["detected_ms"] is not None]
    figures = {
        "floor_gap_ms" if bar is None else "gap_ms": spread,
        "detected_ms": round(statistics.median(detected), 1) if detected else None,
        "detected_ms_max": max(detected, default=None),
        "undetected": len(rounds) - len(detected),
        "clients": len(gaps),
        "moved": moved,
        "silent": len(gaps) - moved,
        "others_lost": sum(entry["others_lost"] for entry in rounds),
        "rounds": len(rounds),
    }
    kept = bar is None or (spread["p50"] <= bar.p50 and spread["p99"] <= bar.p99 and moved == len(gaps))
    return {"ok": kept, **figures}


def percentile(ordered: list[float], percent: int) -> float:
    """Return the nearest-rank percentile of sorted values."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def ping_and_find_busiest(lab: Lab, rate: float) -> tuple[list[pings.Ping], dict[str, set[str]], Host]:
    """Start the clients' pings, `rate` a second each; return them, the live keys by node, and the node with most."""
    fleet.favour_nodes(lab)
    running = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=rate)
    machines = [host for host in fleet.hosts(lab, "node") if drain.user_keys(host)]
    earlier = {host.name: drain.received(host) for host in machines}
    time.sleep(drain.CALM_S)
    live = {host.name: drain.live_peers(host, earlier[host.name]) for host in machines}
    return running, live, lab.host(max(live, key=lambda name: len(live[name])))


def lose_busiest(lab: Lab, panel: PanelClient, options: ScenarioOptions, watch_s: float = CALLED_BAR.watch_s) -> Round:
    """Have the node with the most live sessions die, watch, and put it back."""
    running, live, node = ping_and_find_busiest(lab, options.rate)
    died = time.time()
    if options.kill:
        fleet.power_off(node)
    else:
        lab.cut(node.name)
    time.sleep(watch_s)
    detected = noticed_at(lab, panel, node, died)
    counts = {count.client: count for count in pings.measure(running)}
    if options.kill:
        fleet.start_agent(node)
    else:
        lab.reconnect(node.name)
    back = time.time()
    names = standings.clients_by_key(lab, panel)
    hit = {names[key] for key in live[node.name]}
    # A gap that ends with the counting never ended.
    answering = {name for name in hit if counts[name].worst_gap_at < died + watch_s}
    return {
        "node": node.name,
        "died": died,
        "back": back,
        "detected_ms": None if detected is None else round((detected - died) * 1000, 1),
        "gaps_ms": [counts[name].worst_gap_ms for name in sorted(hit)],
        "moved": len(answering),
        "others_lost": sum(count.lost for name, count in counts.items() if name not in hit),
    }


def detected_at(lab: Lab, panel: PanelClient, node: Host, since: float) -> float:
    """Return when the panel wrote down that a node is down, in s since the epoch."""
    found = noticed_at(lab, panel, node, since)
    if found is None:
        raise LabError(f"{node.name} died and the panel did not find it down")
    return found


def noticed_at(lab: Lab, panel: PanelClient, node: Host, since: float) -> float | None:
    """Return the same, or None where it did not."""
    found = (float(change["at"]) for change in standings.withdrawals(lab, panel, since) if change["node"] == node.name)
    return next(found, None)
