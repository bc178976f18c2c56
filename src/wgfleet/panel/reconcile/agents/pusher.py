"""The push cycle of a node: do what its rows ask for that its agent lacks.

Each push, cleanup, confirmation and renewal is an errand of its own. What takes access away goes first (users that were
deleted or have moved, fences, interfaces), then the certificate, then the rest.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from functools import partial

from wgfleet.panel import clock
from wgfleet.panel.agents.allowance import Allowance
from wgfleet.panel.agents.answers import AgentRefused, told_of
from wgfleet.panel.agents.authorities import Authorities
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.reconcile.agents.certificate_errands import CertificateErrands
from wgfleet.panel.reconcile.agents.cleanups import Cleanups
from wgfleet.panel.reconcile.agents.connection import AgentConnection, Reported
from wgfleet.panel.reconcile.agents.errands import Errand, Errands
from wgfleet.panel.reconcile.agents.first_look import Seen, closer_cause
from wgfleet.panel.reconcile.agents.node_cycle import NodeCycle
from wgfleet.panel.reconcile.agents.node_work import NodeWork, Wanted, WorkReader
from wgfleet.panel.reconcile.agents.routine_news import RoutineNews
from wgfleet.panel.reconcile.engine.threads import Work, doing, in_thread
from wgfleet.panel.services import audit, generations
from wgfleet.panel.services.fleet import assignments
from wgfleet.panel.store import Store
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.vault import Vault
from wgfleet.protocol.desired import UNKNOWN_FIELD, DesiredInterface, InterfaceDelta
from wgfleet.protocol.messages import Applied
from wgfleet.protocol.reasons import Reason, joined

# A node has one history that we lost, and is behind ours once we went beyond it. Each time, all nodes of the config get
# the whole: one must not have the others work at its pace.
OVERTAKINGS, OVERTAKEN_EVERY_S = 2, 600.0


async def unseen(_config_id: str, _node_id: str) -> Seen:
    """Look at nothing: the agent's word is enough."""
    return Seen()


