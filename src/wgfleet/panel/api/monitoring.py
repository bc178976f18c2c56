"""`/healthz`, `/readyz` and `/metrics`: for load balancers and Prometheus."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from fastapi import Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import Field

from wgfleet.panel import clock
from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.models import Said, View
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.process_counts import silent
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.reconcile.engine.tasks import Failing
from wgfleet.panel.reconcile.lateness import Lateness
from wgfleet.panel.reconcile.outlook import CoreReport
from wgfleet.panel.services import audit, freezes, incarnations, usage, web_certificates
from wgfleet.panel.services.dns import commands
from wgfleet.panel.services.fleet import authority_rotation, counts, owed, probe_keys
from wgfleet.panel.services.fleet.counts import Totals
from wgfleet.panel.services.fleet.owed import Owed
from wgfleet.panel.services.floating import views
from wgfleet.panel.services.usage import Traffic
from wgfleet.protocol.reasons import Reason

router = subject_router("health")
NOBODY_DECIDES = Reason("no process decides: the panel's core is not heard")
WAY_OUT = Reason(
    "if this database is to count, run `wgfleet panel restored` where this panel runs: the nodes then obey it, and the "
    "other one stops; if not, switch this panel off"
)
MORE_PROCESSOR = Reason("see what else keeps its machine busy, and give it a faster one or more processors")
HELD_UP_S = 600.0  # a rotation of keys whose nodes are there takes a minute
WARNED_S = 7 * 86400.0  # for so long it is said that the audit log was shortened
REFUSED = (
    "{} agents refuse this panel, as they have obeyed another one on a newer copy of its database; see `wgfleet node "
    "list`. `wgfleet panel restored`, where this panel runs, has them obey it"
)


class FailingTask(View):
    """A background task of the panel that waits to be restarted, keeps failing, or hangs. Its log says why."""

    task: str
    subject: str
    running: bool
    failures: int
    late_s: float | None = Field(
        None, description="For how many seconds it has not come round, where that is too long."
    )


class PanelStatus(View):
    """`ok`; `degraded` if tasks of single nodes fail; `unavailable` if the panel's own do, or if nobody decides.

    `degraded` also where the panel cannot keep up: what waits then is said in `reasons`, with what helps.

    Where agents refuse this panel, because its database is an older copy: `degraded` while most nodes obey it, else
    `unavailable`, and `superseded` says so.
    """

    status: Literal["ok", "degraded", "unavailable"] = "ok"
    reasons: list[Said] | None = Field(default=None, description="Why it is not ok, in words.")
    standby: bool | None = Field(
        default=None, description="true: another panel decides, and this one takes over when it ends."
    )
    superseded: str | None = Field(
        default=None,
        description="Why this panel decides nothing: the nodes obey another one, on a newer copy of its database.",
    )
    way_out: str | None = Field(default=None, description="What helps where the panel is superseded.")
    failing: list[FailingTask] | None = None
    warnings: list[Said] | None = Field(default=None, description="What to know although the panel does its work.")


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Check that the process is alive", response_model_exclude_none=True)
async def healthz() -> PanelStatus:
    return PanelStatus()


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    summary="Check the database and the panel's core, and list failing background tasks",
    response_model_exclude_none=True,
    responses={503: {"model": PanelStatus, "description": "`unavailable`, or the database cannot be read."}},
)
def readyz(panel: ThePanel, response: Response) -> PanelStatus:
    """503 if the panel cannot do its work.

    That is so while its core is not heard, a task of the whole panel stands still, the database takes no changes, or
    the nodes obey a newer panel.
    Tasks of a single node do not change the status 200: calls are still answered.
    """
    with panel.store.read() as tx:
        counts.check(tx)
        superseded = incarnations.superseded(tx)
        now = clock.now()
        found = (
            audit.shortened(tx, now - WARNED_S),
            authority_rotation.held_up(tx, now - HELD_UP_S),
            probe_keys.held_up(tx, now - HELD_UP_S),
            web_certificates.held_up(tx),
        )
    status = status_of(panel.name, panel.reports(), superseded)
    status.warnings = [warning for warning in (*found, silent(panel.siblings)) if warning] or None
    response.status_code = 503 if status.status == "unavailable" else 200
    return status


def status_of(panel: str, reports: Sequence[CoreReport], superseded: str | None = None) -> PanelStatus:
    """Say how a panel is doing by what the cores report, the deciding one first; `superseded`: what the rows say."""
    deciding = [report for report in reports if report.decides]
    reasons: list[str] = [] if deciding else [NOBODY_DECIDES]
    superseded = deciding[0].superseded if deciding else superseded
    reasons += [Reason("this panel decides nothing: {superseded}", superseded=superseded)] if superseded else []
    reasons += [
        Reason("the database takes no changes: {unwritable}", unwritable=report.unwritable)
        for report in deciding[:1]
        if report.unwritable
    ]
    tasks = [task for report in reports for task in report.failing]
    stopped = [task for task in tasks if task.stops_work]
    reasons += [_stopped(task) for task in stopped]
    failing = [
        FailingTask(
            task=task.name, subject=task.subject, running=task.running, failures=task.failures, late_s=task.late_s
        )
        for task in tasks
    ]
    unavailable = bool(reasons)
    refused_by = deciding[0].refused_by if deciding and not superseded else 0
    trouble = deciding[0].late.trouble if deciding else None
    reasons += (
        [
            Reason(
                "the panel cannot keep up: {trouble}; {more_processor}", trouble=trouble, more_processor=MORE_PROCESSOR
            )
        ]
        if trouble
        else []
    )
    reasons += [REFUSED.format(refused_by)] if refused_by else []
    return PanelStatus(
        status="unavailable" if unavailable else "degraded" if failing or refused_by or trouble else "ok",
        reasons=reasons or None,
        standby=True if deciding and deciding[0].panel != panel else None,
        superseded=superseded,
        way_out=WAY_OUT if superseded else None,
        failing=failing or None,
    )


def _stopped(task: Failing) -> str:
    if task.late_s is not None:
        return Reason(
            "background task {task} has not come round for {late_s:g} s; see the log",
            task=task.name,
            late_s=task.late_s,
        )
    return Reason("background task {task} failed {failures} times; see the log", task=task.name, failures=task.failures)


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Metrics."}},
)
def metrics(request: Request, _caller: Reader) -> Response:
    return Response(generate_latest(request.app.state.metrics), media_type=CONTENT_TYPE_LATEST)


class FleetCollector(Collector):
    """Counts rows and reports the state of health checking when Prometheus asks."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel

    def describe(self) -> list[Metric]:
        """Name nothing, so that registering does not read the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read all totals in one transaction."""
        with self._panel.store.read() as tx:
            found, queue, healths = counts.read(tx), commands.queue(tx), counts.health(tx)
            frozen, missing = freezes.current(tx), owed.everywhere(tx)
            traffic = usage.traffic(tx)
            clocks, agents, conflicts = counts.clocks(tx), counts.agents(tx), views.conflicts(tx)
        yield GaugeMetricFamily("wgfleet_nodes", "Nodes.", value=found.nodes)
        yield GaugeMetricFamily("wgfleet_nodes_connected", "Nodes whose agent is connected.", value=found.connected)
        yield GaugeMetricFamily("wgfleet_witnesses", "Witnesses, which are no nodes here.", value=found.witnesses)
        yield GaugeMetricFamily(
            "wgfleet_witnesses_connected", "Witnesses whose agent is connected.", value=found.witnesses_connected
        )
        yield GaugeMetricFamily("wgfleet_configs", "Configs.", value=found.configs)
        yield GaugeMetricFamily("wgfleet_peers", "Peers.", value=found.peers)
        yield GaugeMetricFamily("wgfleet_operations_active", "Unfinished operations.", value=found.active_operations)
        yield _by_label("wgfleet_assignments", "Configs on nodes, by health.", "health", healths)
        yield GaugeMetricFamily(
            "wgfleet_health_frozen",
            "1: nodes that do not answer are left in use until an administrator approves it.",
            value=frozen is not None,
        )
        yield GaugeMetricFamily(
            "wgfleet_automation_paused", "Configs for which somebody paused failover.", value=found.paused_configs
        )
        yield GaugeMetricFamily(
            "wgfleet_health_frozen_nodes",
            "Nodes that wait for such an approval.",
            value=len(frozen.nodes) if frozen is not None else 0,
        )
        yield from _owed(missing)
        yield from _traffic(traffic)
        yield _by_label("wgfleet_agents", "Agents, by the version that they last had.", "version", agents)
        yield _by_label("wgfleet_node_clock_ahead_seconds", "Of the panel's clock.", "node", clocks)
        deaths = CounterMetricFamily(
            "wgfleet_background_task_deaths", "Background tasks that died and were restarted.", labels=["task"]
        )
        died = Counter[str]()
        reports = self._panel.reports()
        for report in reports:
            died.update(report.deaths)
        for name, count in died.items():
            deaths.add_metric([name], count)
        yield deaths
        yield _by_label(
            "wgfleet_deciding",
            "1: the panel that decides about health, moves and names; 0: one that waits for its end.",
            "panel",
            {report.panel: int(report.decides) for report in reports},
        )
        yield from _succession([report for report in reports if report.decides])
        yield from _lateness([report.late for report in reports if report.decides])
        yield from _floating(found, conflicts)
        names = {state.value: count for state, count in queue.states.items()}
        yield _by_label("wgfleet_dns_names", "Published names, by state.", "state", names)
        yield GaugeMetricFamily(
            "wgfleet_dns_waiting", "Names that differ from the desired records.", value=queue.waiting
        )
        yield GaugeMetricFamily(
            "wgfleet_dns_oldest_seconds", "Seconds for which the oldest of these has waited.", value=queue.oldest_s
        )


