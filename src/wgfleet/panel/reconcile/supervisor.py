"""The supervisor: puts all reconcilers of a panel together, starts them and closes them."""

from wgfleet.panel.agents.authorities import Authorities
from wgfleet.panel.dns.publisher import Publisher
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.errors import PermanentError, told
from wgfleet.panel.reconcile import directories
from wgfleet.panel.reconcile.abandoned_batches import AbandonedBatches
from wgfleet.panel.reconcile.agents.connections import Connections
from wgfleet.panel.reconcile.agents.departures import Departures
from wgfleet.panel.reconcile.agents.first_look import FirstLooks
from wgfleet.panel.reconcile.agents.heartbeats import WRITE_EVERY_S, HeartbeatWriter
from wgfleet.panel.reconcile.agents.node import NodeReconciler
from wgfleet.panel.reconcile.agents.own_certificates import OwnCertificates
from wgfleet.panel.reconcile.agents.panel_start import BegunStart
from wgfleet.panel.reconcile.agents.pusher import Pusher
from wgfleet.panel.reconcile.agents.quota_sender import QuotaSender
from wgfleet.panel.reconcile.agents.routine_news import EVERY_S as NEWS_EVERY_S
from wgfleet.panel.reconcile.agents.routine_news import RoutineNews
from wgfleet.panel.reconcile.agents.shared_files import SharedFiles
from wgfleet.panel.reconcile.agents.summaries import SummaryWriter
from wgfleet.panel.reconcile.agents.telemetry import FLUSH_S, TelemetryWriter
from wgfleet.panel.reconcile.agents.usage_collector import ROUND_S, UsageCollector
from wgfleet.panel.reconcile.agents.visits import Visits
from wgfleet.panel.reconcile.checkpoints import Checkpoints
from wgfleet.panel.reconcile.dispatcher import RESYNC_S, Dispatcher
from wgfleet.panel.reconcile.dns import DnsWorker
from wgfleet.panel.reconcile.engine.keyed_runner import Key, Runner
from wgfleet.panel.reconcile.engine.threads import Work, always, doing, in_thread
from wgfleet.panel.reconcile.floating import FloatingReconciler
from wgfleet.panel.reconcile.health import HealthMonitor
from wgfleet.panel.reconcile.host_names import FOLLOW_S, LIMIT_S, HostNameWatch
from wgfleet.panel.reconcile.jobs import EVERY_S as JOBS_EVERY_S
from wgfleet.panel.reconcile.jobs import JobWatch
from wgfleet.panel.reconcile.key_rotations import KeyRotationWatch
from wgfleet.panel.reconcile.moves.group_drain import GroupDrainReconciler
from wgfleet.panel.reconcile.moves.recalls import Recalls
from wgfleet.panel.reconcile.moves.relay_sync import RelayReconciler
from wgfleet.panel.reconcile.moves.stopping import Reconcile, Stopping
from wgfleet.panel.reconcile.moves.worker import MoveWorker
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.reconcile.owed import OwedWatch
from wgfleet.panel.reconcile.peer_changes import PeerChangeReconciler
from wgfleet.panel.reconcile.retention import AUDIT_EVERY_S, EVERY_S, AuditBound, Retention, days_kept
from wgfleet.panel.reconcile.statistics import Statistics
from wgfleet.panel.reconcile.succession import LOOK_S, Succession
from wgfleet.panel.reconcile.web_certificates import WebCertificateWatch
from wgfleet.panel.services import operations
from wgfleet.panel.services.moves.cancelling import CANCELLED
from wgfleet.panel.services.moves.kinds import KINDS
from wgfleet.panel.settings import Settings
from wgfleet.panel.store import Store
from wgfleet.panel.store.wakes import Topic
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason


