"""The push cycle of a node: read what it must have, compare with what its agent reports, push the difference."""

from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.agents.authority import Authority, certificate_expires_at, renewal_due
from wgfleet.panel.agents.client import AgentRefused
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.reconcile.agents.connection import AgentConnection, Reported
from wgfleet.panel.reconcile.agents.render_cache import RenderCache
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import audit, generations
from wgfleet.panel.services.fleet import assignments, desired, nodes
from wgfleet.panel.services.floating import holders
from wgfleet.panel.store import Store, Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import Assignment, Cleanup, Config
from wgfleet.panel.vault import Vault
from wgfleet.protocol import features
from wgfleet.protocol.desired import UNKNOWN_FIELD, DesiredInterface, InterfaceDelta, Push
from wgfleet.protocol.features import Feature
from wgfleet.protocol.messages import Applied


@dataclass(frozen=True, slots=True)
class Wanted:
    """One interface: its config, the generation that it must have, and the push that gets it there (None: it is)."""

    config_id: str
    interface: str
    generation: int
    push: Push | None
    unconfirmed: bool


@dataclass(frozen=True, slots=True)
class NodeWork:
    """What a node's rows ask for, read in one transaction."""

    wanted: tuple[Wanted, ...]
    cleanups: tuple[Cleanup, ...]
    certificate_due: bool


@dataclass(frozen=True, slots=True)
class NodeCycle:
    """Result of one cycle: a sentence for people on what it did, or why not; `idle`: there was nothing to do."""

    summary: str
    idle: bool = False


