"""Floating addresses as rows: who is to hold which, and how one goes from node to node without two holding it.

A node gives an address up first, and only when its agent has confirmed that does the next one get it. Where the node is
out of use and its agent is silent there is nothing to wait for. Called in the transaction that changes what this
follows from: a node that begins to serve, goes down, is emptied or taken out.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.address_providers import plugins
from wgfleet.panel.domain import floating
from wgfleet.panel.domain.floating import GIVE_UP_AFTER_S, HolderCandidate
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict, NotFound, PermanentError
from wgfleet.panel.services import audit, generations, operations
from wgfleet.panel.services.floating import attempts
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import endpoint_groups as endpoint_group_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import installation as installation_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Assignment, Config, FloatingAddress, Node
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.ids import NodeId

GIVE_UP_AFTER = "health.give_up_after_s"
Handover = tuple[str, str]
"""An address, and the node that is to give it up."""

ANSWER_S = 1.0  # a node that is out of use has this long to confirm that it gave its addresses up


@dataclass(frozen=True, slots=True)
class AddressView:
    """A floating address. `in_use`: its holder serves clients. `leaving`: the node that has yet to give it up.

    `attempts` and what follows say why its provider does not bring it there, see `FloatingAddress`.
    """

    address: str
    holder: Node | None
    leaving: Node | None
    since: float
    in_use: bool
    attempts: int
    error: str | None
    failing_since: float | None
    next_try_at: float | None


def settle(
    tx: Tx,
    config_id: str,
    *,
    silent: Collection[str] = (),
    emptied: str | None = None,
    renew: bool = False,
) -> bool:
    """Give each address of a config to the node that is to hold it; tell whether any was not with it.

    `silent`: nodes whose agents do not answer; `emptied`: the node that keeps no address which another can have.
    `renew`: the nodes have to be told in any case, for they witness each other.
    """
    if not floating_rows.of_config(tx, config_id):
        return False
    config_rows.lock(tx, config_id)
    wanted = [row for row in floating_rows.of_config(tx, config_id) if not row.withdrawn]
    holders = floating.settle(_present(wanted), _candidates(floating_rows.carriers(tx, config_id), emptied))
    changed = {row.address: holders[row.address] for row in wanted if holders[row.address] != row.holder_node_id}
    if changed:
        give(tx, config_id, changed, silent=silent)
    elif renew and on_agent(tx, config_id):
        generations.bump(tx, config_id, settings=True)
    return bool(changed)


def spread(tx: Tx, config_id: str) -> dict[str, Node]:
    """Return the fewest moves of addresses after which each node has its share by weight."""
    wanted = [row for row in floating_rows.of_config(tx, config_id) if not row.withdrawn]
    carriers = floating_rows.carriers(tx, config_id)
    by_id = {node.id: node for _, node in carriers}
    holders = floating.spread(_present(wanted), _candidates(carriers, None))
    return {
        row.address: by_id[to]
        for row in wanted
        if (to := holders[row.address]) is not None and to != row.holder_node_id
    }


def _present(wanted: Sequence[FloatingAddress]) -> dict[str, NodeId | None]:
    return {row.address: NodeId(row.holder_node_id) if row.holder_node_id else None for row in wanted}


def _candidates(carriers: Sequence[tuple[Assignment, Node]], emptied: str | None) -> list[HolderCandidate]:
    return [
        HolderCandidate(
            node_id=NodeId(node.id),
            weight=node.weight,
            fit=assignment.health.in_use,
            preferred=assignment.phase == Phase.SERVING and assignment.health == Health.SERVING and not node.cordoned,
            emptied=node.id == emptied,
        )
        for assignment, node in carriers
        if assignment.phase in {Phase.SERVING, Phase.DRAINING}
    ]


def give(
    tx: Tx,
    config_id: str,
    holders: Mapping[str, str | None],
    *,
    silent: Collection[str] = (),
    actor: str = audit.PANEL,
) -> None:
    """Write down new holders of addresses. The caller has locked the config."""
    carried = on_agent(tx, config_id)
    assignments = {assignment.node_id: assignment for assignment, _ in floating_rows.carriers(tx, config_id)}
    generation = generations.bump(tx, config_id, settings=True)
    for row in floating_rows.of_config(tx, config_id):
        if row.address not in holders:
            continue
        before, after = row.holder_node_id, holders[row.address]
        if row.leaving_node_id is None and before is not None:
            row.former_node_id = before
            if carried and not _gone(assignments.get(before), silent):
                row.leaving_node_id = before
        if row.leaving_node_id == after:
            row.leaving_node_id = None
        row.holder_node_id, row.generation, row.since = after, generation, clock.now()
        row.next_try_at = None  # its provider may fail for the other node alone
        audit.record(
            tx, actor, "moved", "floating_address", row.address,
            config_id=config_id, from_node=before, to_node=after, waits_for=row.leaving_node_id,
        )  # fmt: skip
    tx.flush()
    tx.wake(Topic.FLOATING, config_id)


def _gone(assignment: Assignment | None, silent: Collection[str]) -> bool:
    """Tell whether a node cannot have an address any more, as far as the panel can know."""
    return assignment is None or (not assignment.health.in_use and assignment.node_id in silent)


def has_left(row: FloatingAddress, generation: int, held: Collection[str] | None) -> bool:
    """Tell whether the node that is to give an address up has done so, by what its agent applied and holds.

    None for `held`: its agent does not say, so it may still hold any.
    """
    return row.generation <= generation and held is not None and row.address not in held


def confirmed(tx: Tx, assignment: Assignment, generation: int, held: Collection[str] | None) -> None:
    """Note what a node's agent has applied and holds: what it has given up is free for the next one.

    Call it before the assignment itself is written.
    """

    def left(row: FloatingAddress) -> bool:
        return row.leaving_node_id == assignment.node_id and has_left(row, generation, held)

    if _free(tx, assignment.config_id, left):
        return
    before = assignment.applied_generation
    found = floating_rows.of_config(tx, assignment.config_id)
    if any(row.holder_node_id == assignment.node_id and before < row.generation <= generation for row in found):
        # It can now call clients from the address, so takeovers that wait for that can begin.
        for operation in operation_rows.active_of(tx, assignment.config_id):
            operations.wake(tx, operation)


def gave_up(tx: Tx, config_id: str, node_id: str) -> None:
    """Note that a node has nothing of the config any more: its interface is deleted, or it is not asked any longer."""
    _free(tx, config_id, lambda row: row.leaving_node_id == node_id)


def urgent_handovers(tx: Tx, config_id: str) -> set[Handover]:
    """Return what nodes that are out of use have yet to give up; they have `ANSWER_S` to confirm it."""
    found = {assignment.node_id: assignment for assignment, _ in floating_rows.carriers(tx, config_id)}
    return {
        (row.address, row.leaving_node_id)
        for row in floating_rows.of_config(tx, config_id)
        if row.leaving_node_id is not None
        and ((leaving := found.get(row.leaving_node_id)) is None or not leaving.health.in_use)
    }


def overdue(tx: Tx, config_id: str, silent: Collection[str], late: Collection[Handover]) -> bool:
    """End the handovers that wait for nodes that are out of use and do not answer; True while one has time left.

    `silent` are the nodes whose agents cannot be reached, `late` has those of `urgent_handovers` whose time is over.
    """
    found = {assignment.node_id: assignment for assignment, _ in floating_rows.carriers(tx, config_id)}
    urgent = urgent_handovers(tx, config_id)

    def left(row: FloatingAddress) -> bool:
        handover = (row.address, row.leaving_node_id or "")
        return handover in urgent and (handover in late or _gone(found.get(handover[1]), silent))

    _free(tx, config_id, left)
    return bool(urgent_handovers(tx, config_id))


def _free(tx: Tx, config_id: str, left: Callable[[FloatingAddress], bool]) -> bool:
    """Let the next holder have those addresses that `left` names; tell whether there were any."""
    if not any(left(row) for row in floating_rows.of_config(tx, config_id)):
        return False
    generation = generations.bump(tx, config_id, settings=True)
    for row in floating_rows.of_config(tx, config_id):
        if not left(row):
            continue
        if row.withdrawn:
            floating_rows.delete(tx, row)
        else:
            row.leaving_node_id, row.generation = None, generation
    tx.flush()
    return True


def carriers(tx: Tx, config_id: str) -> set[str]:
    """Return the nodes that a config is assigned to."""
    return {assignment.node_id for assignment, _ in floating_rows.carriers(tx, config_id)}


def empty(tx: Tx, config_id: str, node_id: str) -> bool:
    """Give what a node holds to others, as far as there are any; tell whether it held what another can have."""
    return settle(tx, config_id, emptied=node_id)


def leaving(tx: Tx, config_id: str) -> set[str]:
    """Return the nodes that have yet to give an address up."""
    return {row.leaving_node_id for row in floating_rows.of_config(tx, config_id) if row.leaving_node_id}


def check_free(tx: Tx, addresses: Sequence[str], field: str) -> None:
    """Refuse addresses of a node that are floating ones: it would keep what others are to have."""
    floats = set(floating_rows.all_addresses(tx))
    for i, address in enumerate(addresses):
        if address in floats:
            raise Conflict(
                f"{address} is a floating address; give one that belongs to the node alone", field=f"{field}[{i}]"
            )


def give_up_after_s(tx: Tx) -> float:
    """Return after how many s nodes give addresses up; see `protocol.desired.FloatingSettings`."""
    rendered = installation_rows.rendered_setting(tx, GIVE_UP_AFTER)
    return GIVE_UP_AFTER_S if rendered is None else rendered


def set_give_up_after(tx: Tx, seconds: float) -> None:
    """Push the panel's setting to the nodes if it changed since the last start. Call it at the start."""
    if installation_rows.rendered_setting(tx, GIVE_UP_AFTER) == seconds:
        return
    installation_rows.set_rendered_setting(tx, GIVE_UP_AFTER, seconds)
    for config_id in floating_rows.configs_with(tx):
        if on_agent(tx, config_id):
            generations.bump(tx, config_id, settings=True)


