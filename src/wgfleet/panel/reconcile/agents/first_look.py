"""A first look at a node that joins: users are sent there once its WireGuard has answered, not before.

The panel probes it; where that gets no answer, so do the agents of other nodes of the config. `domain.first_look` says
what the answers mean.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from wgfleet.panel import clock
from wgfleet.panel.domain.first_look import FirstLook, verdict
from wgfleet.panel.domain.health.paths import DEFAULT_LONGEST_TIMEOUT_S
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.panel.reconcile.agents.connection import AgentConnection
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.services import health
from wgfleet.panel.services.health import Newcomer, Probed, Vantage
from wgfleet.panel.store import Store
from wgfleet.panel.vault import Vault
from wgfleet.probing.prober import Prober
from wgfleet.probing.series import probe_series
from wgfleet.protocol.diff import Drift
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.messages import ProbeRequest, ProbeTarget
from wgfleet.protocol.reasons import Reason

TRIES = 3
APART_S = 0.1  # between two tries from here
MOST_ASKED = 3  # nodes at a time, as in the watch
ANSWERED_WITH = frozenset({"link", "private_key", "listen_port"})  # fields of an interface: it needs them to answer
AGAIN_S = 60.0  # between two looks at a node that serves unproven


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look found: the verdict, None where there is no news; and why the node is not to serve yet, or None."""

    first_look: FirstLook | None = None
    objection: str | None = None


def closer_cause(seen: Seen, drift: Iterable[Drift], said: str) -> Seen:
    """Have what the agent said about an interface that cannot answer take the place of a guess about firewalls."""
    if seen.objection is None or not said or ANSWERED_WITH.isdisjoint(each.field for each in drift):
        return seen
    return replace(seen, objection=said)


class FirstLooks:
    """Looks at nodes that join, and at those that serve unproven.

    `connections`: those to the agents, by node id. `patience_s`: how long to wait for an answer on a path that nobody
    knows yet; the watch learns round trips, but watches those that serve.
    """

    def __init__(
        self,
        store: Store,
        vault: Vault,
        connections: Mapping[str, AgentConnection],
        patience_s: float = DEFAULT_LONGEST_TIMEOUT_S,
    ) -> None:
        self._store = store
        self._vault = vault
        self._connections = connections
        self._patience_s = patience_s
        self._since: dict[tuple[str, str], float] = {}
        self._looked_at: dict[tuple[str, str], float] = {}
        self._looks: Counter[tuple[str, str]] = Counter()

    async def look(self, config_id: str, node_id: str) -> Seen:
        """Look at a node of a config, if that is due."""
        about = config_id, node_id
        newcomer = await in_thread(self._read, config_id, node_id)
        if newcomer is None:
            self._since.pop(about, None)
            self._looked_at.pop(about, None)
            self._looks.pop(about, None)
            return Seen()
        now = clock.monotonic()
        if newcomer.serves and now - self._looked_at.get(about, float("-inf")) < AGAIN_S:
            return Seen()
        self._looked_at[about] = now
        since = self._since.setdefault(about, now)
        answered, missed_by = await self._probe(newcomer, self._looks[about])
        self._looks[about] += 1
        found = verdict(
            answered=answered, missed_by=missed_by, proven=newcomer.proven, looked_for_s=clock.monotonic() - since
        )
        if newcomer.serves:  # from now on it is the watch that takes it out of use
            return Seen(FirstLook.ANSWERED if found is FirstLook.ANSWERED else None)
        if found in {FirstLook.ANSWERED, FirstLook.UNPROVEN}:
            return Seen(found)
        by, where = ", ".join(missed_by) or "anybody", ", ".join(_endpoints(newcomer.probed))
        return Seen(
            found,
            Reason(
                "it has everything, and its WireGuard does not answer {by} at {where} yet: is that UDP "
                "port open in all firewalls? It serves as soon as it answers",
                by=by,
                where=where,
            ),
        )

    async def _probe(self, newcomer: Newcomer, look: int) -> tuple[bool, list[str]]:
        """Tell whether anybody gets an answer; if not, whose probes went out in vain, in words.

        Each `look` asks the next ones of the others, so that a few of them cannot keep a node out for good.
        """
        outcome = await self._from_here(newcomer.probed)
        if outcome:
            return True, []
        # What the panel's own machine does not reach at its public address may well be reached from elsewhere.
        missed_by = ["the panel"] if outcome is False and not newcomer.probed.beside_panel else []
        able = [each for each in newcomer.vantages if self._is_able(each)]
        first = look * MOST_ASKED % max(1, len(able))
        able = (able[first:] + able[:first])[:MOST_ASKED]
        found = await asyncio.gather(*(self._from(each, newcomer.probed) for each in able))
        missed_by += [each.node_name for each, result in zip(able, found, strict=True) if result is False]
        return any(found), missed_by

    async def _from_here(self, probed: Probed) -> bool | None:
        """Tell whether one of a few probes is answered, at whichever endpoint; None: none could be sent."""
        waits = [self._patience_s] * TRIES
        prober = Prober()
        try:
            outcomes = await asyncio.gather(
                *(
                    probe_series(prober, target, waits, APART_S)
                    for target in _targets(probed, PrivateKey(probed.panel_key))
                )
            )
        finally:
            prober.close()
        sent = [outcome for outcome in outcomes if outcome is not None and outcome.sent]
        return any(outcome.answer is not None for outcome in sent) if sent else None

    def _is_able(self, vantage: Vantage) -> bool:
        connection = self._connections.get(vantage.node_id)
        return connection is not None and connection.connected

    async def _from(self, vantage: Vantage, probed: Probed) -> bool | None:
        """Tell whether a node gets an answer; None: it could send no probe, or cannot be asked."""
        connection = self._connections[vantage.node_id]
        tries = TRIES if Feature.PROBE_SERIES in connection.features else 1
        targets = _targets(probed, PrivateKey(vantage.probe_key))
        request = ProbeRequest(InterfaceName(probed.config_name), targets, self._patience_s, tries)
        try:
            result = await connection.client.probe(request)
        except (TransientError, PermanentError):
            return None
        endpoints = {target.endpoint for target in targets}
        if not endpoints.isdisjoint(result.answered):
            return True
        return None if endpoints.isdisjoint({*result.unanswered} - {*result.unsent}) else False

    def _read(self, config_id: str, node_id: str) -> Newcomer | None:
        with self._store.read() as tx:
            return health.newcomer(tx, self._vault, config_id, node_id)


def _endpoints(probed: Probed) -> tuple[str, ...]:
    """Return where a node may answer: it serves as soon as it does at one of them, and the watch looks at the rest."""
    return probed.endpoints or (probed.endpoint,)


def _targets(probed: Probed, key: PrivateKey) -> tuple[ProbeTarget, ...]:
    return tuple(ProbeTarget(endpoint, PublicKey(probed.public_key), key) for endpoint in _endpoints(probed))
