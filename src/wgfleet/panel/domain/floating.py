"""The holder of each floating address. Pure, and the same answer for the same input.

An address stays where it is as long as its holder is in use: moving it costs the clients behind it a blink. So a node
that joins or comes back gets addresses only when others lose theirs, or by an explicit rebalance.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from wgfleet.protocol.ids import NodeId

GIVE_UP_AFTER_S = 3.0


@dataclass(frozen=True, slots=True)
class HolderCandidate:
    """A node that carries the config. A node of twice the `weight` gets twice the addresses.

    `fit`: clients use it, so what it holds it keeps. `preferred`: nothing speaks against giving it more; one that is
    fit only gets addresses where no node is preferred. `emptied`: it keeps none that another fit node can have. `asks`:
    its agent asks on its link who has an address before it takes one.
    """

    node_id: NodeId
    weight: float
    fit: bool
    preferred: bool
    emptied: bool = False
    asks: bool = True


Holders = dict[str, NodeId | None]


def choose_holders(
    present: Mapping[str, NodeId | None], candidates: Collection[HolderCandidate], unasked: Collection[str] = ()
) -> Holders:
    """Return the holder of each address: the present one while it is fit, else the fit node with the least of them.

    Least is by (held + 1) / weight. Where no node is fit an address stays with the candidate that had it, so that it
    need not move once more when that one returns. `unasked`: nodes that cannot be asked to give theirs up; those go to
    nodes that ask on their links, as long as there are any.
    """
    takers = _takers(candidates)
    keepers = {
        candidate.node_id
        for candidate in candidates
        if not takers or (candidate.fit and not candidate.emptied) or candidate in takers
    }
    holders: Holders = {}
    orphans: list[str] = []
    for address in sorted(present):
        has = present[address]
        if has in keepers:
            holders[address] = has
        else:
            orphans.append(address)
    held = Counter(holder for holder in holders.values() if holder is not None)
    asking = [taker for taker in takers if taker.asks] or takers
    for address in orphans:
        holders[address] = _least(asking if present[address] in unasked else takers, held)
        if (taker := holders[address]) is not None:
            held[taker] += 1
    return holders


def spread(present: Mapping[str, NodeId | None], candidates: Collection[HolderCandidate]) -> Holders:
    """Return holders as if all addresses were assigned from scratch, with the fewest changes."""
    takers = _takers(candidates)
    quotas: Counter[NodeId] = Counter()
    has = Counter(holder for holder in present.values() if holder is not None)
    for _ in present:
        if (taker := _least(takers, quotas, has - quotas)) is not None:
            quotas[taker] += 1
    if not quotas:
        return choose_holders(present, candidates)
    holders: Holders = {}
    movers: list[str] = []
    for address in sorted(present):
        holder = present[address]
        if holder is not None and quotas[holder] > 0:
            holders[address] = holder
            quotas[holder] -= 1
        else:
            movers.append(address)
    free = sorted(quotas.elements())
    return holders | dict(zip(movers, free, strict=True))


def _takers(candidates: Collection[HolderCandidate]) -> Sequence[HolderCandidate]:
    """Return the nodes that may get an address, best first: the first of these groups that is not empty."""
    fit = [candidate for candidate in candidates if candidate.fit and candidate.weight > 0]
    stay = [candidate for candidate in fit if not candidate.emptied]
    return [candidate for candidate in stay if candidate.preferred] or stay or fit


def _least(takers: Sequence[HolderCandidate], held: Counter[NodeId], favored: Collection[NodeId] = ()) -> NodeId | None:
    # Nodes of equal burden: those in `favored` first, then by id, so that the answer is always the same.
    def burden(candidate: HolderCandidate) -> tuple[float, bool, NodeId]:
        node_id = candidate.node_id
        return (held[node_id] + 1) / candidate.weight, node_id not in favored, node_id

    least = min(takers, key=burden, default=None)
    return least.node_id if least is not None else None
