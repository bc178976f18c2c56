"""`provision`: many peers are added in one call, and the time until every node has them.

What is counted. `seconds`: from sending `POST /api/configs/wg0/peers/batch` until the panel says that every serving
node has applied and verified the generation that the call made, seen by polling each 20 ms; it includes making all
keys, preshared keys and addresses, writing the rows, rendering, pushing to all nodes at once on this one machine, and
each agent's own verification. `checked` says that `wg show` in each node's namespace then really had all of them.
`node_seconds`: what each agent's log says of its push, from the body's arrival until the answer, so parse, write to
disk, apply, verify. `floor_seconds`: one `wg syncconf` of the very same peers on a fresh wireguard-go interface in the
same run, alone on the machine. `ratio`: the push of everything to one node that has nothing, alone on the machine as
the floor is (`node_alone_seconds`), over that floor. The nodes of a lab share one machine's cores, so `node_seconds`
of pushes at once are compared with one `wg syncconf` in every node at once: `floor_together_seconds`,
`ratio_together`. `total_ratio`: `seconds` over the floor. `one_more_ms`: then one peer is added, from the call until
all nodes have it, verified; median of several.
"""

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from wgfleet.lab import fleet, stock
from wgfleet.lab.hosts import Host
from wgfleet.lab.panel_client import POLL_S, PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import drain
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab
from wgfleet.lab.waiting import wait_for

MAX_RATIO = 2.0
_LIMIT_S = 300.0
_LOGGED_S = 10.0
_ONE_MORE_TIMES = 5
_CLOSE_LOOK_S = 0.005


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Add `options.peers` peers and time it."""
    machines = fleet.hosts(lab, "node")
    with fleet.client(lab) as panel:
        with progress.step(f"{options.peers} peers on {len(machines)} nodes"):
            before = {host.name: len(_pushes(host)) for host in machines}
            begun = time.monotonic()
            fleet.add_peers(panel, options.peers)
            answered = time.monotonic() - begun
            _wait_applied(panel, len(machines))
            seconds = time.monotonic() - begun
            pushes = [_push_seconds(host, before[host.name]) for host in machines]
        checked = all(_peers(host) == options.peers for host in machines)
        with progress.step("one more peer, several times"):
            one_more = [_one_more(panel, f"one-more-{n}", len(machines)) for n in range(_ONE_MORE_TIMES)]
        with progress.step("the same peers to one node alone"):
            alone = _alone(lab, panel, machines[-1]) if len(machines) > 1 else pushes[0]
    with progress.step("the floor: one wg syncconf of the same peers"):
        floor = _floor(machines[0])
        with ThreadPoolExecutor(len(machines)) as pool:
            floor_together = statistics.median(pool.map(partial(_floor, interface="floor1"), machines))
    ratio = alone / floor
    return {
        "ok": checked and ratio <= MAX_RATIO,
        "peers": options.peers,
        "nodes": len(machines),
        "seconds": round(seconds, 3),
        "answered_seconds": round(answered, 3),
        "checked": checked,
        "floor_seconds": round(floor, 3),
        "node_alone_seconds": alone,
        "ratio": round(ratio, 2),
        "node_seconds": pushes,
        "floor_together_seconds": round(floor_together, 3),
        "ratio_together": round(statistics.median(pushes) / floor_together, 2),
        "total_ratio": round(seconds / floor, 2),
        "one_more_ms": round(statistics.median(one_more) * 1000, 1),
    }


def _alone(lab: Lab, panel: PanelClient, host: Host) -> float:
    """Take a node out and put it back; return how long the push of everything to it took, with no other one beside."""
    path = f"/api/configs/{fleet.CONFIG}/nodes/{drain.node_id(lab, host)}"
    operation = panel.call("DELETE", path)
    panel.wait_operation(operation["id"], timeout_s=_LIMIT_S)
    before = len(_pushes(host))
    drain.put_back(lab, panel, host)
    return _push_seconds(host, before)


def _one_more(panel: PanelClient, name: str, count: int) -> float:
    """Add one peer; return after how many s all nodes have it, verified."""
    begun = time.monotonic()
    panel.call("POST", f"/api/configs/{fleet.CONFIG}/peers", {"name": name})
    _wait_applied(panel, count, every_s=_CLOSE_LOOK_S)
    return time.monotonic() - begun


def _wait_applied(panel: PanelClient, count: int, *, every_s: float = POLL_S) -> None:
    path = f"/api/configs/{fleet.CONFIG}"
    generation = panel.call("GET", path)["generation"]

    def done() -> int:
        entries = panel.all(f"{path}/nodes")
        return sum(entry["applied_generation"] >= generation and not entry["drift"] for entry in entries)

    wait_for(
        lambda: done() == count,
        lambda: f"only {done()} of {count} nodes have generation {generation}",
        within_s=_LIMIT_S,
        every_s=every_s,
    )


def _pushes(host: Host) -> list[float]:
    """Return how long each push to a node took, in s, oldest first."""
    lines = fleet.agent_log(host).read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines if '"push.applied"' in line]
    return [float(entry["seconds"]) for entry in entries]


def _push_seconds(host: Host, before: int) -> float:
    """Sum what was pushed since: the panel may send the peers in one push or in several."""
    pushes = wait_for(
        lambda: _pushes(host)[before:],
        f"the agent of {host.name} has logged no push",
        within_s=_LOGGED_S,
        every_s=POLL_S,
    )
    return round(sum(pushes), 4)


def _peers(host: Host) -> int:
    return len(drain.user_keys(host))


def _floor(host: Host, interface: str = "floor0") -> float:
    """Time one `wg syncconf` of a node's peers on a fresh interface beside it; never the same name twice."""
    text = host.run("wg", "showconf", stock.INTERFACE)
    host.run("wireguard-go", interface)  # as the agent starts it
    # Another port, and no endpoints: only what a push configures.
    lines = [line for line in text.splitlines() if not line.startswith(("ListenPort", "Endpoint"))]
    begun = time.monotonic()
    host.run("wg", "syncconf", interface, "/dev/stdin", stdin="\n".join(lines) + "\n")
    seconds = time.monotonic() - begun
    host.run("ip", "link", "del", interface)
    return seconds