def witnesses_changed(tx: Tx, node_id: str) -> None:
    """Push a node's new addresses to the nodes of its configs, for which it is a witness."""
    for config_id in floating_rows.of_node(tx, node_id):
        generations.bump(tx, config_id, settings=True)


def put(tx: Tx, config_id: str, addresses: Collection[str], *, other_provider: bool) -> None:
    """Make the list of a config's addresses what it shall be; what is taken off the list is taken from its holder.

    `other_provider`: who brings the addresses to their nodes has changed as well.
    """
    found = {row.address: row for row in floating_rows.of_config(tx, config_id)}
    generation = 0
    if set(addresses) != set(listed(tx, config_id)) or (other_provider and found):
        generation = generations.bump(tx, config_id, settings=True)
    carried = on_agent(tx, config_id)
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
        row.holder_node_id, row.withdrawn, row.since = None, True, clock.now()
        if row.leaving_node_id is None:
            floating_rows.delete(tx, row)
    tx.flush()
    tx.wake(Topic.FLOATING, config_id)
    settle(tx, config_id)


def listed(tx: Tx, config_id: str) -> list[str]:
    """Return the floating addresses of a config, in order; none: it has no use for them."""
    return [row.address for row in floating_rows.of_config(tx, config_id) if not row.withdrawn]


