"""What is measured of a fleet, one part after another: each returns its figures by name."""

import re
import statistics
import time
from collections import Counter
from typing import Any

from bench.simulated import callers, database, processes
from bench.simulated.agent import SCAN_S
from bench.simulated.fleet import Fleet, Group
from bench.simulated.sessions import HANDSHAKE_S, LiveSessions

LATE_S = HANDSHAKE_S + 5.0  # each handshake is written at once, with the counters as they are then
LOOK_S = 10.0  # rows are written less often than that
APPLIED = 5  # peers that are followed to the nodes
REST_S = 2.0  # before that: of many new peers nodes get the later ones together
FAILOVER_S = 120.0
DEATHS = 5  # at most, each in a config of its own
Figures = dict[str, Any]
_LATE = re.compile(r'wgfleet_health_late_seconds\{quantile="([^"]+)"\} (\S+)')


def first_sync(fleet: Fleet) -> Figures:
    """Let all agents come back with nothing, and wait until each has everything."""
    fleet.ask("take_pushes")
    began = fleet.ask("open_empty")
    right = fleet.wait(lambda: fleet.database.standing().all_right, "all nodes have everything")
    pushes = fleet.ask("take_pushes")
    return {
        "all_pushed_s": round(max(push.at for push in pushes) - began, 2),
        "all_shown_right_s": round(right - began, 2),
        "pushes": len(pushes),
        "whole_pushes_per_node": round(sum(push.whole for push in pushes) / fleet.shape.nodes, 2),
        "pushed_mb": round(sum(push.size for push in pushes) / 2**20, 1),
    }


def settled(fleet: Fleet) -> Figures:
    """Let the peers be live, and wait until each has a row."""
    began, count = time.monotonic(), fleet.shape.nodes * fleet.shape.peers
    fleet.live()
    end = fleet.wait(lambda: len(fleet.database.sessions()) >= count, "each live peer has a row", every_s=1.0)
    return {"rows": count, "seconds": round(end - began, 2)}


def counted(fleet: Fleet) -> Figures:
    """Wait until what each live peer used is in the ledger: its first row there costs more than the later ones."""
    began, count, before = time.monotonic(), fleet.shape.nodes * fleet.shape.peers, _used(fleet)
    fleet.wait(lambda: fleet.database.counted() >= count, "each live peer is in the ledger", every_s=1.0)
    used = {name: processes.shares(before[name], after) for name, after in _used(fleet).items()}
    return {"rows": count, "seconds": round(time.monotonic() - began, 2), "processes": used}


def window(fleet: Fleet, seconds: float) -> Figures:
    """Look on for some time."""
    move_every_s = SCAN_S * LiveSessions({}, fleet.shape.share).move_every
    began, wall, sent = time.monotonic(), time.time(), fleet.ask("sent")
    used, commits, rows, written, late = _used(fleet), fleet.database.commits(), fleet.database.sessions(), 0, 0
    fleet.probes()
    until = began + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(LOOK_S, left))
        now = fleet.database.sessions()
        written, rows = written + database.changed(rows, now), now
        late = max(late, database.late(now, LATE_S, move_every_s))
    seen, took, sent_since = fleet.probes(), time.monotonic() - began, fleet.ask("sent")
    commits, used_since = fleet.database.commits() - commits, _used(fleet)
    return {
        "seconds": round(took, 1),
        "processes": {name: processes.shares(used[name], after) for name, after in used_since.items()},
        "commits_s": round(commits / took, 1),
        "probes_s": round(seen.probes / took, 1),
        "longest_without_probe_s": round(seen.longest_gap_s, 2),
        "decisions_late_s": _decisions_late(fleet),
        "samples_sent_s": round((sent_since.samples - sent.samples) / took),
        "messages_sent_s": round((sent_since.messages - sent.messages) / took, 1),
        "bytes_per_message": round((sent_since.sent_bytes - sent.sent_bytes) / (sent_since.messages - sent.messages)),
        "messages_dropped": sent_since.dropped - sent.dropped,
        "rows_written_s": round(written / took, 1),
        "rows_late": late,
        "rows": len(rows),
        "health_changes": fleet.database.events(wall),
    }


def latency(fleet: Fleet, seconds: float) -> Figures:
    """Call the API, `seconds` for each kind of call and number of clients; then follow peers to the nodes."""
    group = fleet.groups[0]
    peers = [peer_id for of_node in group.peers.values() for peer_id in of_node]
    found: Figures = {
        name: {f"{clients}_clients": callers.latency(fleet.caller, call, clients, seconds) for clients in (1, 8)}
        for name, call in callers.calls(group.name, peers).items()
    }
    found["create_to_all_nodes_ms"] = applied_ms(fleet)
    return found


