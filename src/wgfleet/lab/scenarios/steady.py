"""`steady`: for `--minutes`, nobody dies, and nothing may be decided that is wrong; in any weather.

All clients ping without pause. `withdrawals`: how often a node was taken out of use; `moves`: failovers, and peers with
another home. Both are promised to be 0. `changes`: each change of a node's health, as `before-after` and how often;
`frozen_s`: for how long the panel waited for a person. With `--pause-panel` everything that the panel runs is stopped
for that long, every `PAUSED_EVERY_S`; `paused` is how often. What clients lost (`lost`, a share; `worst_gap_ms`) is the
weather's doing, and nothing is promised of it.
"""

import os
import signal
import time
from collections import Counter
from typing import Any

from wgfleet.lab import fleet, pings, weather
from wgfleet.lab.panel_client import PanelClient
from wgfleet.lab.progress import Progress
from wgfleet.lab.scenarios import standings
from wgfleet.lab.scenarios.options import ScenarioOptions
from wgfleet.lab.state import Lab

SETTLE_S = 5.0
PAUSED_EVERY_S = 20.0
LOOK_S = 1.0


def run(lab: Lab, options: ScenarioOptions, progress: Progress) -> dict[str, Any]:
    """Watch until the time is over."""
    with fleet.client(lab) as panel:
        fleet.wait_connected(panel, lab.nodes)
        standings.wait_all_serving(lab, panel, SETTLE_S * 2)
        with weather.over(lab, options.weather):
            homes = standings.homes(panel)
            begun = time.time()
            running = pings.start(fleet.hosts(lab, "client"), fleet.NODE_TUNNEL_ADDRESS, rate=options.rate)
            with progress.step(f"{options.minutes:g} minutes in which nobody dies"):
                frozen, paused = _watch(lab, panel, begun + options.minutes * 60, options.pause_panel_s)
            counts = pings.measure(running)
        # What was decided last has its consequences.
        time.sleep(SETTLE_S)
        changes = standings.changes(lab, panel, begun)
        withdrawals = standings.withdrawals(lab, panel, begun)
        moves = len(standings.failovers(panel, begun)) + standings.moved(homes, standings.homes(panel))
    sent = sum(count.sent for count in counts)
    return {
        "ok": not withdrawals and not moves,
        "minutes": round((time.time() - begun) / 60, 1),
        "withdrawals": len(withdrawals),
        "moves": moves,
        "changes": dict(Counter(f"{change['before']}-{change['after']}" for change in changes)),
        "frozen_s": frozen,
        "paused": paused,
        "lost": round(sum(count.lost for count in counts) / max(sent, 1), 3),
        "worst_gap_ms": max((count.worst_gap_ms for count in counts), default=0.0),
        "each": changes,
    }


def _watch(lab: Lab, panel: PanelClient, until: float, pause_s: float) -> tuple[float, int]:
    """Stop the panel now and then; return for how many s it waited for a person, and how often it was stopped."""
    frozen, paused = 0.0, 0
    pause_at = time.time() + PAUSED_EVERY_S
    while time.time() < until:
        if pause_s and time.time() >= pause_at:
            _pause(lab, pause_s)
            paused, pause_at = paused + 1, time.time() + PAUSED_EVERY_S
        if panel.call("GET", "/api/health/freeze")["freeze"] is not None:
            frozen += LOOK_S
        time.sleep(LOOK_S)
    return frozen, paused


def _pause(lab: Lab, seconds: float) -> None:
    stopped = lab.host("panel").signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