def view(tx: Tx, config: Config, address: str) -> AddressView:
    """Return one of a config's addresses with who holds it."""
    found = next((view for view in views(tx, config.id) if view.address == address), None)
    if found is None:
        listing = ", ".join(listed(tx, config.id)) or "none"
        raise NotFound(f"config {config.name!r} has no floating address {address!r}; it has {listing}")
    return found


def published(tx: Tx, config_id: str) -> list[str]:
    """Return the floating addresses behind which clients are served now: those whose holder is in use."""
    return [view.address for view in views(tx, config_id) if view.in_use]


def views(tx: Tx, config_id: str) -> list[AddressView]:
    """Return a config's addresses with who holds them."""
    by_id = {node.id: (assignment, node) for assignment, node in assignment_rows.of_config(tx, config_id)}
    found = []
    for row in floating_rows.of_config(tx, config_id):
        if not row.withdrawn:
            holder, leaving = by_id.get(row.holder_node_id or ""), by_id.get(row.leaving_node_id or "")
            in_use = holder is not None and holder[0].phase != Phase.REMOVED and holder[0].health.in_use
            nodes = (holder[1] if holder else None, leaving[1] if leaving else None)
            found.append(
                AddressView(
                    row.address,
                    *nodes,
                    row.since,
                    in_use,
                    attempts=row.attempts,
                    error=row.error,
                    failing_since=row.failing_since,
                    next_try_at=row.next_try_at,
                )
            )
    return found


def on_agent(tx: Tx, config_id: str) -> bool:
    """Tell whether agents carry the config's floating addresses; else they are a provider's, or there are none."""
    group = endpoint_group_rows.get(tx, config_id)
    try:
        return group is not None and plugins.installed().find(group.address_provider).on_agent
    except PermanentError:
        return False  # plugin not installed; the floating worker reports it