def _floating(found: Totals, conflicts: int) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "wgfleet_floating_unheld", "Floating addresses that no node has.", value=found.unheld_addresses
    )
    yield GaugeMetricFamily(
        "wgfleet_floating_conflicts",
        "Floating addresses that somebody has beside the node that is to have them.",
        value=conflicts,
    )
    yield GaugeMetricFamily(
        "wgfleet_floating_failing",
        "Floating addresses that their provider could not move to their node.",
        value=found.failing_addresses,
    )


def _succession(deciding: Sequence[CoreReport]) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "wgfleet_superseded",
        "1: nodes obey a newer panel, and this one decides nothing.",
        value=any(report.superseded for report in deciding),
    )
    yield GaugeMetricFamily(
        "wgfleet_agents_refusing",
        "Agents that refuse this panel as an older one.",
        value=sum(report.refused_by for report in deciding),
    )


def _lateness(deciding: Sequence[Lateness]) -> Iterator[Metric]:
    late = GaugeMetricFamily(
        "wgfleet_health_late_seconds",
        "How much later than due it was decided whether nodes serve, in the last minute.",
        labels=["quantile"],
    )
    behind = GaugeMetricFamily(
        "wgfleet_background_task_behind_seconds", "For how long it should have come round.", labels=["task"]
    )
    for each in deciding:
        late.add_metric(["0.99"], each.decisions_p99_s)
        late.add_metric(["1"], each.decisions_max_s)
        for task, seconds in {"telemetry": 0.0, **each.behind}.items():
            behind.add_metric([task], seconds)
    yield late
    yield behind
    yield GaugeMetricFamily(
        "wgfleet_counters_interval_seconds",
        "How often the traffic of users is written; more often where the panel keeps up.",
        value=max((each.counters_every_s for each in deciding), default=0.0),
    )
    yield CounterMetricFamily(
        "wgfleet_health_probes_left_out",
        "Probes that were not sent because the panel was late.",
        value=sum(each.probes_left_out for each in deciding),
    )


