"""`mesh`: clients of different nodes ping each other, and a site behind a client, while a node goes.

The config gets a backbone. The last client is a router for `SITE`. Each client pings the next one, and the first one
the site as well; in each round the node with the most sessions is removed by plan and put back, and then one dies, by
turns: its cable is cut, or with `--kill` all that runs on it is killed. `up_s`: from the call that turns the backbone
on until every pair had its first answer.

`planned`: of each pair, `lost` packets as pings.py counts them, and the longest silence `gap_ms`; promised is one
packet lost at most by a pair of which one client moves, and two where both do. `killed`: `gap_ms` of the pairs that
had a client on the node that died, and `own_gap_ms` of those clients to their own node in the same round: a pair is
promised `MORE_MS` more than the slower of its clients. `others_lost`: what pairs lost of which nobody was on it.
`silence_s`: from when the links alone were cut (their UDP port is dropped in every node) until a client got an ICMP
error instead of nothing; `uplink_lost`: packets to their own node that clients lost meanwhile (promised: none).
"""

import time
from typing import Any

from wgfleet.lab import fleet, pings
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.pings import Ping
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for

SITE = "192.168.77.0/24"
SITE_ADDRESS = "192.168.77.1"
MORE_MS = 700.0
_UP_S = 30.0
_WATCH_S = 8.0
_RETURN_S = 60.0
_CALM_S = 2.0
Round = dict[str, Any]


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Run the rounds; `ok` means that all was as promised."""
    planned, killed = list[Round](), list[Round]()
    with fleet.client(lab) as panel:
        with progress.step("backbone up"):
            up_s = turn_on(lab, panel)
        for number in range(1, options.rounds + 1):
            with progress.step(f"round {number} of {options.rounds}: planned"):
                planned.append(_planned(lab, panel, options.rate))
            with progress.step(f"round {number} of {options.rounds}: killed"):
                killed.append(_killed(lab, panel, options, [each["node"] for each in killed]))
        with progress.step("links cut"):
            cut = _cut(lab, panel)
    figures = {"up_s": up_s, "planned": _sum_planned(planned), "killed": _sum_killed(killed), **cut}
    ok = all(each["ok"] for each in (*planned, *killed)) and not cut["uplink_lost"] and cut["said"]
    return {"ok": ok, **figures, "each": {"planned": planned, "killed": killed}}


def turn_on(lab: Lab, panel: PanelClient) -> float:
    """Have a backbone, and a site behind the last client; return after how many s all reach each other."""
    router = fleet.hosts(lab, "client")[-1]
    router.run("ip", "addr", "add", f"{SITE_ADDRESS}/32", "dev", "lo")
    panel.call("PATCH", f"/api/peers/{_clients(lab)[router.name]['id']}", {"networks": [SITE]})
    begun = time.monotonic()
    panel.call("PATCH", f"/api/configs/{fleet.CONFIG}", {"backbone": True})
    for host, to in _pairs(lab):
        wait_for(
            lambda host=host, to=to: host.succeeds("ping", "-c", "1", "-W", "1", to),  # type: ignore[misc]
            f"{host.name} does not reach {to}",
            within_s=_UP_S,
            every_s=0.1,
        )
    return round(time.monotonic() - begun, 2)


def _clients(lab: Lab) -> dict[str, Any]:
    return {client["name"]: client for client in lab.result["clients"]}


def _pairs(lab: Lab) -> list[tuple[Host, str]]:
    """Return who pings whom: each client the next, and the first one the site behind the last."""
    hosts, clients = fleet.hosts(lab, "client"), _clients(lab)
    ring = [
        (host, clients[other.name]["tunnel_address"].partition("/")[0])
        for host, other in zip(hosts, [*hosts[1:], hosts[0]], strict=True)
    ]
    return [*ring, (hosts[0], SITE_ADDRESS)]


def _ends(lab: Lab) -> list[tuple[str, str]]:
    hosts = [host.name for host in fleet.hosts(lab, "client")]
    return [*zip(hosts, [*hosts[1:], hosts[0]], strict=True), (hosts[0], hosts[-1])]


def start(lab: Lab, rate: float) -> list[Ping]:
    """Have all pairs ping, each by one ping: of two in step, both would lose what is lost in one moment."""
    return [pings.start([host], to, rate=min(rate, pings.RATE_EACH))[0] for host, to in _pairs(lab)]


def _live(lab: Lab, panel: PanelClient, hosts: list[Host]) -> tuple[Host, set[str]]:
    """Return the node with the most live sessions, and the names of the clients that are there."""
    earlier = {host.name: drain.received(host) for host in hosts}
    time.sleep(_CALM_S)
    live = {host.name: drain.live_peers(host, earlier[host.name]) for host in hosts}
    node = lab.host(max(live, key=lambda name: len(live[name])))
    names = standings.clients_by_key(lab, panel)
    return node, {names[key] for key in live[node.name]}


def _planned(lab: Lab, panel: PanelClient, rate: float) -> Round:
    standings.wait_all_serving(lab, panel, _RETURN_S)
    fleet.favour_nodes(lab)
    running = start(lab, rate)
    node, moving = _live(lab, panel, drain.serving(lab, panel))
    path = f"/api/configs/{fleet.CONFIG}/nodes/{drain.node_id(lab, node)}"
    result = panel.wait_operation(panel.call("DELETE", path)["id"], timeout_s=120.0)["result"]
    time.sleep(_CALM_S)
    counts = pings.measure(running)
    drain.put_back(lab, panel, node)
    moved = [len(moving & set(ends)) for ends in _ends(lab)]
    lost = [count.lost for count in counts]
    return {
        "ok": all(each <= ends for each, ends in zip(lost, moved, strict=True)),
        "node": node.name,
        "moved": result["sessions_taken_over"],
        "lost": lost,
        "moving": moved,
        "sent": sum(count.sent for count in counts),
        "gap_ms": [count.worst_gap_ms for count in counts],
    }


def _killed(lab: Lab, panel: PanelClient, options: ScenarioOptions, earlier: list[str]) -> Round:
    standings.wait_all_serving(lab, panel, _RETURN_S)
    fleet.wait_sessions(panel)
    fleet.favour_nodes(lab)
    hosts = fleet.hosts(lab, "client")
    running = start(lab, options.rate)
    own = pings.start(hosts, fleet.NODE_TUNNEL_ADDRESS, rate=min(50.0, options.rate))
    mortal = [host for host in fleet.hosts(lab, "node") if drain.user_keys(host)]
    rarest = min(earlier.count(host.name) for host in mortal)  # one that dies again and again is on trial for minutes
    node, hit = _live(lab, panel, [host for host in mortal if earlier.count(host.name) == rarest])
    died = time.time()
    if options.kill:
        fleet.power_off(node)
    else:
        lab.cut(node.name)
    time.sleep(_WATCH_S)
    measured = pings.measure([*running, *own])
    counts, own_gap = measured[: len(running)], {each.client: each.worst_gap_ms for each in measured[len(running) :]}
    if options.kill:
        fleet.start_agent(node)
    else:
        lab.reconnect(node.name)
    gaps, allowed, others_lost = [], [], 0
    for ends, count in zip(_ends(lab), counts, strict=True):
        if hit & set(ends):
            gaps.append(count.worst_gap_ms)
            allowed.append(max(own_gap[name] for name in ends) + MORE_MS)
        else:
            others_lost += count.lost
    return {
        "ok": all(gap <= most for gap, most in zip(gaps, allowed, strict=True)) and not others_lost,
        "node": node.name,
        "died": died,
        "gap_ms": gaps,
        "own_gap_ms": [own_gap[name] for name in sorted(hit)],
        "others_lost": others_lost,
    }


def _cut(lab: Lab, panel: PanelClient) -> dict[str, Any]:
    """Drop what the nodes send each other, and nothing else."""
    standings.wait_all_serving(lab, panel, _RETURN_S)
    port = panel.call("GET", f"/api/configs/{fleet.CONFIG}")["backbone_port"]
    own = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=20.0)
    begun = time.monotonic()
    for node in fleet.hosts(lab, "node"):
        node.run(
            "nft",
            f"add table inet cut; add chain inet cut i {{ type filter hook input priority -400; }};"
            f" add rule inet cut i udp dport {port} drop",
        )
    said = None
    while said is None and time.monotonic() - begun < _UP_S:
        for host, to in _pairs(lab):
            if "Unreachable" in host.run("ping", "-c", "1", "-W", "1", to, check=False):
                said = round(time.monotonic() - begun, 2)
                break
    lost = sum(count.lost for count in pings.measure(own))
    for node in fleet.hosts(lab, "node"):
        node.run("nft", "delete", "table", "inet", "cut")
    return {"silence_s": said, "said": said is not None, "uplink_lost": lost}


def _sum_planned(rounds: list[Round]) -> dict[str, Any]:
    lost = [each for entry in rounds for each in entry["lost"]]
    gaps = [each for entry in rounds for each in entry["gap_ms"]]
    return {
        "pairs": len(lost),
        "moved": sum(entry["moved"] for entry in rounds),
        "sent": sum(entry["sent"] for entry in rounds),
        "lost": sum(lost),
        "lost_max": max(lost),
        "gap_ms_max": max(gaps),
    }


def _sum_killed(rounds: list[Round]) -> dict[str, Any]:
    gaps = sorted(each for entry in rounds for each in entry["gap_ms"])
    own = sorted(each for entry in rounds for each in entry["own_gap_ms"])
    return {
        "pairs": len(gaps),
        "gap_ms": {"p50": _middle(gaps), "max": gaps[-1]},
        "own_gap_ms": {"p50": _middle(own), "max": own[-1]},
        "others_lost": sum(entry["others_lost"] for entry in rounds),
    }


def _middle(ordered: list[float]) -> float:
    return ordered[len(ordered) // 2]
