"""Reach of witnesses, as rows: one that reaches none of the nodes that others reach is named to people."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from wgfleet.panel.domain.health.blindness import reach_of
from wgfleet.panel.domain.health.votes import HealthRules, Observed
from wgfleet.panel.reconcile.engine.threads import in_decision_thread
from wgfleet.panel.reconcile.sightings import Member
from wgfleet.panel.services.fleet import witnesses
from wgfleet.panel.services.health import Looker
from wgfleet.panel.store import Store

if TYPE_CHECKING:
    from wgfleet.protocol.ids import NodeId

LOOK_S = 1.0  # between two looks
FORGOTTEN_S = 60.0  # what one saw that is not asked any more is forgotten after this

log = structlog.get_logger()


class WitnessReach:
    """Keeps the rows of witnesses as the watch has them: changes that have lasted for `fresh_s`."""

    def __init__(self, store: Store, rules: HealthRules) -> None:
        self._store = store
        self._rules = rules
        self._due_at = 0.0
        self._looked_at: dict[Member, float] = {}  # when it was last known what a witness reaches
        self._differs_since: dict[Member, float] = {}  # by witness: since when its row is not true

    async def tell(self, lookers: Sequence[Looker], observed: Mapping[Member, Observed], now: float) -> None:
        """Write down which witnesses reach none of the nodes of a config that others reach, and how many these are."""
        if now < self._due_at or not lookers:
            return
        self._due_at = now + LOOK_S
        changed = self._changed(lookers, observed, now)
        if changed:
            await in_decision_thread(self._keep, changed)

    def _changed(self, lookers: Sequence[Looker], observed: Mapping[Member, Observed], now: float) -> dict[Member, int]:
        by_config: dict[str, dict[NodeId, Observed]] = defaultdict(dict)
        for (config_id, node_id), seen in observed.items():
            by_config[config_id][node_id] = seen
        confirming = {looker.node_id for looker in lookers}
        reach = {config_id: reach_of(seen, self._rules, now, confirming) for config_id, seen in by_config.items()}
        changed: dict[Member, int] = {}
        for looker in lookers:
            member = looker.config_id, looker.node_id
            found = reach.get(looker.config_id, {}).get(looker.node_id)
            if found is not None:
                self._looked_at[member] = now
            elif now - self._looked_at.setdefault(member, now) < FORGOTTEN_S:
                continue
            missed = len(found.missed) if found is not None and found.is_blind() else 0
            if missed == looker.unreached:
                self._differs_since.pop(member, None)
            elif now - self._differs_since.setdefault(member, now) >= self._rules.fresh_s:
                del self._differs_since[member]
                changed[member] = missed
        return changed

    def _keep(self, changed: Mapping[Member, int]) -> None:
        with self._store.write() as tx:
            witnesses.note_unreached(tx, changed)
        for (config_id, node_id), missed in changed.items():
            log.warning("health.witness_reach", config_id=config_id, witness=node_id, unreached=missed)