class Supervisor:
    """Runs until it is closed. `start` and `close` are called in the event loop.

    `start` is the start of the panel that it works for.
    """

    def __init__(
        self,
        store: Store,
        vault: Vault,
        authorities: Authorities,
        publisher: Publisher,
        settings: Settings,
        outlook: Outlook,
        start: BegunStart,
    ) -> None:
        self._store = store
        self._tasks = outlook.tasks
        self._runner = Runner(self._reconcile)
        own = OwnCertificates(store, authorities, settings.certificates.panel_days, start)
        self._connections = Connections(store, own, self._tasks, self._node_changed, start.name)
        self._outlook = outlook
        self._departures = Departures(store, self._connections.client, outlook)
        self._dns = DnsWorker(store, vault, publisher, settings.dns)
        relays = RelayReconciler(store, self._connections)
        self._dispatcher = Dispatcher(store, self._runner, self._connections, self._dns, relays.unasked)
        self._succession = Succession(store, vault, self._connections, outlook, self._dispatcher.look_at_everything)
        self._health = HealthMonitor(
            store, vault, settings.health.rules, self._connections, outlook, settings.health.site
        )
        self._heartbeats = HeartbeatWriter(store, self._connections)
        shared = SharedFiles()
        self._telemetry = TelemetryWriter(
            store, self._connections, outlook, shared, Visits(keep=settings.usage.session_history)
        )
        self._jobs = JobWatch(store, QuotaSender(self._connections).send, shared)
        self._usage = UsageCollector(
            store, self._connections, outlook, settings.usage.every_s, lambda: self._jobs.counting, shared
        )
        self._web_certificates = WebCertificateWatch(store, vault, settings, outlook, publisher)
        self._owed = OwedWatch(store)
        self._key_rotations = KeyRotationWatch(store, vault, outlook)
        self._host_names = HostNameWatch(store, settings.own_hosts())
        self._directories = directories.Directories(store, vault)
        self._retention = Retention(store, days_kept(settings))
        self._abandoned = AbandonedBatches(store)
        self._audit_bound = AuditBound(store, settings.audit.keep_entries, settings.audit.keep_days or None)
        summaries = SummaryWriter(store)
        self._news = RoutineNews(store, summaries)
        self._pusher = Pusher(
            store, vault, authorities, settings.certificates.agent_days, self._connections, self._news
        )
        patience_s = settings.health.rules.longest_timeout_s
        self._pusher.look = FirstLooks(store, vault, self._connections, patience_s).look
        self._keeps_flow_copies = settings.drain.flow_copies
        self._moves = MoveWorker(store, vault, settings.drain, self._connections, outlook)
        self._operations: dict[str, Reconcile] = {
            **dict.fromkeys(KINDS, self._moves.reconcile),
            **dict.fromkeys(CANCELLED, Stopping(store).before(self._moves.reconcile)),
            OperationKind.DRAIN_GROUP: GroupDrainReconciler(store).reconcile,
            OperationKind.CHANGE_PEERS: PeerChangeReconciler(store, vault, settings).reconcile,
        }
        self._subjects: dict[str, Reconcile] = {
            Topic.NODE: NodeReconciler(self._connections, self._pusher, summaries, outlook).reconcile,
            Topic.FLOATING: FloatingReconciler(store, vault, self._connections).reconcile,
            Topic.DNS: self._dns.reconcile,
            Topic.RELAY: relays.reconcile,
            Topic.FENCED: Recalls(store, vault, settings.drain, self._connections).reconcile,
        }

    def start(self) -> None:
        """Begin: connect to all nodes, take up all operations that have not ended."""
        self._host_names.remember()
        self._dispatcher.listen()
        self._tasks.start("dispatch", self._dispatcher.run)
        self._tasks.start("resync", self._dispatcher.resync, every_s=RESYNC_S)
        self._tasks.start("panel_identity", self._connections.keep_identity)
        self._tasks.start("heartbeats", always(Work.TELEMETRY, self._heartbeats.run), every_s=WRITE_EVERY_S)
        self._tasks.start("telemetry", always(Work.TELEMETRY, self._telemetry.run), every_s=FLUSH_S)
        self._tasks.start("routine_news", always(Work.TELEMETRY, self._news.run), every_s=NEWS_EVERY_S)
        self._tasks.start("usage", always(Work.TELEMETRY, self._usage.run), every_s=2 * ROUND_S)
        self._tasks.start("jobs", self._jobs.run, every_s=JOBS_EVERY_S)
        self._tasks.start("succession", self._succession.run, every_s=LOOK_S)
        self._tasks.start("departures", self._departures.run)
        self._tasks.start("directories", always(Work.TELEMETRY, self._directories.run), every_s=directories.EVERY_S)
        self._tasks.start("retention", always(Work.TELEMETRY, self._retention.run), every_s=EVERY_S)
        self._tasks.start("audit_bound", always(Work.TELEMETRY, self._audit_bound.run), every_s=AUDIT_EVERY_S)
        self._tasks.start("peer_batches", self._abandoned.run)
        self._tasks.start("checkpoints", always(Work.TELEMETRY, Checkpoints(self._store).run))
        self._tasks.start("statistics", always(Work.TELEMETRY, Statistics(self._store).run))
        if self._web_certificates.wanted:
            self._tasks.start("web_certificates", self._web_certificates.run)
        if self._keeps_flow_copies:
            self._tasks.start("flow_copies", always(Work.TELEMETRY, self._moves.flow_copies.run))
        self._tasks.start("owed", self._owed.run)
        self._tasks.start("key_rotations", self._key_rotations.run)
        self._tasks.start("host_names", self._host_names.run)
        self._tasks.start("names_of_nodes", self._host_names.follow, every_s=FOLLOW_S + LIMIT_S)
        self._health.start_apart()

    async def close(self) -> None:
        """Stop all work where it stands; the next start takes it up again from the rows."""
        await self._tasks.close()
        await self._runner.close()
        await self._pusher.close()
        self._dns.close()
        await self._moves.close()
        await self._connections.close()

    def _node_changed(self, node_id: str) -> None:
        self._runner.wake(Key(Topic.NODE, node_id))

    async def _reconcile(self, key: Key) -> float | None:
        # With the threads of this work, by whichever listener it was woken.
        with doing(_work_of(key)):
            return await self._reconcile_key(key)

    async def _reconcile_key(self, key: Key) -> float | None:
        # Only the agents are still asked whom they obey; all keys are woken when this panel decides again.
        if self._outlook.superseded is not None and key.kind != Topic.NODE:
            return None
        if key.kind in self._subjects:
            return await self._subjects[key.kind](key.id)
        try:
            return await self._operations.get(key.kind, _unknown)(key.id)
        except Exception as error:
            await in_thread(self._stumble, key.id, told(error))
            raise

    def _stumble(self, operation_id: str, error: str) -> None:
        with self._store.write() as tx:
            operations.stumbled(tx, operation_id, error)


def _work_of(key: Key) -> Work:
    """Return by whom a key is waited for: with some, clients may be without a node until it is reconciled."""
    kind = KINDS.get(key.kind)  # type: ignore[call-overload]  # of a subject or a later version there is none
    if key.kind in {Topic.FLOATING, Topic.FENCED} or (kind is not None and kind.urgent):
        return Work.URGENT
    return Work.NODES if key.kind == Topic.NODE else Work.ORDINARY


async def _unknown(operation_id: str) -> float | None:
    raise PermanentError(
        Reason(
            "this version of the panel does not know the kind of operation {operation_id}", operation_id=operation_id
        )
    )