def _owed(missing: Sequence[Owed]) -> Iterator[Metric]:
    labels = ["config", "node"]
    families = [
        GaugeMetricFamily(
            "wgfleet_generations_owed", "Changes of a config that a node has not applied.", labels=labels
        ),
        GaugeMetricFamily(
            "wgfleet_revocations_owed", "Peers that a node may still let in though they are revoked.", labels=labels
        ),
        GaugeMetricFamily("wgfleet_changes_late", "1: changes do not reach the node.", labels=labels),
    ]
    for each in missing:
        values = (each.generations, len(each.revocations), int(each.late))
        for family, value in zip(families, values, strict=True):
            family.add_metric([each.config.name, each.node.name], value)
    yield from families


def _traffic(found: Sequence[Traffic]) -> Iterator[Metric]:
    """Show what nodes carried; of each peer it is in usage, and never here."""
    labels = ["config", "node"]
    received = CounterMetricFamily(
        "wgfleet_node_received_bytes",
        "What a node received from the peers of a config, as far as it is written down.",
        labels=labels,
    )
    sent = CounterMetricFamily("wgfleet_node_sent_bytes", "What a node sent to them.", labels=labels)
    for each in found:
        received.add_metric([each.config, each.node], each.received)
        sent.add_metric([each.config, each.node], each.sent)
    yield from (received, sent)


def _by_label(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
