"""Succession: a panel that is superseded stops deciding, and one that is said to be restored takes its new name.

It asks the connections who obeys this panel; `domain.succession` says what that means. The outlook has the result, and
all that act on the world look there first.
"""

from collections.abc import Callable, Mapping

import structlog

from wgfleet.panel import clock
from wgfleet.panel.domain.succession import is_superseded
from wgfleet.panel.reconcile.agents.connections import Connections
from wgfleet.panel.reconcile.engine.tasks import keep_looking
from wgfleet.panel.reconcile.engine.threads import in_decision_thread
from wgfleet.panel.reconcile.outlook import Outlook
from wgfleet.panel.services import incarnations
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault
from wgfleet.protocol.panel_name import PanelName
from wgfleet.protocol.reasons import Reason

LOOK_S = 0.5
LASTS_S = 5.0  # by then every node has had its time to answer a panel that has just started

log = structlog.get_logger()


class Succession:
    """Runs until its task is cancelled. `resume` is called when this panel decides (again)."""

    def __init__(
        self, store: Store, vault: Vault, connections: Connections, outlook: Outlook, resume: Callable[[], None]
    ) -> None:
        self._store = store
        self._vault = vault
        self._connections = connections
        self._outlook = outlook
        self._resume = resume
        self._since: float | None = None
        self._noted = outlook.superseded is not None
        self._proofs: dict[str, PanelName | None] = {}

    async def run(self) -> None:
        """Look, again and again."""
        await keep_looking(self.look, LOOK_S, "succession.not_known")

    async def look(self) -> None:
        """Look once."""
        ours = self._connections.panel
        if (name := await in_decision_thread(self._restored, ours)) is not None:
            log.warning("panel.restored", incarnation=name.number)
            self._connections.rename(name)
            self._noted = False
            self._decides()
            return
        self._outlook.refused_by = sum(connection.older for connection in self._connections.values())
        refusing = self._refusing(ours)
        obeying = {node_id for node_id, connection in self._connections.items() if connection.connected}
        before = self._outlook.superseded
        if before is None and not refusing:
            return
        in_use = await in_decision_thread(self._in_use)
        if not is_superseded(in_use, obeying, before=before is not None, proven=bool(refusing)):
            if before is not None:
                await self._obeyed_again(ours)
            return
        if before is None:
            self._since = clock.monotonic()
            newest = max(refusing.values(), key=lambda each: each.number)
            self._outlook.superseded = before = _reason(ours, newest, len(in_use & obeying), len(in_use))
        if not self._noted and clock.monotonic() - (self._since or 0.0) >= LASTS_S:
            log.error("panel.superseded", incarnation=ours.number, reason=before)
            await in_decision_thread(self._note, ours, before)
            self._noted = True

    def _refusing(self, ours: PanelName) -> Mapping[str, PanelName]:
        """Return the nodes whose agents have shown a proof that they obeyed a newer panel, and its name."""
        shown = {node_id: connection.older_proof for node_id, connection in self._connections.items()}
        self._proofs = {
            proof: self._proofs[proof] if proof in self._proofs else incarnations.proven(self._vault, proof)
            for proof in filter(None, shown.values())
        }
        found = {node_id: self._proofs.get(proof or "") for node_id, proof in shown.items()}
        return {node_id: name for node_id, name in found.items() if name is not None and name.is_newer_than(ours)}

    async def _obeyed_again(self, ours: PanelName) -> None:
        if self._noted:
            log.warning("panel.obeyed_again", incarnation=ours.number)
            await in_decision_thread(self._note, ours, None)
            self._noted = False
        self._decides()

    def _decides(self) -> None:
        self._outlook.superseded = None
        self._resume()

    def _restored(self, ours: PanelName) -> PanelName | None:
        """Return the name of a new incarnation where somebody said that this database counts; None: nobody did.

        Not the one that is in the rows: another panel that decides by now may have drawn that. Who no longer decides
        can draw none.
        """
        with self._store.read() as tx:
            row = incarnations.newest(tx)
            if row is None or row.number == ours.number:
                return None
        with self._store.write() as tx:
            return incarnations.name(tx, self._vault, incarnations.begin(tx))

    def _in_use(self) -> frozenset[str]:
        with self._store.read() as tx:
            return incarnations.in_use(tx)

    def _note(self, ours: PanelName, reason: str | None) -> None:
        with self._store.write() as tx:
            if reason is None:
                incarnations.obeyed_again(tx, ours.number)
            else:
                incarnations.supersede(tx, ours.number, reason)


def _reason(ours: PanelName, newest: PanelName, obeying: int, in_use: int) -> str:
    return Reason(
        "another panel, on a newer copy of this database (start {newest}, this one is {ours}), has been "
        "obeyed by nodes; {obeying} of {in_use} nodes in use obey this one, which is not more than half",
        newest=newest.number,
        ours=ours.number,
        obeying=obeying,
        in_use=in_use,
    )
