"""The list of a config's floating addresses: what an endpoint group asks for, and what its name lists."""

from collections.abc import Collection, Mapping

from wgfleet.panel import clock
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import generations
from wgfleet.panel.services.floating import attempts, carriers, holders
from wgfleet.panel.store import Tx
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store.tables import FloatingAddress
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.reasons import Reason


def check_free(tx: Tx, found: Mapping[str, str]) -> None:
    """Refuse addresses of a node, by field, that are floating ones: it would keep what others are to have."""
    floats = set(floating_rows.all_addresses(tx))
    for field, address in found.items():
        if address in floats:
            raise Conflict(
                Reason("{address} is a floating address; give one that belongs to the node alone", address=address),
                field=field,
            )


def put(tx: Tx, config_id: str, addresses: Collection[str], *, other_provider: bool, elsewhere: bool = False) -> None:
    """Make the list of a config's addresses what it shall be; what is taken off the list is taken from its holder.

    `other_provider`: who brings the addresses to their nodes has changed as well; `elsewhere`: what a cloud translates
    them to.
    """
    found = {row.address: row for row in floating_rows.of_config(tx, config_id)}
    generation = 0
    if set(addresses) != set(listed(tx, config_id)) or ((other_provider or elsewhere) and found):
        generation = generations.bump(tx, config_id, settings=True)
    carried = carriers.of_config(tx, config_id).on_agent
    for address in addresses:
        if address not in found:
            row = FloatingAddress(
                address=address, config_id=config_id, generation=generation, withdrawn=False, since=clock.now()
            )
            floating_rows.add(tx, row)
        else:
            found[address].withdrawn = False
            found[address].next_try_at = None  # what was saved just now may be what was missing
            if other_provider:
                attempts.clear(found[address])
    for address, row in found.items():
        if address in addresses or row.withdrawn:
            continue
        if row.leaving_node_id is None and row.holder_node_id is not None and carried:
            row.leaving_node_id, row.generation = row.holder_node_id, generation
        row.holder_node_id, row.still_at_node_id, row.withdrawn, row.since = None, None, True, clock.now()
        if row.leaving_node_id is None:
            floating_rows.delete(tx, row)
    tx.flush()
    tx.wake(Topic.FLOATING, config_id)
    holders.reassign(tx, config_id)


def listed(tx: Tx, config_id: str) -> list[str]:
    """Return the floating addresses of a config, in order; none: it has no use for them."""
    return [row.address for row in floating_rows.of_config(tx, config_id) if not row.withdrawn]
