"""Imports as calls: looked at without a lock, then made, few peers in one transaction and many in slices."""

import hashlib
from collections.abc import Sequence

import msgspec

from wgfleet.imports.fleet import ImportedInterface, ImportedTag
from wgfleet.panel import clock
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.api.peer_batches import ATTEMPTS, undo
from wgfleet.panel.api.previews import rehearsal
from wgfleet.panel.domain.import_choices import ImportChoice, chosen
from wgfleet.panel.domain.imports import PeerFate
from wgfleet.panel.errors import Conflict
from wgfleet.panel.reconcile.abandoned_batches import take_back
from wgfleet.panel.services import configs, import_checks, import_plans, import_rules, imports
from wgfleet.panel.services.access import standing
from wgfleet.panel.services.access.callers import SECRETS, Caller
from wgfleet.panel.services.fleet import ownership, peer_batches
from wgfleet.panel.services.fleet.peers import PeerDraft
from wgfleet.panel.services.import_plans import ImportPlan, ImportTarget
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.reasons import Reason

SLICE = 50  # peers, or tags, in a transaction: with limits and notes they take 20 ms, and 60 on PostgreSQL
AS_IT_WAS = ImportChoice()
UNDER_WAY_S = 5.0  # after which one of thousands of peers may have ended


class ImportRun:
    """A call that imports an interface into a config of that name; None: of its own."""

    def __init__(
        self,
        panel: Panel,
        caller: Caller,
        interface: ImportedInterface,
        name: str | None = None,
        tags: Sequence[ImportedTag] = (),
        choice: ImportChoice = AS_IT_WAS,
    ) -> None:
        self._panel = panel
        self._store = panel.store
        self._caller = caller
        self._name = name or interface.name
        self._tags = tags
        self._hosts = panel.hosts()
        import_checks.check_source(interface)
        self._choice = import_plans.parsed_choice(choice)
        self._interface, self._said = chosen(import_checks.with_public_key(interface), self._choice)

    def plan(self) -> ImportPlan:
        """Say what it does. Nobody waits for it, but for the moment in which a config is made to see if that can be."""
        if self._is_large() and self._store.is_held(self._same()):
            raise self._under_way()
        return self._plan()

    def _plan(self) -> ImportPlan:
        with self._store.read() as tx:
            target = import_plans.existing(tx, self._interface, self._name, self._choice)
        if target is None:
            with rehearsal(self._panel) as tx:
                target = self._make_config(tx)
        with self._store.read() as tx:
            return import_plans.plan(
                tx,
                target,
                self._interface,
                tag_colors=self._tags,
                panel_hosts=self._hosts,
                may_own=self._caller.may(SECRETS),
                said=self._said,
            )

    def make(self) -> ImportPlan:
        """Do it, all or nothing. One of many peers is made once at a time, by one of those who ask for the same."""
        take_back(self._store)
        if not self._is_large():
            return self._make()
        with self._store.holding(self._same()) as nobody_else:
            if not nobody_else:
                raise self._under_way()
            return self._make()

    def _is_large(self) -> bool:
        return len(self._interface.peers) > SLICE

    def _same(self) -> str:
        """Return what equal imports have in common."""
        whole = msgspec.json.encode((self._name, self._interface, list(self._tags)))
        return f"import {hashlib.blake2b(whole).hexdigest()}"

    def _under_way(self) -> Conflict:
        return Conflict(
            Reason(
                "this same import of {name!r} is under way; wait for its end, after which this call changes nothing",
                name=self._name,
            ),
            retry_after_s=UNDER_WAY_S,
        )

    def _make(self) -> ImportPlan:
        """Make it. Where others were quicker, it is planned again."""
        attempts = ATTEMPTS
        while True:
            plan = self._plan()
            drafts = imports.draft(self._panel.vault, plan)
            attempts -= 1
            try:
                if max(len(drafts), len(plan.tags), len(plan.rule_sets)) <= SLICE:
                    self._at_once(plan, drafts)
                else:
                    self._in_slices(plan, drafts)
            except Conflict:
                if not attempts:
                    raise
            else:
                return plan

    def _at_once(self, plan: ImportPlan, drafts: Sequence[PeerDraft]) -> None:
        with self._store.write() as tx:
            _hold_owners(tx, plan, drafts)
            config = self._config(tx, plan)
            imports.make_tags(tx, self._caller.actor, plan.tags)
            import_rules.make(tx, self._caller.actor, plan.rule_sets)
            imports.make_peers(tx, self._caller.actor, config, plan, drafts, self._hosts)

    def _in_slices(self, plan: ImportPlan, drafts: Sequence[PeerDraft]) -> None:
        batch_id = clock.new_id()
        with self._store.holding(batch_id):
            with self._store.write() as tx:
                config = self._config(tx, plan)
                imports.begin(tx, batch_id, config, plan, drafts)
            try:
                self._slices(batch_id, config.id, plan, drafts)
            except BaseException as error:
                undo(self._store, self._caller.actor, batch_id, error)
                raise

    def _slices(self, batch_id: str, config_id: str, plan: ImportPlan, drafts: Sequence[PeerDraft]) -> None:
        for first in range(0, len(plan.tags), SLICE):
            with self._store.write() as tx:
                standing.check(tx, self._caller, config_id)
                imports.make_tags(tx, self._caller.actor, plan.tags[first : first + SLICE], batch_id)
        for first in range(0, len(plan.rule_sets), SLICE):
            with self._store.write() as tx:
                standing.check(tx, self._caller, config_id)
                import_rules.make(tx, self._caller.actor, plan.rule_sets[first : first + SLICE], batch_id)
        later = peer_batches.wanted(drafts)
        for first in range(0, len(drafts), SLICE):
            part = slice(first, first + SLICE)
            later -= peer_batches.wanted(drafts[part])
            with self._store.write() as tx:
                standing.check(tx, self._caller, config_id)
                _hold_owners(tx, plan, drafts[part], first)
                imports.add(tx, batch_id, configs.get(tx, config_id), plan, drafts, part, later, self._hosts)
        with self._store.write() as tx:
            standing.check(tx, self._caller, config_id)
            _hold_owners(tx, plan, drafts)  # of all: what was deleted meanwhile was not made
            imports.complete(tx, batch_id, self._caller.actor, configs.get(tx, config_id), plan, drafts)

    def _config(self, tx: Tx, plan: ImportPlan) -> Config:
        return self._make_config(tx).config if plan.target.created else configs.get(tx, plan.target.config.id)

    def _make_config(self, tx: Tx) -> ImportTarget:
        return imports.make_config(tx, self._panel.vault, self._caller.actor, self._interface, self._name, self._hosts)


def _hold_owners(tx: Tx, plan: ImportPlan, drafts: Sequence[PeerDraft], first: int = 0) -> None:
    """Refuse new peers, of all those from the number `first` on, whose owners are not what they were when planned."""
    new = [i for i, each in enumerate(plan.peers) if each.fate is PeerFate.NEW]
    with import_checks.numbered(new, [plan.peers[i].name for i in new]):
        ownership.hold(tx, drafts, field=import_checks.FIELD, first=first)
