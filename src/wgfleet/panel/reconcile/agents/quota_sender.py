"""Quotas, said to the nodes: all of them now and then, and in between those that changed.

A ceiling is a total of a node's counter, so the sum of a peer's ceilings bounds what it gets through, however old what
was read is. A holder gets no more than what the others leave: one of which something was taken may have come up to what
was said to it before, until its counters were read again.
"""

import asyncio
from collections.abc import Mapping
from math import inf

import structlog
from msgspec.structs import replace

from wgfleet.panel import clock
from wgfleet.panel.domain.jobs.quotas import bounded, is_news
from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.services.jobs.quotas import NodeQuota
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.quota import ENDLESS, MAX_QUOTAS, Quota, QuotaUpdate

WHOLE_EVERY_S = 60.0
AT_ONCE = 16
SETTLED_S = 0.5  # until an agent that heard it has the kernel hold it

Place = tuple[str, str]
Wanted = Mapping[Place, Mapping[str, NodeQuota]]
log = structlog.get_logger()


class QuotaSender:
    """Says quotas to the nodes of `connections` (by node id)."""

    def __init__(self, connections: Mapping[str, AgentConnection]) -> None:
        self._connections = connections
        self._said: dict[Place, dict[str, int]] = {}
        self._whole_at: dict[Place, float] = {}
        self._reached: dict[Place, dict[str, tuple[int, float]]] = {}
        """Up to where peers may have come before something was taken, and since when they cannot."""
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def send(self, wanted: Wanted, as_of: float) -> None:
        """Say what is new, as read at `as_of`; a node that does not answer hears it with the next call."""
        able = {
            node_id for node_id, line in self._connections.items() if line.connected and Feature.QUOTA in line.features
        }
        for place in [place for place in {*self._said, *self._reached} if place[0] not in able]:
            self._said.pop(place, None)
            self._reached.pop(place, None)
        self._forget_reached(as_of)
        bound = self._bounded(wanted, able)
        places = [place for place in {*bound, *self._said} if place[0] in able]
        await asyncio.gather(*(self._say(place, bound.get(place, {})) for place in places))

    def _forget_reached(self, as_of: float) -> None:
        """Forget up to where peers may have come at nodes whose counters were read since, and before `as_of`."""
        for (node_id, config_id), rows in list(self._reached.items()):
            asked, written = self._connections[node_id].usage_read
            kept = {key: each for key, each in rows.items() if written >= as_of or asked < each[1] + SETTLED_S}
            if kept:
                self._reached[node_id, config_id] = kept
            else:
                del self._reached[node_id, config_id]

    def _bounded(self, wanted: Wanted, able: set[str]) -> Wanted:
        """Leave at each holder what the others do not have. Nodes that are away keep what they have."""
        of_configs: dict[str, list[Place]] = {}
        for place in wanted:
            of_configs.setdefault(place[1], []).append(place)
        found = {place: dict(rows) for place, rows in wanted.items()}
        for place, rows in found.items():
            said, beside = self._said.get(place, {}), [each for each in of_configs[place[1]] if each != place]
            for key, each in rows.items():
                if not each.holds or key not in said or not beside:
                    continue
                others = [(self._open(other, key, wanted[other][key], able), wanted[other][key]) for other in beside]
                total = each.left + each.quota.counted + sum(other.quota.counted for _, other in others)
                ceiling = bounded(_ceiling(each), said[key], total, [reached for reached, _ in others])
                rows[key] = each._replace(quota=replace(each.quota, left=max(0, ceiling - each.quota.counted)))
        return found

    def _open(self, place: Place, key: str, wanted: NodeQuota, able: set[str]) -> int:
        """Return up to where a peer may have come at a node that does not hold it."""
        ceiling = max(_ceiling(wanted), wanted.quota.counted)
        if place[0] not in able:
            return ceiling
        said, (reached, _) = self._said.get(place, {}).get(key, 0), self._reached.get(place, {}).get(key, (0, 0.0))
        return max(ceiling, said, reached)

    async def _say(self, place: Place, quotas: Mapping[str, NodeQuota]) -> None:
        said, now = self._said.get(place), clock.monotonic()
        whole = said is None or now >= self._whole_at.get(place, 0.0)
        said = said or {}
        new = {
            key: each
            for key, each in quotas.items()
            if whole or is_news(_ceiling(each), said.get(key), each.left, holds=each.holds)
        }
        rows = [each.quota for each in new.values()]
        if not whole:
            rows += [Quota(PublicKey(key), -1, 0, ENDLESS) for key in said if key not in quotas]
        if not rows and not (whole and said):
            self._said[place] = said
            return
        try:
            async with self._turns:
                await self._call(place, rows, whole=whole)
        except (TransientError, PermanentError, PanelError) as error:
            log.info("quotas.not_said", node_id=place[0], error=str(error))
            self._note_unknown(place, said)
            self._said.pop(place, None)
            return
        if whole:
            self._whole_at[place] = now + WHOLE_EVERY_S
        heard = {key: _ceiling(each) for key, each in new.items()}
        self._note_taken(place, said, heard)
        self._said[place] = {key: ceiling for key, ceiling in said.items() if key in quotas} | heard
        if not quotas:
            del self._said[place]
            self._reached.pop(place, None)

    def _note_taken(self, place: Place, said: Mapping[str, int], new: Mapping[str, int]) -> None:
        """Note from whom something was taken."""
        reached = dict(self._reached.get(place, {}))
        for key, ceiling in new.items():
            most, since = reached.get(key, (0, 0.0))
            most = max(most, said.get(key, 0))
            if ceiling < most and (since == inf or ceiling < said.get(key, 0)):
                reached[key] = (most, clock.monotonic())
                asyncio.get_running_loop().call_later(SETTLED_S, self._ask, place[0])
        self._reached[place] = reached

    def _ask(self, node_id: str) -> None:
        """Have the counters of a node read soon."""
        if node_id in self._connections:
            self._connections[node_id].usage_ended = True

    def _note_unknown(self, place: Place, said: Mapping[str, int]) -> None:
        """Note that a node may have heard what was just said to it, or not."""
        reached = self._reached.setdefault(place, {})
        reached |= {key: (max(ceiling, reached.get(key, (0, 0.0))[0]), inf) for key, ceiling in said.items()}

    async def _call(self, place: Place, rows: list[Quota], *, whole: bool) -> None:
        node_id, config_id = place
        for start in range(0, max(1, len(rows)), MAX_QUOTAS):
            part = tuple(rows[start : start + MAX_QUOTAS])
            update = QuotaUpdate({ConfigId(config_id): part}, whole=whole and not start)
            await self._connections[node_id].client.quotas(update)


def _ceiling(each: NodeQuota) -> int:
    return each.quota.counted + each.quota.left
