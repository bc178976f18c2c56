"""`GET /v1/metrics` in Prometheus' text form (exposition format 0.0.4): a dozen lines, so no library."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from wgfleet.agent.interfaces.reconciler import Keeper
from wgfleet.protocol.messages import AgentStatus, Load

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(status: AgentStatus, keepers: Iterable[Keeper], load: Load | None, *, readers: int) -> str:
    """Write the agent's own figures and one set per interface; no series per peer, of which there may be thousands."""
    kept = list(keepers)
    families: list[tuple[str, str, str, list[tuple[str, float]]]] = [
        ("wgfleet_agent_up_seconds", "gauge", "time since the agent started", [("", status.now - status.started_at)]),
        (
            "wgfleet_agent_certificate_expires_seconds",
            "gauge",
            "time until the agent's certificate expires",
            [("", status.certificate_expires_at - status.now)],
        ),
        ("wgfleet_agent_scan_interval_seconds", "gauge", "time between two scans", [("", status.scan_interval_s)]),
        ("wgfleet_agent_watch_readers", "gauge", "open watch streams", [("", readers)]),
        ("wgfleet_agent_resident_bytes", "gauge", "memory of the agent", [("", _resident_bytes())]),
    ]
    if load is not None:
        bandwidth = [] if load.bandwidth is None else [("", load.bandwidth)]
        families += [
            ("wgfleet_machine_cpu_ratio", "gauge", "share of all processors in use", [("", load.cpu)]),
            ("wgfleet_machine_memory_ratio", "gauge", "share of memory in use", [("", load.memory)]),
            ("wgfleet_machine_uplink_ratio", "gauge", "share of the uplink in use, busier direction", bandwidth),
            (
                "wgfleet_machine_uplink_bits_per_second",
                "gauge",
                "traffic of the uplink, busier direction",
                [("", load.bandwidth_bps)],
            ),
        ]
    figures: dict[str, tuple[str, str, Callable[[Keeper], float]]] = {
        "up": ("gauge", "whether the link is up", lambda keeper: keeper.up),
        "generation": ("gauge", "generation applied", lambda keeper: keeper.generation),
        "peers": ("gauge", "peers wanted", lambda keeper: len(keeper.desired.peers)),
        "peers_active": ("gauge", "peers that were ever seen", lambda keeper: len(keeper.stats)),
        "scan_seconds": ("gauge", "time of the last scan that found nothing to do", lambda keeper: keeper.scan_s),
        "floating_addresses": ("gauge", "floating addresses held", lambda keeper: len(keeper.held or ())),
        "drift": ("gauge", "fields that are not as wanted", lambda keeper: len(keeper.drift)),
        "received_bytes": (
            "gauge",
            "received from present peers",
            lambda keeper: sum(stats.rx for stats in keeper.stats.values()),
        ),
        "sent_bytes": (
            "gauge",
            "sent to present peers",
            lambda keeper: sum(stats.tx for stats in keeper.stats.values()),
        ),
    }
    for name, (kind, text, figure) in figures.items():
        series = [(f'{{interface="{keeper.name}"}}', figure(keeper)) for keeper in kept]
        families.append((f"wgfleet_interface_{name}", kind, text, series))
    lines = []
    for name, kind, text, values in families:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{labels} {value:.15g}" for labels, value in values]
    return "\n".join(lines) + "\n"


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
