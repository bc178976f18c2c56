"""`soak`: for `--minutes`, things break at random while every client pings, and what must hold is checked.

A blow is one of: a node's cable cut, everything on a node killed, only its agent killed, the panel killed, the panel's
cable cut. It lasts `BLOW_S`, then it is repaired; then there is quiet: no operation under way, every node that answers
has what it shall have. A node is only hit while two others are in use. Checked at each quiet moment, and `broken` lists
what did not hold (promised: nothing): every enabled peer's home is a node in use; every node in use that has an agent
has exactly the peers of the panel, and no node out of use has one that another took over;
each floating address is on one node, and that is in use; every client gets an answer within `silence.REACHED_S`.
`blows` counts them by kind, `checks` the checks, `worst_gap_ms` is the longest silence of any client; `withdrawals` and
`moves` are how often a node was taken out of use, and a failover moved anybody.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from wgfleet.lab import face, fleet, pings, silence
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain, standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import look_for

BLOW_S = (1.0, 6.0)
QUIET_S = 90.0
SPARE = 2  # nodes in use beside the one that is hit
Undo = Callable[[], object]


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Break, repair, check, until the time is over."""
    chance = random.Random()  # noqa: S311 - what breaks next, not a secret
    blows: Counter[str] = Counter()
    broken: list[str] = []
    begun = time.time()
    checks = 0
    running = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=options.rate)
    with fleet.client(lab) as panel:
        with progress.step(f"{options.minutes:g} minutes of blows"):
            while time.time() < begun + options.minutes * 60:
                kind = strike(lab, panel, chance)
                blows[kind] += 1
                checks += 1
                broken += [f"after {kind} at {time.time() - begun:.0f} s: {what}" for what in check(lab, panel)]
        counts = pings.measure(running)
        moves = standings.failovers(panel, begun)
        withdrawals = len(standings.withdrawals(lab, panel, begun))
    return {
        "ok": not broken,
        "minutes": round((time.time() - begun) / 60, 1),
        "blows": dict(blows),
        "checks": checks,
        "withdrawals": withdrawals,
        "moves": sum(bool(each["result"] and each["result"].get("peers_migrated")) for each in moves),
        "sent": sum(count.sent for count in counts),
        "lost": sum(count.lost for count in counts),
        "worst_gap_ms": max(count.worst_gap_ms for count in counts),
        "broken": broken,
    }


def strike(lab: Lab, panel: PanelClient, chance: random.Random) -> str:
    """Break one thing for a while; return its kind."""
    states = standings.states(lab, panel)
    used = [name for name, state in states.items() if state in standings.IN_USE]
    kinds = ["panel_killed", "panel_cut", "agent_killed"]
    if len(used) > SPARE:
        kinds += ["node_cut", "node_killed"] * 2
    kind = chance.choice(kinds)
    node = lab.host(chance.choice(used))
    undo = _blow(lab, kind, node)
    time.sleep(chance.uniform(*BLOW_S))
    undo()
    if kind == "panel_killed":
        fleet.wait_answering(lab)
    return kind


def _blow(lab: Lab, kind: str, node: Host) -> Undo:
    """Deal a blow; return what repairs it."""
    if kind == "panel_killed":
        fleet.kill_panel(lab)
        return partial(fleet.start_panel, lab)
    if kind == "panel_cut":
        lab.cut("panel")
        return partial(lab.reconnect, "panel")
    if kind == "node_cut":
        lab.cut(node.name)
        return partial(lab.reconnect, node.name)
    if kind == "node_killed":
        fleet.power_off(node)
    else:
        fleet.kill_agent(node)
    return partial(fleet.start_agent, node)


def check(lab: Lab, panel: PanelClient) -> list[str]:
    """Wait for quiet; return what does not hold then."""
    broken: list[str] = []

    def quiet() -> bool:
        nonlocal broken
        try:
            broken = _amiss(lab, panel)
        except LabError as error:  # the panel has just been repaired
            broken = [str(error)]
        return not broken

    look_for(quiet, within_s=QUIET_S, every_s=standings.POLL_S)
    return broken + silence.silent(lab, panel)


def _amiss(lab: Lab, panel: PanelClient) -> list[str]:
    """Return what is not as it shall be just now."""
    states = standings.states(lab, panel)
    used = {name for name, state in states.items() if state in standings.IN_USE}
    ids = {drain.node_id(lab, lab.host(name)) for name in used}
    peers = [peer for peer in panel.all(f"/api/configs/{fleet.CONFIG}/peers") if peer["enabled"]]
    keys = {peer["public_key"] for peer in peers}
    amiss = [f"{name} is {state}" for name, state in states.items() if state in ("suspect", "unmanaged")]
    amiss += [f"{peer['name']} has its home on a node out of use" for peer in peers if peer["home_node_id"] not in ids]
    amiss += [f"{each['kind']} under way" for each in panel.all("/api/operations") if each["finished_at"] is None]
    for host in fleet.hosts(lab, "node"):
        try:
            held = drain.user_keys(host)
        except LabError:
            amiss.append(f"{host.name} has no interface")
            continue
        if host.name in used and held != keys:
            amiss.append(f"{host.name} ({states[host.name]}) has {len(held)} users' peers, not {len(keys)}")
        elif host.name not in used and (moved := held & _shaken_later(lab, host, used)):
            amiss.append(f"{host.name} ({states[host.name]}) has {len(moved)} peers that others took over")
    amiss += face.not_held_once(lab)
    holders = {name for names in face.holders(lab).values() for name in names}
    amiss += [f"{name} ({states[name]}) holds a floating address" for name in sorted(holders - used)]
    entries = panel.all(f"/api/configs/{fleet.CONFIG}/nodes")
    amiss += [f"{entry['node_id']} differs in {entry['drift']}" for entry in entries if entry["drift"]]
    return amiss


def _shaken_later(lab: Lab, host: Host, used: Collection[str]) -> set[str]:
    """Return the keys of the peers that shook hands with another node, in use, later than with this one."""
    mine = drain.handshakes(host)
    others = [drain.handshakes(lab.host(name)) for name in used]
    return {key for found in others for key, at in found.items() if at > mine.get(key, 0)}
