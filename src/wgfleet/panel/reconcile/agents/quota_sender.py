"""Quotas, said to the nodes: all of them now and then, and in between those that changed."""

import asyncio
from collections.abc import Mapping

import structlog

from wgfleet.panel import clock
from wgfleet.panel.domain.jobs.quotas import is_news
from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.services.jobs.quotas import NodeQuota
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.quota import ENDLESS, MAX_QUOTAS, Quota, QuotaUpdate

WHOLE_EVERY_S = 60.0
AT_ONCE = 16

Wanted = Mapping[tuple[str, str], Mapping[str, NodeQuota]]
log = structlog.get_logger()


class QuotaSender:
    """Says quotas to the nodes of `connections` (by node id)."""

    def __init__(self, connections: Mapping[str, AgentConnection]) -> None:
        self._connections = connections
        self._said: dict[tuple[str, str], dict[str, int]] = {}
        self._whole_at: dict[tuple[str, str], float] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def send(self, wanted: Wanted) -> None:
        """Say what is new; a node that does not answer hears it with the next call."""
        able = {
            node_id for node_id, line in self._connections.items() if line.connected and Feature.QUOTA in line.features
        }
        for place in [place for place in self._said if place[0] not in able]:
            del self._said[place]
        places = [place for place in {*wanted, *self._said} if place[0] in able]
        await asyncio.gather(*(self._say(place, wanted.get(place, {})) for place in places))

    async def _say(self, place: tuple[str, str], quotas: Mapping[str, NodeQuota]) -> None:
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
            self._said.pop(place, None)
            return
        if whole:
            self._whole_at[place] = now + WHOLE_EVERY_S
        kept = {key: ceiling for key, ceiling in said.items() if key in quotas}
        self._said[place] = kept | {key: _ceiling(each) for key, each in new.items()}
        if not quotas:
            del self._said[place]

    async def _call(self, place: tuple[str, str], rows: list[Quota], *, whole: bool) -> None:
        node_id, config_id = place
        for start in range(0, max(1, len(rows)), MAX_QUOTAS):
            part = tuple(rows[start : start + MAX_QUOTAS])
            update = QuotaUpdate({ConfigId(config_id): part}, whole=whole and not start)
            await self._connections[node_id].client.quotas(update)


def _ceiling(each: NodeQuota) -> int:
    return each.quota.counted + each.quota.left
