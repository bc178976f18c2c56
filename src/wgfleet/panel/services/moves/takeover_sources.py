"""Sources of takeovers: who calls the clients of a node that lost its floating addresses, and from which address."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services.floating import carriers, translations
from wgfleet.panel.store import Tx
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store.tables import Assignment, FloatingAddress
from wgfleet.panel.vault import Vault

AT_ONCE_S = 2.0  # between two addresses of a node that it lost for the same reason


@dataclass(frozen=True, slots=True)
class TakeoverSource:
    """A node that calls clients, and the floating address to call from; None: whichever the node takes by itself."""

    node_id: str
    address: str | None


@dataclass(frozen=True, slots=True)
class TakeoverSources:
    """Who got the addresses of which node, by former holder, each with whether it can call from there already.

    Behind a NAT, and of a client that never learns a server's address, only a call from the address that the client
    knows gets through. Which of several that is is known of those that answered a call there. Others came by
    themselves, and for them they take turns, beginning with the one that the former holder had had for longest: who
    came by a later one, before that was moved there, has been called from it. `serving` are the nodes in use: for a
    dead one that no address comes from (one that got it died as well) all take turns.
    """

    found: Mapping[str, Sequence[tuple[TakeoverSource, bool]]]
    serving: Collection[str]

    def choose(
        self, from_node_id: str, endpoint: str, attempts: int, home: str | None, known: str | None = None
    ) -> TakeoverSource | None:
        """Return who calls a client of a node at its next attempt; None: nobody just yet.

        `home`: where it lives; `known`: the address that it answered to last.
        """
        taken = self.found.get(from_node_id, ())
        if not taken and from_node_id not in self.serving:
            taken = [pair for pairs in self.found.values() for pair in pairs]
        same_family = [
            (source, ready)
            for source, ready in taken
            if source.address is None or (":" in source.address) is endpoint.startswith("[")
        ]
        if not same_family:
            return TakeoverSource(home, None) if home else None
        usable = [source for source, ready in same_family if ready]
        there = [each for each in usable if each.address == known]
        if there and attempts % 2 == 0:  # now and then from another, by which it may have come since
            return there[0]
        others = [each for each in usable if each not in there] or usable
        turn = attempts // 2 if there else attempts
        return others[turn % len(others)] if others else None


def of_config(tx: Tx, vault: Vault, config_id: str) -> TakeoverSources:
    """Return who calls the clients of the nodes that gave addresses up, or lost them."""
    rows = floating_rows.of_config(tx, config_id)
    assigned = [assignment for assignment, _ in floating_rows.carriers(tx, config_id)]
    taken = _lost(rows, assigned)
    if not taken:
        return TakeoverSources({}, ())
    applied = {
        assignment.node_id: assignment.applied_generation
        for assignment in assigned
        if assignment.phase == Phase.SERVING and assignment.health.in_use
    }
    carriage = carriers.of_config(tx, config_id)
    translated = translations.of_config(tx, vault, config_id)
    held = Counter(row.holder_node_id for row in rows)
    found: dict[str, list[tuple[TakeoverSource, bool]]] = {}
    for row in taken:
        giver, holder = _giver(row), row.holder_node_id
        if holder in applied and holder != giver:
            ready = _is_with(row, applied[holder])
            here = carriage.on_agent or (carriage.bound and carriers.knows_loopback(tx, holder))
            places = translations.in_turn(translated.get(holder, ()), held[holder])
            sources: Sequence[str | None] = (row.address,) if here else (places or (None,))
            pairs = found.setdefault(giver, [])
            pairs += [pair for each in sources if (pair := (TakeoverSource(holder, each), ready)) not in pairs]
    return TakeoverSources(found, applied)


def holding(tx: Tx, config_id: str) -> dict[str, TakeoverSource]:
    """Return by floating address the node that has it and can call from it, as far as it lies on that node itself."""
    applied = {each.node_id: each.applied_generation for each, _ in floating_rows.carriers(tx, config_id)}
    return {
        row.address: TakeoverSource(row.holder_node_id, row.address)
        for row in floating_rows.of_config(tx, config_id)
        if row.holder_node_id is not None and _is_with(row, applied.get(row.holder_node_id, 0))
    }


def _is_with(row: FloatingAddress, applied_generation: int) -> bool:
    """Tell whether its holder, which has applied a generation, has an address: nobody else does any more."""
    is_there = row.leaving_node_id is None and row.still_at_node_id is None
    return is_there and applied_generation >= row.generation


def _lost(rows: Sequence[FloatingAddress], assigned: Sequence[Assignment]) -> list[FloatingAddress]:
    """Return the addresses that nodes lost last, those that they had had for longest first.

    What they lost another time does not count: the clients that came by it were called then. A dead node lost last what
    went with it, else what it lost before: it may have called clients back to itself.
    """
    now = clock.now()
    lost_at: dict[str, float] = defaultdict(float)
    for row in rows:
        if row.since <= now:  # else the clock was set back since, and how long ago that was is not known
            lost_at[_giver(row)] = max(lost_at[_giver(row)], row.since)
    for each in assigned:
        if each.flaps and not each.health.in_use and lost_at[each.node_id] >= each.flaps[-1] - AT_ONCE_S:
            lost_at[each.node_id] = each.flaps[-1]

    def is_last(row: FloatingAddress) -> bool:
        giver = _giver(row)
        return row.still_at_node_id == giver or row.since > now or row.since >= lost_at[giver] - AT_ONCE_S

    given = [row for row in rows if _giver(row)]
    # A provider brings those that were given to others at once in its own time.
    last = {(_giver(row), row.generation) for row in given if is_last(row)}
    found = [row for row in given if (_giver(row), row.generation) in last]
    return sorted(found, key=lambda row: row.former_since or 0.0)


def _giver(row: FloatingAddress) -> str:
    return row.leaving_node_id or row.former_node_id or ""
