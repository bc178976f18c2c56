"""Cleanups of a node: the interfaces that it still owes us to delete, and strays, which no row here knows of.

A stray is what the node got from a panel in a time that this database does not know: it was restored from a copy.
Nothing is revoked on it, and its name would be in the way of a config of ours. What no panel made is left alone.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import structlog

from wgfleet.panel.agents.answers import AgentRefused
from wgfleet.panel.reconcile.agents.connection import AgentConnection, Reported
from wgfleet.panel.reconcile.agents.errands import Errand
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services.fleet import assignments
from wgfleet.panel.store import Store
from wgfleet.panel.store.tables import Cleanup
from wgfleet.protocol.reasons import Reason

# Refusals of a cleanup that say that nothing of ours is there.
NOT_OURS = {"foreign_interface", "other_config", "not_found", "bad_field"}

log = structlog.get_logger()


class Stray(NamedTuple):
    """An interface that an agent reports, and that belongs to no config that its node carries or left."""

    interface: str
    config_id: str
    generation: int


def strays(reported: Mapping[str, Reported], carried: Collection[str], owed: Iterable[Cleanup]) -> tuple[Stray, ...]:
    """Find the strays among what an agent reports; `carried` are the ids of the configs that its node carries.

    Only what has a history was pushed by a panel of this release; the rest may be somebody's work by hand.
    """
    known = {*carried, *(each.config_id for each in owed)}
    return tuple(
        Stray(name, each.config_id, each.generation)
        for name, each in reported.items()
        if each.history and each.config_id not in known
    )


class Cleanups:
    """Makes the errands that delete interfaces."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def errands(self, connection: AgentConnection, owed: Iterable[Cleanup], found: Iterable[Stray]) -> list[Errand]:
        """Return an errand for each."""
        return [
            *(
                Errand(f"deleting {each.interface}", each.id, partial(self._clean, connection, each), light=True)
                for each in owed
            ),
            *(
                Errand(f"deleting stray {each.interface}", each, partial(self._clear, connection, each), light=True)
                for each in found
            ),
        ]

    async def _clean(self, connection: AgentConnection, owed: Cleanup) -> str:
        try:
            try:
                await connection.client.delete(owed.interface, owed.config_id, owed.generation)
            except AgentRefused as error:
                refusal = error.refusal
                if refusal.reason != "older_generation" or refusal.generation is None:
                    raise
                # It has the interface from a history that this database does not know, and must not keep it.
                await connection.client.delete(owed.interface, owed.config_id, refusal.generation)
        except AgentRefused as error:
            if error.refusal.reason not in NOT_OURS:
                raise
            reason = Reason("{refusal} ({reason})", refusal=error.refusal.detail, reason=error.refusal.reason)
            await in_thread(self._note_cleaned, owed, reason)
            return Reason(
                "{interface} is not ours to delete: {refusal}", interface=owed.interface, refusal=error.refusal.detail
            )
        connection.usage_ended = True
        await in_thread(self._note_cleaned, owed)
        return Reason("deleted {interface}", interface=owed.interface)

    async def _clear(self, connection: AgentConnection, stray: Stray) -> str:
        await connection.client.delete(stray.interface, stray.config_id, stray.generation)
        connection.reported.pop(stray.interface, None)
        log.warning("stray.deleted", node_id=connection.node_id, **stray._asdict())
        await in_thread(self._note_cleared, connection.node_id, stray)
        return Reason("deleted {interface}, of a config that is not known here", interface=stray.interface)

    def _note_cleaned(self, owed: Cleanup, not_ours: str | None = None) -> None:
        with self._store.write() as tx:
            assignments.cleaned(tx, owed, not_ours)

    def _note_cleared(self, node_id: str, stray: Stray) -> None:
        with self._store.write() as tx:
            assignments.stray_deleted(tx, node_id, stray.interface, stray.config_id, stray.generation)
