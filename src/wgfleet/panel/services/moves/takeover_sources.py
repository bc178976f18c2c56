"""Sources of takeovers: who calls the clients of a node that lost its floating addresses, and from which address."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services.floating import carriers, translations
from wgfleet.panel.store import Tx
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.vault import Vault


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
        usable = sorted((source for source, ready in same_family if ready), key=lambda each: each.address != known)
        return usable[attempts % len(usable)] if usable else None


def of_config(tx: Tx, vault: Vault, config_id: str) -> TakeoverSources:
    """Return who calls the clients of the nodes that gave addresses up, or lost them."""
    rows = floating_rows.of_config(tx, config_id)
    taken = sorted(
        (row for row in rows if row.leaving_node_id or row.former_node_id), key=lambda row: row.former_since or 0.0
    )
    if not taken:
        return TakeoverSources({}, ())
    applied = {
        assignment.node_id: assignment.applied_generation
        for assignment, _ in floating_rows.carriers(tx, config_id)
        if assignment.phase == Phase.SERVING and assignment.health.in_use
    }
    carriage = carriers.of_config(tx, config_id)
    translated = translations.of_config(tx, vault, config_id)
    held = Counter(row.holder_node_id for row in rows)
    found: dict[str, list[tuple[TakeoverSource, bool]]] = {}
    for row in taken:
        giver, holder = row.leaving_node_id or row.former_node_id or "", row.holder_node_id
        if holder in applied and holder != giver:
            is_there = row.leaving_node_id is None and row.still_at_node_id is None
            ready = is_there and applied[holder] >= row.generation
            here = carriage.on_agent or (carriage.bound and carriers.knows_loopback(tx, holder))
            places = translations.in_turn(translated.get(holder, ()), held[holder])
            sources: Sequence[str | None] = (row.address,) if here else (places or (None,))
            pairs = found.setdefault(giver, [])
            pairs += [pair for each in sources if (pair := (TakeoverSource(holder, each), ready)) not in pairs]
    return TakeoverSources(found, applied)
