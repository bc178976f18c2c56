"""The bounds of `make bench-smoke`: each ratio is checked, and each check can fail."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from bench.simulated import database, processes, ratios
from bench.simulated.sessions import EPOCH_S

CALL = {"1_clients": {"p50_ms": 2.0}, "8_clients": {"p50_ms": 10.0}}
FOUND: dict[str, Any] = {
    "shape": {"nodes": 10},
    "first_sync": {"whole_pushes_per_node": 1.0},
    "window": {
        "seconds": 10.0,
        "processes": {
            "panel": {"core": {"cpu_percent": 6.0}, "api": {"cpu_percent": 1.0}},
            "postgresql": {"postgres": {"cpu_percent": 3.0}},
            "agents": {"python": {"cpu_percent": 50.0}},
        },
        "commits_s": 5.0,
        "probes_s": 40.0,
        "longest_without_probe_s": 0.5,
        "messages_sent_s": 100.0,
        "messages_dropped": 1,
        "rows_written_s": 200.0,
        "rows_late": 3,
        "rows": 1000,
        "health_changes": {"suspect": 1},
    },
    "latency": dict.fromkeys(ratios.CALLS, CALL),
    "restart": {"pushes": 1, "health_changes": {}},
    "dead_nodes": {"deaths": 2, "calls": 2, "calls_per_peer": 1.0, "health_changes": {"down": 2}},
    "floor": {"us_per_row": 20.0, "us_per_message": 10.0, "us_per_probe": 125.0, "round_trip_ms": 0.02},
}


def test_cpu_is_that_of_panel_and_database_by_that_of_the_same_work_bare() -> None:
    assert ratios.of(FOUND) == {
        "cpu_to_floor": 10.0,
        "whole_pushes_per_node": 1.0,
        "pushes_per_node_at_restart": 0.1,
        "late_rows": 0.003,
        "dropped_messages": 0.001,
        "longest_without_probe": 0.1,
        "commits_per_node_s": 0.5,
        "down_of_those_that_live": 0.0,
        "down_of_those_that_died": 1,
        "calls_per_peer": 1.0,
        "get_to_echo": 100.0,
        **{f"{call}_8_to_1": 5.0 for call in ratios.CALLS},
    }
    assert ratios.complaints(ratios.of(FOUND)) == []


@pytest.mark.parametrize("name", ratios.BOUNDS)
def test_a_ratio_out_of_its_bounds_is_a_complaint(name: str) -> None:
    low, high = ratios.BOUNDS[name]
    found = ratios.of(FOUND)
    for wrong in (low - 0.01, high + 0.01):
        [complaint] = ratios.complaints({**found, name: wrong})
        assert complaint.startswith(f"{name} is {wrong:g}, not ")


def test_a_run_without_a_dead_node_has_no_ratios_of_it() -> None:
    found = ratios.of({**FOUND, "dead_nodes": {"left_out": "two nodes"}})
    assert ratios.BOUNDS.keys() - found.keys() == {"calls_per_peer", "down_of_those_that_died"}


def test_a_row_is_late_once_it_lacks_what_was_sent_long_ago() -> None:
    def row(age_s: float) -> tuple[int, int]:
        return 0, int((time.time() - EPOCH_S - age_s) * 1000)

    sessions = {("a", "n"): row(1), ("b", "n"): row(40), ("c", "n"): row(50)}
    assert database.late(sessions, limit_s=35, move_every_s=10) == 1
    assert database.changed(sessions, {**sessions, ("b", "n"): row(0), ("d", "n"): row(0)}) == 2


def test_cpu_of_a_process_is_measured_with_its_main_thread_apart() -> None:
    before = processes.usage(os.getpid())
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    after = processes.usage(os.getpid())
    name = Path("/proc/self/comm").read_text().strip()  # others below it are of other tests
    spent = after.by_name[name].cpu_s - before.by_name[name].cpu_s
    assert spent == pytest.approx(0.2, abs=0.05)
    assert processes.shares(before, after)[name]["rss_mb"] > 10
