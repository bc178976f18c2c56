"""`kill`: the panel is killed (SIGKILL) at a random moment of a removal, and started again; `--rounds` times.

What is checked when the operation has ended, in each round: it succeeded; every peer's home is a node that serves;
the removed node has no interface and owes no cleanup; every serving node's WireGuard has every peer; every client gets
an answer through its tunnel. `seconds` is from the kill of the panel to the operation's end, `killed_after_ms`
from the call to the kill, `steps` how often the panel died in which step of the removal. A client counts as reached
when it gets one answer within `silence.REACHED_S`: time for WireGuard's own retry.
"""

import random
import statistics
import time
from collections import Counter
from functools import partial
from typing import Any

from wgfleet.lab import fleet, silence, stock
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import look_for

LONGEST_MS = 600  # a removal of a few live clients takes about two thirds of it, so some kills come after its end
_OPERATION_S = 120.0
_SOON_S = 30.0
Round = dict[str, Any]


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Run the rounds; `ok` means that every invariant held after each."""
    chance = random.Random()  # noqa: S311 - a moment, not a secret
    rounds: list[Round] = []
    with progress.step(f"{options.rounds} removals with the panel killed", options.rounds) as step:
        for number in range(options.rounds):
            node = fleet.hosts(lab, "node")[number % lab.nodes]
            rounds.append(remove_and_kill(lab, node, chance.randint(0, LONGEST_MS)))
            with fleet.client(lab) as panel:
                drain.put_back(lab, panel, node)
            step.advance()
    broken = [entry for entry in rounds if entry["broken"]]
    return {
        "ok": not broken,
        "rounds": len(rounds),
        "ended": sum(entry["ended"] for entry in rounds),
        "killed_before_its_end": sum(entry["step"] != "ended" for entry in rounds),
        "steps": dict(Counter(entry["step"] for entry in rounds)),
        "seconds_median": statistics.median(entry["seconds"] for entry in rounds),
        "seconds_max": max(entry["seconds"] for entry in rounds),
        "broken": broken,
    }


def remove_and_kill(lab: Lab, node: Host, after_ms: int) -> Round:
    """Remove a node, kill the panel that many ms later, start it again; return what became of it."""
    node_id = drain.node_id(lab, node)
    with fleet.client(lab) as panel:
        operation = panel.call("DELETE", f"/api/configs/{fleet.CONFIG}/nodes/{node_id}")
    time.sleep(after_ms / 1000)
    begun = time.monotonic()
    fleet.restart_panel(lab)
    with fleet.client(lab) as panel:
        found = panel.call("GET", f"/api/operations/{operation['id']}")
        ended = panel.wait_operation(operation["id"], timeout_s=_OPERATION_S)
        seconds = time.monotonic() - begun
        broken = broken_promises(lab, panel, node)
    step = "ended" if found["finished_at"] is not None else found["step"] or "asked"
    return {
        "node": node.name,
        "killed_after_ms": after_ms,
        "step": step,
        "ended": ended["state"] == "succeeded",
        "result": ended["result"],
        "seconds": round(seconds, 3),
        "broken": broken,
    }


def broken_promises(lab: Lab, panel: PanelClient, removed: Host) -> list[str]:
    """Check the invariants after a removal; return what does not hold."""
    broken = []
    serving = {entry["node_id"] for entry in panel.all(f"/api/configs/{fleet.CONFIG}/nodes")}
    peers = panel.all(f"/api/configs/{fleet.CONFIG}/peers")
    homeless = [peer["name"] for peer in peers if peer["home_node_id"] not in serving]
    if homeless:
        broken.append(f"without a home on a serving node: {homeless}")
    if drain.node_id(lab, removed) in serving:
        broken.append(f"{removed.name} is still assigned")
    if not look_for(lambda: not removed.succeeds("wg", "show", stock.INTERFACE), within_s=_SOON_S):
        broken.append(f"{removed.name} still has {stock.INTERFACE}")
    keys = {peer["public_key"] for peer in peers}
    broken += [
        f"{host.name} has other peers than the panel"
        for host in drain.serving(lab, panel)
        if not look_for(partial(_has_peers, host, keys), within_s=_SOON_S)
    ]
    return broken + silence.silent(lab, panel)


def _has_peers(host: Host, keys: set[str]) -> bool:
    return set(drain.handshakes(host)) == keys
