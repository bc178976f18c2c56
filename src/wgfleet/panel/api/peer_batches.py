"""Many peers in one call: what is checked and numbered before, then a transaction for each slice, with pauses between.

All that costs time and needs no lock is done before the first slice.
"""

from collections.abc import Sequence

from wgfleet.panel import clock
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.errors import Conflict, PanelError
from wgfleet.panel.reconcile.abandoned_batches import take_back
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import standing
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.fleet import ownership, peer_batches, peer_places, peers
from wgfleet.panel.services.fleet.peer_batches import FIELD, SLICE
from wgfleet.panel.services.fleet.peers import Created, PeerDraft
from wgfleet.panel.store import Store, Tx
from wgfleet.panel.store.tables import Config

ATTEMPTS = 3  # where others take the numbers that were to be next


class PeerBatchCall:
    """A call that makes many peers. `prefix`: names are it and numbers from `first_number` on; None: the next ones."""

    def __init__(
        self, panel: Panel, caller: Caller, config: str, prefix: str | None = None, first_number: int | None = None
    ) -> None:
        self._store = panel.store
        self._caller = caller
        self._config = config
        self._prefix = prefix
        self._first_number = first_number
        self._hosts = panel.hosts()

    def make(self, drafts: Sequence[PeerDraft]) -> Created:
        """Make all of them, or none."""
        take_back(self._store)
        attempts = ATTEMPTS if self._prefix is not None and self._first_number is None else 1
        while True:
            attempts -= 1
            try:
                return self._at_once(drafts) if len(drafts) <= SLICE else self._in_slices(drafts)
            except Conflict:
                if not attempts:
                    raise

    def _at_once(self, drafts: Sequence[PeerDraft]) -> Created:
        with self._store.write() as tx:
            ownership.hold(tx, drafts, field=FIELD)
            config = configs.get(tx, self._config)
            named = self._beyond_others(tx, config, self._named(tx, config, drafts))
            return peers.create(tx, self._caller.actor, config, named, field=FIELD, panel_hosts=self._hosts)

    def _in_slices(self, drafts: Sequence[PeerDraft]) -> Created:
        with self._store.read() as tx:  # it refuses what cannot be made as a whole; each slice looks again
            config = configs.get(tx, self._config)
            named = self._named(tx, config, drafts)
            ownership.hold(tx, named, field=FIELD)
            peers.check(tx, config, named, field=FIELD, panel_hosts=self._hosts)
            peer_places.check_room(tx, config, len(named))
        batch_id = clock.new_id()
        with self._store.holding(batch_id):
            with self._store.write() as tx:
                config = configs.get(tx, config.id)
                named = self._beyond_others(tx, config, named)
                peer_batches.begin(tx, batch_id, config, named, self._prefix)
            try:
                return self._slices(batch_id, config.id, named)
            except BaseException as error:
                undo(self._store, self._caller.actor, batch_id, error)
                raise

    def _slices(self, batch_id: str, config_id: str, drafts: Sequence[PeerDraft]) -> Created:
        made, later = Created([], {}), peer_batches.wanted(drafts)
        for first in range(0, len(drafts), SLICE):
            part = drafts[first : first + SLICE]
            is_last = first + SLICE >= len(drafts)
            later -= peer_batches.wanted(part)
            with self._store.write() as tx:
                config = configs.get(tx, config_id)
                standing.check(tx, self._caller, config_id)
                # In the end once more those of all: what was deleted meanwhile was not made.
                ownership.hold(tx, drafts if is_last else part, field=FIELD, first=0 if is_last else first)
                some = peer_batches.add(tx, batch_id, config, part, first, panel_hosts=self._hosts, spoken_for=later)
                if is_last:
                    peer_batches.complete(tx, batch_id, self._caller.actor, config, drafts)
            made.columns.extend(some.columns)
            made.addresses.update(some.addresses)
        return made

    def _named(self, tx: Tx, config: Config, drafts: Sequence[PeerDraft]) -> Sequence[PeerDraft]:
        return drafts if self._prefix is None else peers.numbered(tx, config, self._prefix, drafts, self._first_number)

    def _beyond_others(self, tx: Tx, config: Config, drafts: Sequence[PeerDraft]) -> Sequence[PeerDraft]:
        if self._prefix is None or self._first_number is not None:
            return drafts
        return peer_batches.beyond_others(tx, config, self._prefix, drafts)


def undo(store: Store, actor: str, batch_id: str, error: BaseException) -> None:
    """Undo what a batch has made, which cannot be ended for an error."""
    try:
        more = True
        while more:
            with store.write() as tx:
                more = peer_batches.undo(tx, actor, batch_id)
    except PanelError as also:  # the core undoes it then
        error.add_note(f"not undone yet: {also}")
