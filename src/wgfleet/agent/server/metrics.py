"""Metrics of `GET /v1/metrics` in Prometheus' text format (0.0.4): a dozen lines, so no library."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.protocol.messages import AgentStatus, Load

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Gauge:
    """One metric family: its name, help text, and values by labels (none: the agent's own)."""

    name: str
    text: str
    values: Sequence[tuple[str, float]]

    def lines(self) -> list[str]:
        head = [f"# HELP {self.name} {self.text}", f"# TYPE {self.name} gauge"]
        return head + [f"{self.name}{labels} {value:.15g}" for labels, value in self.values]


# No series per peer: there may be thousands.
_OF_INTERFACE: dict[str, tuple[str, Callable[[InterfaceReconciler], float]]] = {
    "up": ("whether the link is up", lambda each: each.up),
    "generation": ("generation applied", lambda each: each.generation),
    "peers": ("peers wanted", lambda each: len(each.desired.peers)),
    "peers_active": ("peers that were ever seen", lambda each: len(each.stats)),
    "scan_seconds": ("time of the last scan that found nothing to do", lambda each: each.scan_s),
    "floating_addresses": ("floating addresses held", lambda each: len(each.held or ())),
    "backbone_nodes": ("other nodes that are heard over the backbone", lambda each: each.backbone.reached),
    "backbone_routes": ("networks that are reached through other nodes", lambda each: each.backbone.elsewhere),
    "backbone_flows": ("TCP connections of users of which other nodes told", lambda each: each.backbone.flows),
    "drift": ("fields that differ from what is wanted", lambda each: len(each.drift)),
    "call_backs": ("times that sessions ended with it, since the agent's start", lambda each: each.call_backs.times),
    "called_back": ("peers called for that", lambda each: each.call_backs.called),
    "called_back_answered": ("those of them that answered", lambda each: each.call_backs.answered),
    "received_bytes": ("received from present peers", lambda each: sum(stats.rx for stats in each.stats.values())),
    "sent_bytes": ("sent to present peers", lambda each: sum(stats.tx for stats in each.stats.values())),
}


def render(status: AgentStatus, reconcilers: Iterable[InterfaceReconciler], load: Load | None, *, readers: int) -> str:
    """Write the agent's own metrics and those of each interface."""
    gauges = [*_of_agent(status, readers), *_of_machine(load), *_of_interfaces(list(reconcilers))]
    return "\n".join(line for gauge in gauges for line in gauge.lines()) + "\n"


def _of_agent(status: AgentStatus, readers: int) -> list[_Gauge]:
    figures = {
        "up_seconds": ("time since the agent started", status.now - status.started_at),
        "certificate_expires_seconds": (
            "time until the agent's certificate expires",
            status.certificate_expires_at - status.now,
        ),
        "scan_interval_seconds": ("time between two scans", status.scan_interval_s),
        "watch_readers": ("open watch streams", readers),
        "resident_bytes": ("memory of the agent", _resident_bytes()),
    }
    return [_Gauge(f"wgfleet_agent_{name}", text, [("", value)]) for name, (text, value) in figures.items()]


def _of_machine(load: Load | None) -> list[_Gauge]:
    if load is None:
        return []
    figures = {
        "cpu_ratio": ("share of all processors in use", load.cpu),
        "memory_ratio": ("share of memory in use", load.memory),
        "uplink_ratio": ("share of the uplink in use, busier direction", load.bandwidth),
        "uplink_bits_per_second": ("traffic of the uplink, busier direction", load.bandwidth_bps),
    }
    return [
        _Gauge(f"wgfleet_machine_{name}", text, [] if value is None else [("", value)])
        for name, (text, value) in figures.items()
    ]


def _of_interfaces(reconcilers: Sequence[InterfaceReconciler]) -> list[_Gauge]:
    return [
        _Gauge(
            f"wgfleet_interface_{name}",
            text,
            [(f'{{interface="{each.name}"}}', figure(each)) for each in reconcilers],
        )
        for name, (text, figure) in _OF_INTERFACE.items()
    ]


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
