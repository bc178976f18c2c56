"""Troubles: what is wrong now, over the whole fleet, the worst first; each with the page where it is dealt with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.api.monitoring import status_of
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.domain import forwarding
from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.domain.fields import is_address
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import configs, freezes, incarnations, web_certificates
from wgfleet.panel.services.dns import commands
from wgfleet.panel.services.fleet import endpoint_groups, node_agents, owed, shared_addresses, witnesses
from wgfleet.panel.services.floating import views
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Assignment, Config, Node
from wgfleet.panel.web.languages import marked
from wgfleet.protocol.messages import ForwardingState

BAD, POOR = "bad", "poor"
Listed = Mapping[str, Sequence[tuple[Assignment, Node]]]
MOST_CONFIGS = 100
_NEARLY_OVER_S = 7 * 86400.0
_DNS = {
    SyncState.FAILING: (BAD, marked("the name is not published")),
    SyncState.CONFLICT: (BAD, marked("somebody else's records are at the name")),
    SyncState.APPROVAL: (POOR, marked("a change of the name waits for approval")),
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong: of what kind, of which thing, and what is known of it (in English, from a service)."""

    mark: str
    kind: str
    subject: str
    detail: str
    path: str
    since: float | None = None


def now(
    tx: Tx,
    panel: Panel,
    found: list[Node],
    listed: Listed,
    within: Limit | None = None,
) -> list[Trouble]:
    """Return what is wrong, the worst first.

    `found`: all nodes; `listed`: the assignments of the first `MOST_CONFIGS` configs by their ids; `within`: what the
    reader sees.
    """
    of_panel = _of_the_panel(tx, panel) if within is None else ()
    gathered = [*of_panel, *_of_configs(tx, listed, within), *_of_names(tx, within), *_of_nodes(tx, found)]
    return sorted(gathered, key=lambda trouble: trouble.mark != BAD)


def _of_the_panel(tx: Tx, panel: Panel) -> Iterator[Trouble]:
    status = status_of(panel.name, panel.reports(), incarnations.superseded(tx))
    mark = BAD if status.status == "unavailable" else POOR
    for reason in status.reasons or ():
        yield Trouble(mark, marked("the panel"), "", reason, "/settings")
    certificate = web_certificates.state(tx)
    if certificate is not None and certificate.error is not None:
        # Users are served all the same: what keeps them out comes first.
        yield Trouble(POOR, marked("no certificate for browsers"), "", certificate.error, "/settings")
    frozen = freezes.current(tx)
    if frozen is not None:
        yield Trouble(BAD, marked("failover waits for a person"), "", frozen.reason, "/failover", frozen.since)


def _of_nodes(tx: Tx, found: list[Node]) -> Iterator[Trouble]:
    shared, doubts, now_s = shared_addresses.warnings(tx, found), witnesses.warnings(tx), clock.now()
    for node in found:
        path = f"/nodes/{node.name}"
        expires_at = node.certificate_expires_at
        if expires_at is None:
            yield Trouble(POOR, marked("no agent has joined"), node.name, "", path, node.created_at)
        elif not node.connected:
            yield Trouble(BAD, marked("the agent does not answer"), node.name, node.summary, path, node.last_seen_at)
        if expires_at is not None and expires_at < now_s + _NEARLY_OVER_S:
            yield Trouble(BAD, marked("its certificate is about to expire"), node.name, "", path)
        for warning in (node_agents.clock_warning(node), shared.get(node.id), doubts.get(node.id)):
            if warning is not None:
                yield Trouble(POOR, marked("the node needs attention"), node.name, warning, path)


def _of_configs(
    tx: Tx, listed: Mapping[str, Sequence[tuple[Assignment, Node]]], within: Limit | None
) -> Iterator[Trouble]:
    found = configs.page(tx, None, MOST_CONFIGS, within)
    yield from _of_domains(tx, found)
    for config in found:
        path = f"/configs/{config.name}"
        if config.paused_since is not None:
            yield Trouble(POOR, marked("automation is paused"), config.name, "", path, config.paused_since)
        of_config = listed.get(config.id, ())
        if not any(row.phase == Phase.SERVING for row, _ in of_config):
            yield Trouble(POOR, marked("no node serves the config"), config.name, "", path)
        for row, node in of_config:
            if row.phase == Phase.SERVING:
                yield from _of_assignment(row, f"{config.name} · {node.name}", path)
        for address in views.views(tx, config.id):
            if address.conflict is not None:
                yield Trouble(BAD, marked("a floating address is held twice"), address.address, address.conflict, path)
    for late in owed.everywhere(tx):
        if late.late and (within is None or late.config.id in within.configs):
            subject = f"{late.config.name} · {late.node.name}"
            path = f"/nodes/{late.node.name}" if within is None else f"/configs/{late.config.name}"
            yield Trouble(POOR, marked("changes do not reach the node"), subject, late.reason, path, late.since)


def _of_domains(tx: Tx, found: Sequence[Config]) -> Iterator[Trouble]:
    """Name configs whose name has one label only: earlier releases took it, and files say it."""
    domains = endpoint_groups.domains(tx, [config.id for config in found])
    for config in found:
        domain = domains.get(config.id)
        if domain is not None and "." not in domain and not is_address(domain):
            path = f"/configs/{config.name}"
            yield Trouble(POOR, marked("devices elsewhere cannot look up its name"), config.name, domain, path)


def _of_assignment(row: Assignment, subject: str, path: str) -> Iterator[Trouble]:
    if row.health != Health.SERVING:
        mark = BAD if row.health == Health.DOWN else POOR
        yield Trouble(mark, _HEALTH[row.health], subject, row.health_reason, path, row.health_since)
    whole = forwarding.overall(row.forwarding)
    if whole is not None and whole.state is ForwardingState.FAILED:
        yield Trouble(BAD, marked("users are connected, and get no further"), subject, whole.why, path)


def _of_names(tx: Tx, within: Limit | None) -> Iterator[Trouble]:
    for state, (mark, kind) in _DNS.items():
        for sync in commands.page(tx, state, None, MOST_CONFIGS, within):
            yield Trouble(mark, kind, sync.name, sync.error or sync.reason, "/dns", sync.decided_at)


_HEALTH = {
    Health.DOWN: marked("clients get no answer"),
    Health.SUSPECT: marked("some get no answer"),
    Health.UNMANAGED: marked("it serves, and its agent does not answer"),
    Health.RECOVERING: marked("it answers again, and is not used yet"),
}