def applied_ms(fleet: Fleet) -> list[int]:
    """Make peers one after another; return how long it took each from the call until all its nodes have it."""
    time.sleep(REST_S)
    return [round(_applied_s(fleet, number) * 1000) for number in range(APPLIED)]


def _applied_s(fleet: Fleet, number: int) -> float:
    """Make a peer, and wait until all its nodes have it."""
    group, caller = fleet.groups[0], fleet.caller()
    began = time.monotonic()
    made = caller.post(f"/api/configs/{group.name}/peers", {"name": f"applied{number}"})
    caller.close()

    def is_there() -> bool:
        return bool(fleet.ask("holders", group.name, made["public_key"]) == len(group.nodes))

    return fleet.wait(is_there, "its nodes have a new peer", every_s=0.005) - began


def restart(fleet: Fleet) -> Figures:
    """Stop the panel and start it again: until the API answers, all streams are open, and all rows are right."""
    fleet.panel.stop()
    wall = time.time()
    fleet.ask("take_pushes")
    began = time.monotonic()
    api_s = fleet.panel.start()
    streams = fleet.wait(lambda: fleet.ask("streams") == fleet.shape.nodes, "all streams are open", every_s=0.05)
    right = fleet.wait(lambda: fleet.database.standing(wall).all_right, "all rows are right")
    return {
        "api_s": round(api_s, 2),
        "all_streams_s": round(streams - began, 2),
        "all_rows_right_s": round(right - began, 2),
        "cpu_s": {name: round(used.cpu_s, 1) for name, used in processes.usage(fleet.panel.pid).by_name.items()},
        "pushes": len(fleet.ask("take_pushes")),
        "health_changes": fleet.database.events(wall),
    }


def dead_nodes(fleet: Fleet) -> Figures:
    """Let a node of each of some configs die, one after the other: medians, and the longest, of `dead_node`."""
    groups = [group for group in fleet.groups if len(group.nodes) > 2][:DEATHS]  # noqa: PLR2004 - and a witness
    if not groups:
        return {"left_out": "it takes three nodes of a config"}
    each = [dead_node(fleet, group) for group in groups]

    def of(name: str) -> dict[str, float]:
        values = [one[name] for one in each if one[name] is not None]
        return {"median": round(statistics.median(values), 2), "longest": max(values)} if values else {}

    return {
        "live_peers": each[0]["live_peers"],
        "decided_s": of("decided_s"),
        "first_call_after_s": of("first_call_after_s"),
        "all_called_after_s": of("all_called_after_s"),
        "calls": max(one["calls"] for one in each),
        "calls_per_peer": max(one["calls_per_peer"] for one in each),
        "health_changes": dict(sum((Counter(one["health_changes"]) for one in each), Counter())),
        "deaths": len(each),
    }


def dead_node(fleet: Fleet, group: Group) -> Figures:
    """Let a node die: until it is called down, and from then until each of its live peers was called by another."""
    node_id, address = next(iter(group.nodes.items()))
    waiting = set(group.peers[node_id].values())
    fleet.ask("take_calls")
    died, died_wall = time.monotonic(), fleet.ask("die", address)
    calls: list[tuple[float, int]] = []
    counted: Counter[str] = Counter()

    def all_called() -> bool:
        for call in fleet.ask("take_calls"):
            calls.append((call.at - died, len(call.keys)))
            counted.update(call.keys)
        return waiting <= counted.keys()

    fleet.wait(all_called, "the dead node's peers are called", FAILOVER_S, every_s=0.05)
    down = fleet.database.down_at(node_id, died_wall)
    decided_s = None if down is None else round(down - died_wall, 2)
    return {
        "live_peers": len(waiting),
        "decided_s": decided_s,
        "first_call_after_s": None if decided_s is None else round(calls[0][0] - decided_s, 2),
        "all_called_after_s": None if decided_s is None else round(calls[-1][0] - decided_s, 2),
        "calls": len(calls),
        "calls_per_peer": round(sum(counted.values()) / len(waiting), 2),
        "health_changes": fleet.database.events(died_wall),
    }


def _decisions_late(fleet: Fleet) -> dict[str, float]:
    """Return how much later than due nodes were judged in the last minute, by quantile, as the panel says itself."""
    return {quantile: float(late) for quantile, late in _LATE.findall(fleet.caller().text("/metrics"))}


def _used(fleet: Fleet) -> dict[str, processes.Usage]:
    return {name: processes.usage(pid) for name, pid in {"panel": fleet.panel.pid, **fleet.pids}.items()}
