"""What loss and round trips do to the watch: living nodes that go down, and how soon a dead one does.

In time and on a network on paper, by the panel's own code with its default settings. A JSON object for each loss (each
way, as a share) and round trip: `false_downs` of living nodes within `minutes` of watch over all seeds, `changes` of
any node's health in that time, and the seconds until a killed node was down (`detected_p50_s`, `detected_max_s`;
`missed`: not within a minute). Three nodes and the panel; round trips vary by 20 %.
"""

import asyncio
import json
import statistics

import structlog

from tests.panel.health.network import DEFAULTS
from tests.panel.health.simulation import Net, Simulation, chance, detection_s

SEEDS = range(10)
WATCHED_S = 180
LOSSES = (0.0, 0.05, 0.1, 0.2, 0.4)
RTTS_MS = (20, 100, 200, 300, 400)


def measure(loss: float, rtt_ms: int) -> dict[str, object]:
    """Watch and kill, once for each seed."""
    false_downs = changes = 0
    detected: list[float] = []
    for seed in SEEDS:

        async def script(simulation: Simulation) -> None:
            nonlocal false_downs, changes
            await asyncio.sleep(WATCHED_S + simulation.net.chance.random())
            false_downs += len(simulation.downs())
            changes += len(simulation.monitor.changes)
            seconds = await detection_s(simulation, "n1", 60)
            detected.extend([] if seconds is None else [seconds])

        net = Net(chance(seed), loss=loss, rtt_s=lambda _one, _other: rtt_ms / 1000, jitter=0.2)
        Simulation(net, DEFAULTS).run(script)
    return {
        "loss": loss,
        "rtt_ms": rtt_ms,
        "minutes": len(SEEDS) * WATCHED_S / 60,
        "false_downs": false_downs,
        "changes": changes,
        "detected_p50_s": round(statistics.median(detected), 2) if detected else None,
        "detected_max_s": round(max(detected), 2) if detected else None,
        "missed": len(SEEDS) - len(detected),
    }


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    for loss in LOSSES:
        for rtt_ms in RTTS_MS:
            print(json.dumps(measure(loss, rtt_ms)), flush=True)


if __name__ == "__main__":
    main()
