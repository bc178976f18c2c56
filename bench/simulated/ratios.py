"""Ratios of what a fleet costs to the least that it could, and the bounds beyond which something has got worse.

A ratio means the same on a slow machine and on a busy one; a time does not.
"""

from typing import Any

from wgfleet.panel.settings.health import HealthSettings

CALLS = ("list_nodes", "list_peers", "search_peers", "get_peer", "create_peer")
BOUNDS = {
    # Of the CPU that bare inserts, echoes and handshakes of the same number take. A small fleet has little to share.
    "cpu_to_floor": (0, 20),
    # Each node gets what it lacks once, and one that has everything gets nothing.
    "whole_pushes_per_node": (1, 1.2),
    "pushes_per_node_at_restart": (0, 0.1),
    "late_rows": (0, 0.01),
    "dropped_messages": (0, 0.001),
    # Of the time after which what was seen counts no longer.
    "longest_without_probe": (0, 1),
    "commits_per_node_s": (0, 1.5),
    "down_of_those_that_live": (0, 0),
    "down_of_those_that_died": (1, 1),
    "calls_per_peer": (1, 2),
    # An answer that waits for the other side's acknowledgement takes a thousand times as long as an echo.
    "get_to_echo": (0, 1500),
    # A server that does one thing at a time has 8; a machine with other work to do has more.
    **{f"{call}_8_to_1": (0, 40) for call in CALLS},
}
"""The lowest and the highest that each may be."""


def of(found: dict[str, Any]) -> dict[str, float]:
    """Return the ratios of a run."""
    nodes, window, floor = found["shape"]["nodes"], found["window"], found["floor"]
    first, restart, latency, dead = found["first_sync"], found["restart"], found["latency"], found["dead_nodes"]
    used = [each["cpu_percent"] for of in ("panel", "postgresql") for each in window["processes"].get(of, {}).values()]
    ratios = {
        "cpu_to_floor": sum(used) / floor_percent(window, floor),
        "whole_pushes_per_node": first["whole_pushes_per_node"],
        "pushes_per_node_at_restart": restart["pushes"] / nodes,
        "late_rows": window["rows_late"] / window["rows"],
        "dropped_messages": window["messages_dropped"] / (window["messages_sent_s"] * window["seconds"]),
        "longest_without_probe": window["longest_without_probe_s"] / HealthSettings().fresh_s,
        "commits_per_node_s": window["commits_s"] / nodes,
        "down_of_those_that_live": (window["health_changes"].get("down", 0) + restart["health_changes"].get("down", 0))
        / nodes,
        "get_to_echo": latency["get_peer"]["1_clients"]["p50_ms"] / floor["round_trip_ms"],
        **{
            f"{call}_8_to_1": latency[call]["8_clients"]["p50_ms"] / latency[call]["1_clients"]["p50_ms"]
            for call in CALLS
        },
    }
    if "calls" in dead:
        ratios["down_of_those_that_died"] = dead["health_changes"].get("down", 0) / dead["deaths"]
        ratios["calls_per_peer"] = dead["calls_per_peer"]
    return {name: round(ratio, 3) for name, ratio in ratios.items()}


def floor_percent(window: dict[str, float], floor: dict[str, float]) -> float:
    """Return the CPU that the same rows, messages and probes would take bare, as % of a core."""
    us_per_s = (
        window["rows_written_s"] * floor["us_per_row"]
        + window["messages_sent_s"] * floor["us_per_message"]
        + window["probes_s"] * floor["us_per_probe"]
    )
    return us_per_s / 1e4


def complaints(ratios: dict[str, float]) -> list[str]:
    """Return which ratios are out of bounds."""
    return [
        f"{name} is {ratios[name]:g}, not {low:g} to {high:g}"
        for name, (low, high) in BOUNDS.items()
        if name in ratios and not low <= ratios[name] <= high
    ]