class Pusher:
    """Pushes to nodes what their rows ask for, over connections that others keep up."""

    def __init__(self, store: Store, vault: Vault, authority: Authority, certificate_days: int) -> None:
        self._store = store
        self._vault = vault
        self._authority = authority
        self._certificate_days = certificate_days
        self._renderings = RenderCache()

    async def cycle(self, connection: AgentConnection) -> NodeCycle:
        """Do one cycle."""
        if not connection.connected:
            return NodeCycle(f"cannot be managed: {connection.trouble}")
        work = await in_thread(self._read, connection.node_id, dict(connection.reported), connection.features)
        done: list[str] = []
        for owed in work.cleanups:
            await connection.client.delete(owed.interface, owed.config_id, owed.generation)
            await in_thread(self._note_cleaned, owed)
            done.append(f"deleted {owed.interface}")
        for wanted in work.wanted:
            if wanted.push is not None:
                done.append(await self._push(connection, wanted))
            elif wanted.unconfirmed:
                await in_thread(
                    self._confirm, connection.node_id, wanted.config_id, connection.reported[wanted.interface]
                )
        if work.certificate_due:
            await self._renew(connection)
            done.append("certificate renewed")
        return NodeCycle("; ".join(done)) if done else NodeCycle("in sync", idle=True)

    async def _push(self, connection: AgentConnection, wanted: Wanted) -> str:
        if wanted.push is None:
            return ""
        try:
            applied = await connection.client.push(wanted.push)
        except AgentRefused as error:
            return await self._refused(connection, wanted, error)
        form = "whole" if isinstance(wanted.push, DesiredInterface) else "delta"
        summary = f"{wanted.interface} at generation {applied.generation} ({form}, {_verdict(applied)})"
        reported = Reported(wanted.config_id, applied.generation, applied.drift, applied.held, summary)
        connection.applied(wanted.interface, reported)
        await in_thread(self._confirm, connection.node_id, wanted.config_id, reported)
        return summary

    async def _refused(self, connection: AgentConnection, wanted: Wanted, error: AgentRefused) -> str:
        """Act on what the agent holds instead; what the panel cannot repair is written to the assignment."""
        refusal = error.refusal
        if refusal.reason == "base_mismatch":
            # What we knew of it was stale: without a base, the next cycle sends the whole.
            connection.forget(wanted.interface)
            return f"{wanted.interface}: the agent is at generation {refusal.generation}; sending the whole"
        if refusal.reason == "older_generation" and refusal.generation is not None:
            await in_thread(self._overtake, wanted.config_id, refusal.generation)
            connection.forget(wanted.interface)
            return f"{wanted.interface}: the agent had generation {refusal.generation} already; going beyond it"
        if refusal.reason == "bad_field" and UNKNOWN_FIELD in refusal.detail and connection.features:
            connection.distrust()
            return f"{wanted.interface}: {refusal.detail} to the agent; sending what an agent of 0.1.0 knows"
        if refusal.reason == "bad_field" and isinstance(wanted.push, InterfaceDelta):
            # It does not fit what was changed there by hand; the whole replaces that.
            connection.forget(wanted.interface)
            return f"{wanted.interface}: the agent refuses the delta ({refusal.detail}); sending the whole"
        await in_thread(self._say, connection.node_id, wanted.config_id, refusal.detail)
        raise error

    def _read(self, node_id: str, reported: dict[str, Reported], known: frozenset[Feature] = features.ALL) -> NodeWork:
        with self._store.read() as tx:
            wanted = []
            awaited, contested = floating_rows.leaving(tx, node_id), floating_rows.contested(tx, node_id)
            for assignment, config in assignment_rows.of_node(tx, node_id):
                if assignment.phase == Phase.REMOVED:
                    continue
                has = reported.get(config.name)
                push = self._missing(tx, config, assignment, has, known)
                unconfirmed = (
                    assignment.applied_generation != config.generation
                    or assignment.phase == Phase.JOINING
                    or (has is not None and assignments.described(has.drift) != assignment.drift)
                    or any(has and holders.has_left(row, has.generation, has.held) for row in awaited[config.id])
                    or any(has and holders.is_taken(row, has.held) for row in contested if row.config_id == config.id)
                )
                wanted.append(Wanted(config.id, config.name, config.generation, push, unconfirmed))
            expires_at = nodes.get(tx, node_id).certificate_expires_at
            due = expires_at is not None and renewal_due(expires_at, clock.now(), self._certificate_days)
            return NodeWork(tuple(wanted), tuple(assignment_rows.cleanups(tx, node_id)), due)

    def _missing(
        self, tx: Tx, config: Config, assignment: Assignment, has: Reported | None, known: frozenset[Feature]
    ) -> Push | None:
        """Render what a node lacks of a config; None where it has everything."""
        applied = has.generation if has is not None and has.config_id == config.id else None
        base = desired.usable_base(config, assignment, applied)
        if base == config.generation:
            return None

        def render() -> Push:
            return desired.push(tx, self._vault, config, assignment, base, known)

        if desired.alike(tx, config, assignment, base):
            return self._renderings.get((config.id, base, config.generation, known), render)
        return render()

    def _confirm(self, node_id: str, config_id: str, reported: Reported) -> None:
        with self._store.write() as tx:
            assignments.confirmed(
                tx,
                config_id,
                node_id,
                reported.generation,
                reported.drift,
                reported.summary,
                held=reported.held,
            )

    def _say(self, node_id: str, config_id: str, summary: str) -> None:
        with self._store.write() as tx:
            assignment = assignment_rows.get(tx, config_id, node_id)
            if assignment is not None:
                assignment_rows.applied(tx, assignment.id, summary=summary)

    def _note_cleaned(self, owed: Cleanup) -> None:
        with self._store.write() as tx:
            assignments.cleaned(tx, owed)

    def _overtake(self, config_id: str, generation: int) -> None:
        with self._store.write() as tx:
            generations.overtake(tx, config_id, generation)

    async def _renew(self, connection: AgentConnection) -> None:
        csr = await connection.client.request_certificate()
        certificate = self._authority.issue_agent(csr, connection.node_id, clock.now(), self._certificate_days)
        await connection.client.install_certificate(certificate, self._authority.certificate_pem)
        await in_thread(self._renewed, connection.node_id, certificate_expires_at(certificate))

    def _renewed(self, node_id: str, expires_at: float) -> None:
        with self._store.write() as tx:
            node_rows.set_values(tx, node_id, {"certificate_expires_at": expires_at})
            audit.record(tx, audit.PANEL, "certificate_renewed", "node", node_id, certificate_expires_at=expires_at)


def _verdict(applied: Applied) -> str:
    if not applied.verified:
        return f"{len(applied.drift)} fields differ"
    return f"verified in {applied.seconds:.2f} s"
