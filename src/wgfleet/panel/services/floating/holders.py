"""Floating addresses as rows: who is to hold which, and how one goes from node to node without two holding it.

A node in use gives an address up first, and only when its agent has confirmed that does the next one get it. From one
that is out of use, or cannot be asked, the address is contested: the next one takes it when nobody on its link answers
for it, or no router says that another machine has it. That is at once where the machine is dead (by routers: when they
have noticed), when the agent has given it up where that lives, and when the kernel has taken it off where it is the
agent that is dead. Called in the transaction that changes what this follows from: a node that begins to serve, goes
down, is emptied or taken out.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from wgfleet.panel import clock
from wgfleet.panel.domain import clocks, floating, forwarding
from wgfleet.panel.domain.floating import HolderCandidate
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import audit, generations, operations
from wgfleet.panel.services.floating import carriers
from wgfleet.panel.store import Tx
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store.tables import Assignment, FloatingAddress, Node
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import NodeId

Handover = tuple[str, str]
"""An address, and the node that is to give it up."""

ANSWER_S = 1.0  # a node that is out of use has this long to confirm that it gave its addresses up


@dataclass(frozen=True, slots=True)
class Unheard:
    """What the panel does not hear. `silent`: nodes whose agents do not answer.

    `late`: handovers that nobody has confirmed for `ANSWER_S`. `lapsed`: those of nodes that were not heard for so long
    that the kernel has taken the address off, unless the agent lives and renews it. `over`: those of which even that is
    over, since it was to give the address up for as long.
    """

    silent: Collection[str] = ()
    late: Collection[Handover] = ()
    lapsed: Collection[Handover] = ()
    over: Collection[Handover] = ()


def reassign(
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
    assigned = floating_rows.carriers(tx, config_id)
    unasked = {assignment.node_id for assignment, _ in assigned if _out_of_reach(assignment, silent)}
    holders = floating.choose_holders(_present(wanted), _candidates(tx, config_id, assigned, emptied), unasked)
    changed = {row.address: holders[row.address] for row in wanted if holders[row.address] != row.holder_node_id}
    if changed:
        give(tx, config_id, changed)
    elif renew and carriers.of_config(tx, config_id).on_agent:
        generations.bump(tx, config_id, settings=True)
    return bool(changed)


def spread(tx: Tx, config_id: str) -> dict[str, Node]:
    """Return the fewest moves of addresses after which each node has its share by weight."""
    wanted = [row for row in floating_rows.of_config(tx, config_id) if not row.withdrawn]
    assigned = floating_rows.carriers(tx, config_id)
    by_id = {node.id: node for _, node in assigned}
    holders = floating.spread(_present(wanted), _candidates(tx, config_id, assigned, None))
    return {
        row.address: by_id[to]
        for row in wanted
        if (to := holders[row.address]) is not None and to != row.holder_node_id
    }


def stranded(tx: Tx, config_id: str, lapsed: Collection[str]) -> dict[str, Node]:
    """Return who is to have what the nodes in `lapsed` held: their kernels have it no more, though they are in use."""
    wanted = [row for row in floating_rows.of_config(tx, config_id) if not row.withdrawn]
    assigned = floating_rows.carriers(tx, config_id)
    by_id = {node.id: node for _, node in assigned}
    candidates = [
        replace(each, fit=False, preferred=False) if each.node_id in lapsed else each
        for each in _candidates(tx, config_id, assigned, None)
    ]
    holders = floating.choose_holders(_present(wanted), candidates)
    return {
        row.address: by_id[to]
        for row in wanted
        if row.holder_node_id in lapsed and (to := holders[row.address]) is not None and to not in lapsed
    }


def _present(wanted: Sequence[FloatingAddress]) -> dict[str, NodeId | None]:
    return {row.address: NodeId(row.holder_node_id) if row.holder_node_id else None for row in wanted}


def _candidates(
    tx: Tx, config_id: str, assigned: Sequence[tuple[Assignment, Node]], emptied: str | None
) -> list[HolderCandidate]:
    routed = carriers.of_config(tx, config_id).routed
    return [
        HolderCandidate(
            node_id=NodeId(node.id),
            weight=node.weight,
            fit=assignment.health.in_use and (not routed or Feature.ROUTED_ADDRESSES in node.agent_features),
            preferred=assignment.phase == Phase.SERVING
            and assignment.health == Health.SERVING
            and not node.cordoned
            and not (routed and carriers.is_unrouted(assignment))
            and not forwarding.fails(assignment.forwarding)
            # Its calls might not be answered, or nobody else's after them.
            and clocks.is_right(node.clock_ahead_s),
            emptied=node.id == emptied,
            asks=Feature.ADDRESS_TIMES in node.agent_features,
        )
        for assignment, node in assigned
        if assignment.phase in {Phase.SERVING, Phase.DRAINING}
    ]


def give(
    tx: Tx,
    config_id: str,
    holders: Mapping[str, str | None],
    *,
    actor: str = audit.PANEL,
) -> None:
    """Write down new holders of addresses. The caller has locked the config."""
    carriage = carriers.of_config(tx, config_id)
    assignments = {assignment.node_id: assignment for assignment, _ in floating_rows.carriers(tx, config_id)}
    generation = generations.bump(tx, config_id, settings=True)
    for row in floating_rows.of_config(tx, config_id):
        if row.address not in holders:
            continue
        before, after = row.holder_node_id, holders[row.address]
        if row.leaving_node_id is None and before is not None:
            if row.still_at_node_id is None:  # else nobody has come by it to `before`, where it was never brought
                row.former_node_id, row.former_since = before, row.since
            if before in assignments:
                if carriage.on_agent:
                    row.leaving_node_id = before
                elif row.still_at_node_id is None and assignments[before].health.in_use:
                    row.still_at_node_id = before
        if row.leaving_node_id == after:
            row.leaving_node_id = None
        if row.still_at_node_id == after:
            row.still_at_node_id = None
        leaving = assignments.get(row.leaving_node_id or "")
        row.holder_node_id, row.generation, row.since = after, generation, clock.now()
        # That its agent is silent is seen later than that the machine is dead. Its link, or a router, can be asked now.
        unasked = row.leaving_node_id is not None and (leaving is None or not leaving.health.in_use)
        row.contested = unasked and not _is_taken_blindly(tx, row)
        row.next_try_at = None  # its provider may fail for the other node alone
        audit.record(
            tx, actor, "moved", "floating_address", row.address,
            config_id=config_id, from_node=before, to_node=after, waits_for=row.leaving_node_id,
        )  # fmt: skip
    tx.flush()
    tx.wake(Topic.FLOATING, config_id)


def _out_of_reach(assignment: Assignment, silent: Collection[str]) -> bool:
    """Tell whether a node is out of use and nobody can ask it: most likely it is dead, and has no address."""
    return not assignment.health.in_use and assignment.node_id in silent


def _is_taken_blindly(tx: Tx, row: FloatingAddress) -> bool:
    """Tell whether the next holder takes an address without asking, while the former one's kernel may have it yet.

    That kernel has it for a time only; one under an agent of 0.1.0 has it for ever, so there is nothing to wait for.
    """
    known = node_rows.agent_features(tx, [each for each in (row.holder_node_id, row.leaving_node_id) if each])
    asks, lapses = (
        Feature.ADDRESS_TIMES in known.get(each or "", ()) for each in (row.holder_node_id, row.leaving_node_id)
    )
    return lapses and not asks


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

    freed = _free(tx, assignment.config_id, left)
    taken = _taken(tx, assignment, held)
    if freed:
        return
    before = assignment.applied_generation
    found = floating_rows.of_config(tx, assignment.config_id)
    if taken or any(
        row.holder_node_id == assignment.node_id and before < row.generation <= generation for row in found
    ):
        # It can now call clients from the address, so takeovers that wait for that can begin.
        for operation in operation_rows.active_of(tx, assignment.config_id):
            operations.wake(tx, operation)


def _taken(tx: Tx, assignment: Assignment, held: Collection[str] | None) -> bool:
    """Note that the next holder has contested addresses: nobody on its link had them any more. Tell whether it has."""
    taken = [
        row
        for row in floating_rows.of_config(tx, assignment.config_id)
        if is_taken(row, held) and row.holder_node_id == assignment.node_id
    ]
    for row in taken:
        row.leaving_node_id = None  # `contested` stays: what the node gets does not change
    tx.flush()
    return bool(taken)


def is_taken(row: FloatingAddress, held: Collection[str] | None) -> bool:
    """Tell whether the holder of a contested address has it, by what its agent holds, and that is news."""
    return row.contested and row.leaving_node_id is not None and held is not None and row.address in held


def gave_up(tx: Tx, config_id: str, node_id: str) -> None:
    """Note that a node has nothing of the config any more: its interface is deleted."""
    _free(tx, config_id, lambda row: row.leaving_node_id == node_id)


def asked_no_more(tx: Tx, config_id: str, node_id: str) -> None:
    """Note that a node which is taken out cannot be asked what it has: the next holders ask on their links."""
    _contest(tx, config_id, lambda row: row.leaving_node_id == node_id)


def handovers(tx: Tx, config_id: str) -> set[Handover]:
    """Return what nodes have yet to give up."""
    found = floating_rows.of_config(tx, config_id)
    return {(row.address, row.leaving_node_id) for row in found if row.leaving_node_id is not None}


def overdue(tx: Tx, config_id: str, unheard: Unheard) -> bool:
    """Go on with the handovers that nobody confirms; True while a node that is out of use has time left to do so.

    A node that is out of use and does not answer in time is not waited for, and one in use not longer than its kernel
    keeps the address: the next holder takes it when nobody on its link has it. When even the kernel of a node that is
    out of use can have it no more, the next holder takes it whatever is said there.
    """
    found = {assignment.node_id: assignment for assignment, _ in floating_rows.carriers(tx, config_id)}

    def leaving(row: FloatingAddress) -> Assignment | None:
        return found.get(row.leaving_node_id or "")

    def is_urgent(row: FloatingAddress) -> bool:
        return (node := leaving(row)) is not None and not node.health.in_use

    def is_over(row: FloatingAddress) -> bool:
        if row.withdrawn and row.leaving_node_id is None:  # the node that had it was deleted
            return True
        alone = row.withdrawn and leaving(row) is None
        return handover_of(row) in unheard.over and ((row.contested and is_urgent(row)) or alone)

    def is_unasked(row: FloatingAddress) -> bool:
        if row.leaving_node_id is None:
            return False
        node, handover = leaving(row), handover_of(row)
        if node is None or handover in unheard.lapsed:
            return True
        return is_urgent(row) and (handover in unheard.late or _out_of_reach(node, unheard.silent))

    _free(tx, config_id, is_over)
    _contest(tx, config_id, is_unasked, unheard.lapsed)
    return any(is_urgent(row) and not row.contested for row in floating_rows.of_config(tx, config_id))


def handover_of(row: FloatingAddress) -> Handover:
    """Return who is to give an address up; nobody: an empty text."""
    return row.address, row.leaving_node_id or ""


def _contest(
    tx: Tx, config_id: str, unasked: Callable[[FloatingAddress], bool], lapsed: Collection[Handover] = ()
) -> None:
    """Let the next holder take those addresses that `unasked` names, if nobody on its link has them.

    One that does not ask takes only what is in `lapsed`.
    """
    found = [row for row in floating_rows.of_config(tx, config_id) if not row.contested and unasked(row)]
    rows = [row for row in found if handover_of(row) in lapsed or not _is_taken_blindly(tx, row)]
    if not rows:
        return
    generation = generations.bump(tx, config_id, settings=True)
    for row in rows:
        row.contested, row.generation = True, generation
    tx.flush()


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
            row.leaving_node_id, row.contested, row.generation = None, False, generation
    tx.flush()
    return True


def empty(tx: Tx, config_id: str, node_id: str) -> bool:
    """Give what a node holds to others, as far as there are any; tell whether it held what another can have."""
    return reassign(tx, config_id, emptied=node_id)


def leaving(tx: Tx, config_id: str) -> set[str]:
    """Return the nodes that have yet to give an address up."""
    return {row.leaving_node_id for row in floating_rows.of_config(tx, config_id) if row.leaving_node_id}
