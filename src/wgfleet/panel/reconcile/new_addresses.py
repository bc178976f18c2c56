"""The turn of new endpoint addresses and public ports: used once their node answers there, as clients see it.

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
from wgfleet.panel.services.fleet import nodes, public_ports
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
    """Have new addresses be used where all configs that a node serves answer at them, and new ports; until cancelled.

    `watched` and `endpoints`: what is probed now, and what is known of its public endpoints.
    """

    def use(node_id: str, addresses: set[str]) -> None:
        with store.write() as tx:
            nodes.use_answering(tx, node_id, addresses)

    def use_port(config_id: str, node_id: str) -> None:
        with store.write() as tx:
            public_ports.use_answering(tx, config_id, node_id)

    while True:
        for member in answering_ports(watched(), endpoints):
            try:
                await in_thread(use_port, *member)
            except PanelError as error:
                log.warning("health.port_not_used", member=member, error=str(error))
        for node_id, addresses in answering(watched(), endpoints).items():
            try:
                await in_thread(use, node_id, addresses)
            except PanelError as error:
                log.warning("health.addresses_not_used", node_id=node_id, error=str(error))
        await asyncio.sleep(LOOK_S)


def answering(
    watched: Mapping[Member, Probed], endpoints: Callable[[Member], PublicEndpoints | None]
) -> dict[str, set[str]]:
    """Return the new addresses of nodes that answer at all of them, for every config that is in use there.

    Of a node that is in use nowhere, as one that has moved, for every config.
    """
    in_use: dict[str, list[bool]] = defaultdict(list)
    out_of_use: dict[str, list[bool]] = defaultdict(list)
    new: dict[str, set[str]] = {}
    for member, probed in watched.items():
        if probed.next_endpoints:
            found = endpoints(member)
            answers = in_use if probed.standing.state.in_use else out_of_use
            answers[probed.node_id].append(found is not None and found.answered.issuperset(probed.next_endpoints))
            new[probed.node_id] = {split_endpoint(endpoint)[0] for endpoint in probed.next_endpoints}
    return {node_id: each for node_id, each in new.items() if all(in_use.get(node_id) or out_of_use[node_id])}


def answering_ports(
    watched: Mapping[Member, Probed], endpoints: Callable[[Member], PublicEndpoints | None]
) -> list[Member]:
    """Return the assignments that answer at their new public port, by one address at least.

    The port of a router is one of IPv4, and IPv6 goes around it.
    """
    return [
        member
        for member, probed in watched.items()
        if probed.next_port_endpoints
        and (known := endpoints(member)) is not None
        and not known.answered.isdisjoint(probed.next_port_endpoints)
    ]