class Pusher:
    """Pushes to nodes what their rows ask for, over connections that others keep up.

    `look`: what a look at a node that joins a config has found, by their ids. `news`: who writes what nobody waits for;
    None: it is written at once.
    """

    def __init__(
        self,
        store: Store,
        vault: Vault,
        authorities: Authorities,
        certificate_days: int,
        connections: Mapping[str, AgentConnection] | None = None,
        news: RoutineNews | None = None,
    ) -> None:
        self._store = store
        self._news = news
        self._work = WorkReader(store, vault, authorities, certificate_days)
        self._certificates = CertificateErrands(store, authorities, certificate_days, connections or {})
        self._errands = Errands()
        self._cleanups = Cleanups(store)
        self.look: Callable[[str, str], Awaitable[Seen]] = unseen
        self._doubted: set[tuple[str, str]] = set()
        self._overtakings = defaultdict[tuple[str, str], Allowance](
            lambda: Allowance(OVERTAKINGS, 1 / OVERTAKEN_EVERY_S)
        )

    async def close(self) -> None:
        """End what is under way; safe to call twice."""
        await self._errands.close()

    async def cycle(self, connection: AgentConnection) -> NodeCycle:
        """Do one cycle."""
        if not connection.connected:
            self._errands.forgive(connection.node_id)
            return NodeCycle(Reason("cannot be managed: {trouble}", trouble=connection.trouble))
        about = connection.node_id, dict(connection.reported), connection.features, connection.issuer
        work = await in_thread(self._work.read, *about)
        errands = self._in_order(connection, work)
        outcome = await self._errands.run(connection.node_id, errands, connection.look_again)
        said = [*outcome.troubles, *filter(None, outcome.done)]
        if not said:
            return NodeCycle(Reason("in sync"), idle=True)
        routine = self._news is not None and not outcome.troubles
        return NodeCycle(joined(said), again_in_s=outcome.again_in_s, routine=routine)

    def _in_order(self, connection: AgentConnection, work: NodeWork) -> list[Errand]:
        # A stray of that name would be in the way.
        taken = {stray.interface for stray in work.strays}
        pushes = sorted(
            (each for each in work.wanted if (each.push or each.unreadable) and each.interface not in taken),
            key=lambda it: not it.takes_away,
        )
        urgent = [self._push_errand(connection, wanted) for wanted in pushes if wanted.takes_away]
        others = [self._push_errand(connection, wanted) for wanted in pushes if not wanted.takes_away]
        cleanups = self._cleanups.errands(connection, work.cleanups, work.strays)
        # Before all else: who holds a stolen certificate of a panel could undo the rest.
        revoked = self._certificates.errands(connection, work.revoked)
        renewal = Errand("the certificate", work.renewal, partial(self._certificates.renew, connection), light=True)
        confirmations = [
            Errand(f"confirming {each.interface}", each.has, partial(self._confirmed, connection, each, each.has))
            for each in work.wanted
            if each.unconfirmed
            and each.has is not None
            and each.push is None
            and each.unreadable is None
            and not (self._news is not None and self._news.has(connection.node_id, each.has))
        ]
        unmutes = [
            Errand(
                f"unmuting {each.interface}", each.has, partial(self._unmute, connection, each.interface), light=True
            )
            for each in work.wanted
            if each.has is not None and each.has.muted is not None and each.push is None and each.unreadable is None
        ]
        due = [renewal] if work.renewal is not None else []
        return [*revoked, *unmutes, *urgent, *cleanups, *due, *others, *confirmations]

    def _push_errand(self, connection: AgentConnection, wanted: Wanted) -> Errand:
        base = wanted.push.base if isinstance(wanted.push, InterfaceDelta) else None
        history = "" if wanted.push is None else wanted.push.history
        mark = (base, wanted.generation, history, connection.features)
        return Errand(wanted.interface, mark, partial(self._push, connection, wanted))

    async def _push(self, connection: AgentConnection, wanted: Wanted) -> str:
        try:
            return await self._push_or_fail(connection, wanted)
        except (PermanentError, TransientError) as error:
            await in_thread(self._say, connection.node_id, wanted.config_id, told_of(error))
            raise

    async def _push_or_fail(self, connection: AgentConnection, wanted: Wanted) -> str:
        if wanted.push is None:
            raise wanted.unreadable or PermanentError(Reason("there is nothing to push"))
        try:
            applied = await connection.client.push(wanted.push, wanted.shared)
        except AgentRefused as error:
            return await self._refused(connection, wanted, error)
        if applied.generation != wanted.push.generation:
            raise TransientError(
                Reason(
                    "the agent answers with generation {generation}, not {wanted}",
                    generation=applied.generation,
                    wanted=wanted.push.generation,
                )
            )
        form = Reason("whole") if isinstance(wanted.push, DesiredInterface) else Reason("delta")
        summary = Reason(
            "{interface} at generation {generation} ({form}, {verdict})",
            interface=wanted.interface,
            generation=applied.generation,
            form=form,
            verdict=_verdict(applied),
        )
        reported = Reported(
            wanted.config_id, applied.generation, applied.drift, applied.held, summary, wanted.push.history,
            rivals=wanted.has.rivals if wanted.has is not None else (),
            forwarding=wanted.has.forwarding if wanted.has is not None else (),
        )  # fmt: skip
        connection.applied(wanted.interface, reported)
        connection.usage_ended |= wanted.takes_away
        await self._confirm_or_object(connection.node_id, wanted, reported)
        return summary

    async def _confirmed(self, connection: AgentConnection, wanted: Wanted, has: Reported) -> str:
        await self._confirm_or_object(connection.node_id, wanted, has)
        return ""

    async def _confirm_or_object(self, node_id: str, wanted: Wanted, has: Reported) -> None:
        if self._news is not None:
            if wanted.is_routine(has):
                self._news.keep(node_id, has)
                return
            self._news.forget(node_id, wanted.config_id)
        seen = closer_cause(await self.look(wanted.config_id, node_id), has.drift, has.summary)
        with doing(Work.URGENT) if wanted.urgent else nullcontext():
            await in_thread(self._confirm, node_id, wanted.config_id, has, seen)
        if seen.objection is not None:
            raise TransientError(seen.objection)

    async def _unmute(self, connection: AgentConnection, interface: str) -> str:
        await connection.client.unmute(interface)
        return Reason("{interface} may send again", interface=interface)

    async def _refused(self, connection: AgentConnection, wanted: Wanted, error: AgentRefused) -> str:
        """Act on what the agent holds instead; what the panel cannot repair is written to the assignment."""
        refusal = error.refusal
        # A whole has no base: who says so of one is to be asked ever more rarely.
        if refusal.reason == "base_mismatch" and isinstance(wanted.push, InterfaceDelta):
            # What we knew of it was stale: without a base, the next cycle sends the whole.
            connection.forget(wanted.interface)
            return Reason(
                "{interface}: the agent is at generation {generation}; sending the whole",
                interface=wanted.interface,
                generation=refusal.generation,
            )
        if refusal.reason == "older_generation" and refusal.generation is not None:
            await in_thread(self._overtake, connection.node_id, wanted, refusal.generation)
            connection.forget(wanted.interface)
            return Reason(
                "{interface}: the agent had generation {generation} already; going beyond it",
                interface=wanted.interface,
                generation=refusal.generation,
            )
        if refusal.reason == "bad_field" and UNKNOWN_FIELD in refusal.detail and connection.features:
            connection.distrust()
            return Reason(
                "{interface}: {refusal} to the agent; sending what an agent of 0.1.0 knows",
                interface=wanted.interface,
                refusal=refusal.detail,
            )
        if refusal.reason == "bad_field" and isinstance(wanted.push, InterfaceDelta):
            # It does not fit what was changed there by hand; the whole replaces that.
            connection.forget(wanted.interface)
            return Reason(
                "{interface}: the agent refuses the delta ({refusal}); sending the whole",
                interface=wanted.interface,
                refusal=refusal.detail,
            )
        raise error

    def _confirm(self, node_id: str, config_id: str, reported: Reported, seen: Seen) -> None:
        with self._store.write() as tx:
            assignments.confirmed(
                tx,
                config_id,
                node_id,
                reported.generation,
                reported.drift,
                reported.summary,
                held=reported.held,
                rivals=dict(reported.rivals),
                forwarding=reported.forwarding,
                first_look=seen.first_look,
                objection=seen.objection,
            )

    def _say(self, node_id: str, config_id: str, summary: str) -> None:
        with self._store.write() as tx:
            assignment = assignment_rows.get(tx, config_id, node_id)
            if assignment is not None and assignment.summary != summary:
                assignment_rows.applied(tx, assignment.id, summary=summary)

    def _overtake(self, node_id: str, wanted: Wanted, generation: int) -> None:
        claim = Reason(
            "the agent claims generation {generation}, and the panel is at {panel} only",
            generation=generation,
            panel=wanted.generation,
        )
        member = (node_id, wanted.config_id)
        with self._store.write() as tx:
            plausible = generations.is_plausible(tx, wanted.config_id, generation)
            if plausible and self._overtakings[member].take(1, clock.monotonic()):
                generations.overtake(tx, wanted.config_id, generation)
                return
            if not plausible and member not in self._doubted:
                self._doubted.add(member)
                about = {"config_id": wanted.config_id, "generation": wanted.generation, "claimed": generation}
                audit.record(tx, audit.PANEL, "claim_refused", "node", node_id, **about)
        way_out = Reason("remove the interface there, or the node's state directory, if the node can be trusted")
        if not plausible:
            raise PermanentError(
                Reason("{claim}: not believed, so nothing reaches it; {way_out}", claim=claim, way_out=way_out)
            )
        again_in_s = self._overtakings[member].wait_s(1)
        again = Reason(
            "it has been overtaken several times, and is again in {minutes:.0f} minutes", minutes=again_in_s / 60
        )
        raise TransientError(
            Reason(
                "{claim}: {again}, so nothing reaches it until then; {way_out}",
                claim=claim,
                again=again,
                way_out=way_out,
            ),
            retry_after_s=again_in_s,
        )


def _verdict(applied: Applied) -> str:
    if not applied.verified:
        return Reason("{count} fields differ", count=len(applied.drift))
    return Reason("verified in {seconds:.2f} s", seconds=applied.seconds)
