"""Floating addresses as they are shown: who holds each, and what keeps the next holder waiting."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import NotFound
from wgfleet.panel.services.floating import addresses, carriers
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store.tables import Assignment, Config, FloatingAddress, Node
from wgfleet.protocol.reasons import Reason


@dataclass(frozen=True, slots=True)
class AddressView:
    """A floating address. `in_use`: its holder serves clients. `held`: whether the holder's agent says that it has it.

    None for `held`: nobody knows, as that agent is not heard, or the address is on no machine.

    `leaving`: the node that has yet to give it up, or from which a provider has yet to bring it.

    `conflict`: who else has it, in words, as agents say; None: nobody, or the one that is leaving.

    `attempts` and what follows say why its provider does not bring it there, see `FloatingAddress`.
    """

    address: str
    holder: Node | None
    leaving: Node | None
    since: float
    in_use: bool
    held: bool | None
    attempts: int
    error: str | None
    failing_since: float | None
    next_try_at: float | None
    conflict: str | None = None


def view(tx: Tx, config: Config, address: str) -> AddressView:
    """Return one of a config's addresses with who holds it."""
    found = next((view for view in views(tx, config.id) if view.address == address), None)
    if found is None:
        listing = ", ".join(addresses.listed(tx, config.id)) or "none"
        raise NotFound(
            Reason(
                "config {config!r} has no floating address {address!r}; it has {listing}",
                config=config.name,
                address=address,
                listing=listing,
            )
        )
    return found


def views(tx: Tx, config_id: str) -> list[AddressView]:
    """Return a config's addresses with who holds them."""
    rows = floating_rows.of_config(tx, config_id)
    if not rows:
        return []
    by_id = {node.id: (assignment, node) for assignment, node in assignment_rows.of_config(tx, config_id)}
    found, how = [], carriers.of_config(tx, config_id)
    for row in rows:
        if not row.withdrawn:
            holder = by_id.get(row.holder_node_id or "")
            leaving = by_id.get(row.leaving_node_id or row.still_at_node_id or "")
            in_use = holder is not None and holder[0].phase != Phase.REMOVED and holder[0].health.in_use
            nodes = (holder[1] if holder else None, leaving[1] if leaving else None)
            found.append(
                AddressView(
                    row.address,
                    *nodes,
                    row.since,
                    in_use,
                    _held(row, holder) if how.on_agent or how.bound else None,
                    attempts=row.attempts,
                    error=row.error,
                    failing_since=row.failing_since,
                    next_try_at=row.next_try_at,
                    conflict=_conflict(row, list(by_id.values()), bound=how.bound),
                )
            )
    return found


def everywhere(tx: Tx, within: Limit | None = None) -> Iterator[tuple[str, AddressView]]:
    """Yield all addresses, each with the id of its config; of those within a limit only."""
    for config_id in floating_rows.configs_with(tx):
        if within is None or config_id in within.configs:
            for each in views(tx, config_id):
                yield config_id, each


def conflicts(tx: Tx) -> int:
    """Count the addresses that somebody has beside their holder."""
    return sum(each.conflict is not None for _, each in everywhere(tx))


def _held(row: FloatingAddress, holder: tuple[Assignment, Node] | None) -> bool | None:
    if holder is None or not holder[1].connected:
        return None
    return row.address in holder[0].floating_held


def _conflict(row: FloatingAddress, found: Sequence[tuple[Assignment, Node]], *, bound: bool) -> str | None:
    """Say who has an address beside its holder.

    Where a cloud leads packets to one of them (`bound`) it does not matter who else has it on loopback.
    What a node said that is not connected any more does not count: its kernel has taken the address off by now.
    """
    if row.leaving_node_id is not None or bound:
        return None
    heard = [(assignment, node) for assignment, node in found if node.connected]
    having = sorted(node.name for assignment, node in heard if row.address in assignment.floating_held)
    if len(having) > 1:
        return Reason("{nodes} have it at the same time", nodes=", ".join(having))
    for assignment, node in heard:
        if node.id == row.holder_node_id and row.address in assignment.floating_rivals:
            return Reason(
                "{rival} has it too, says {node}", rival=assignment.floating_rivals[row.address], node=node.name
            )
    return None


def published(tx: Tx, config_id: str) -> list[str]:
    """Return the floating addresses behind which clients are served now: those whose holder is in use."""
    return [view.address for view in views(tx, config_id) if view.in_use]
