"""The worker of operations that move peers. `domain.moves` says which step comes next, `services.moves.kinds` does it.

All state is in rows: the operation, homes, moves, an assignment's phase, the cleanup owed. Killed anywhere, it goes on
from there.
"""

from collections.abc import Mapping
from dataclasses import replace

from wgfleet.panel import clock, faultpoints
from wgfleet.panel.domain.moves import MoveStep, MoveView, may_begin, needs_sessions, next_step, resumed
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.threads import Work, doing, in_thread
from wgfleet.panel.reconcile.moves.drops import Drops
from wgfleet.panel.reconcile.moves.flow_copies import FlowCopies
from wgfleet.panel.reconcile.moves.open_flows import OpenFlows
from wgfleet.panel.reconcile.moves.recalls import Recalls
from wgfleet.panel.reconcile.moves.session_reports import Reports
from wgfleet.panel.reconcile.moves.sleepers import Sleepers
from wgfleet.panel.reconcile.moves.takeovers import TakeoverRounds
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services import operations
from wgfleet.panel.services.moves import kinds
from wgfleet.panel.settings.drain import DrainSettings
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault

WAIT_S = 1.0  # for a node that keeps its floating addresses though its time is over
# For connections that go on through a node that is to be removed.
KEEP_S = 1.0
KEPT = "TCP connections of users who have moved go on through the node until they end, or the drain window does"
POLL_S = 0.25  # for a node that has yet to be heard, to drop peers that it lost, or to delete an interface


class MoveWorker:
    """Carries operations out. `connections`: those to the agents, by node id."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        drain: DrainSettings,
        connections: Mapping[str, AgentConnection],
        outlook: Outlook,
    ) -> None:
        self._outlook = outlook
        self._started_at = clock.now()
        # For agents to connect, and for two calls to each client.
        self._grace_s = drain.unreachable_s + 2 * drain.takeover_timeout_s
        self._connections = connections
        self._store = store
        self._vault = vault
        self._drain = drain
        recalls = Recalls(store, vault, drain, connections)
        self._drops = Drops(store, vault, connections, recalls, drain.live_s)
        self._sleepers = Sleepers(store, vault, connections, recalls, drain.live_s)
        self.flow_copies = FlowCopies(store, connections)
        self._open_flows = OpenFlows(store, connections, self.flow_copies)
        self._takeovers = {
            urgent: TakeoverRounds(store, vault, drain, connections, self._drops, self._open_flows, urgent=urgent)
            for urgent in (False, True)
        }
        self._reports = {
            urgent: Reports(connections, 0.0 if urgent else drain.unreachable_s) for urgent in (False, True)
        }

    async def close(self) -> None:
        """End the calls that are under way."""
        for takeovers in self._takeovers.values():
            await takeovers.close()
        await self._open_flows.close()
        await self._drops.close()
        await self._sleepers.close()

    async def reconcile(self, operation_id: str) -> float | None:
        """Do what can be done now; return after how many s to look again, or None when it has ended."""
        view = await in_thread(self._read, operation_id)
        done: MoveStep | None = None
        while True:
            urgent = kinds.KINDS[view.kind].urgent
            reports = self._reports[urgent]
            # A node that says no more confirms no more.
            expected = replace(
                view,
                unconfirmed=tuple(filter(reports.may_come, view.unconfirmed)),
                unchecked=self._drops.unchecked(operation_id, view),
            )
            step = next_step(expected, clock.now(), confirm_within_s=self._drain.unreachable_s)
            if step is MoveStep.DONE or self._outlook.superseded is not None:
                self._drops.forget(operation_id)
                self._sleepers.forget(operation_id)
                return None
            self._sleepers.begin(operation_id, view)
            if step is done is MoveStep.CLOSE:
                return WAIT_S
            if step is MoveStep.RETIRE and clock.now() < view.drain_ends_at and self._carries(view, reports):
                await in_thread(self._explain, operation_id)
                return KEEP_S
            begins = may_begin(view, step) and reports.known(view.sources)
            if needs_sessions(view, step) and not await reports.gather(view.sources) and not begins:
                return POLL_S
            faultpoints.reached(f"moves.{step}.before")
            pause: float | None = None
            done = step
            if step is MoveStep.TAKEOVER:
                # Clients of a node that died in the middle of a planned move are without one too.
                hurry = urgent or view.urgent or reports.silent(view.sources)
                with doing(Work.URGENT if hurry else Work.ORDINARY):
                    pause = await self._takeovers[hurry].round(operation_id)
                view = view if pause is not None else await in_thread(self._read, operation_id)
            elif step in {MoveStep.CLEAN, MoveStep.CONFIRM}:
                pause = POLL_S
            elif step is MoveStep.RECALL:
                await self._drops.recall(operation_id)
            else:
                view = await self._do(step, operation_id, view)
            faultpoints.reached(f"moves.{step}.after")
            if pause is not None:
                return pause

    async def _do(self, step: MoveStep, operation_id: str, view: MoveView) -> MoveView:
        if step is MoveStep.RETIRE:  # the interface is still there, of which they are asked
            await self._open_flows.told(view.sources)
        return await in_thread(self._perform, step, operation_id)

    def _carries(self, view: MoveView, reports: Reports) -> bool:
        """Tell whether the node that leaves has connections that go on for users who have moved."""
        found = (self._connections.get(node_id) for node_id in view.sources if reports.may_come(node_id))
        return any(
            connection is not None
            and any(each.config_id == view.config_id and each.carries for each in connection.reported.values())
            for connection in found
        )

    def _explain(self, operation_id: str) -> None:
        with self._store.write() as tx:
            operations.explain_wait(tx, operations.get(tx, operation_id), KEPT)

    def _read(self, operation_id: str) -> MoveView:
        with self._store.read() as tx:
            return self._seen(kinds.view(tx, operation_id))

    def _seen(self, view: MoveView) -> MoveView:
        return resumed(view, self._started_at, self._grace_s)

    def _perform(self, step: MoveStep, operation_id: str) -> MoveView:
        """Do a step, and read where the operation stands then: in one call, for clients may be without a node."""
        composed = None
        if step is MoveStep.BACKUP:
            with self._store.read() as tx:
                composed = kinds.compose(tx, self._vault, step, operation_id)
        with self._store.write() as tx:
            kinds.perform(
                tx,
                self._vault,
                step,
                operation_id,
                live_within_s=self._drain.live_s,
                clean_within_s=self._drain.unreachable_s,
                composed=composed,
            )
            return self._seen(kinds.view(tx, operation_id))
