"""The turn of new endpoint addresses: used once their node answers at each, as clients see it.

Nodes are probed there by the watch over their health; here it is read what that found.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping

import structlog

from wgfleet.panel.domain.health.public_endpoints import PublicEndpoints
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.engine.threads import in_thread
from wgfleet.panel.reconcile.sightings import Member
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.health import Probed
from wgfleet.panel.store import Store
from wgfleet.protocol.addresses import split_endpoint

LOOK_S = 0.5

log = structlog.get_logger()


async def keep_using(
    store: Store,
    watched: Callable[[], Mapping[Member, Probed]],
    endpoints: Callable[[Member], PublicEndpoints | None],
) -> None:
    """Have new addresses be used where all configs that a node serves answer at them; until cancelled.

    `watched` and `endpoints`: what is probed now, and what is known of its public endpoints.
    """

    def use(node_id: str, addresses: set[str]) -> None:
        with store.write() as tx:
            nodes.use_answering(tx, node_id, addresses)

    while True:
        for node_id, addresses in answering(watched(), endpoints).items():
            try:
                await in_thread(use, node_id, addresses)
            except PanelError as error:
                log.warning("health.addresses_not_used", node_id=node_id, error=str(error))
        await asyncio.sleep(LOOK_S)


def answering(
    watched: Mapping[Member, Probed], endpoints: Callable[[Member], PublicEndpoints | None]
) -> dict[str, set[str]]:
    """Return the new addresses of nodes that answer at all of them, for every config that is in use there."""
    serving: dict[str, list[bool]] = defaultdict(list)
    new: dict[str, set[str]] = {}
    for member, probed in watched.items():
        if probed.next_endpoints and probed.standing.state.in_use:
            found = endpoints(member)
            serving[probed.node_id].append(found is not None and found.answered.issuperset(probed.next_endpoints))
            new[probed.node_id] = {split_endpoint(endpoint)[0] for endpoint in probed.next_endpoints}
    return {node_id: new[node_id] for node_id, answers in serving.items() if all(answers)}
