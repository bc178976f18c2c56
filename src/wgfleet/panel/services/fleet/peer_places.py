"""Places of new peers: the node that is their home, and their addresses."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from wgfleet.panel.domain import addressing
from wgfleet.panel.domain.placement.place import Strategy, may_use
from wgfleet.panel.errors import Exhausted, Invalid
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import node_groups, placement
from wgfleet.panel.store import Tx
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store.addresses import AddressClaim, PoolRow
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.addresses import parse_address
from wgfleet.protocol.reasons import Reason


class AddressWish(NamedTuple):
    """The addresses that a new peer shall have, the others are chosen. `at`: its place in the request, for errors."""

    peer_id: str
    addresses: Sequence[str]
    at: str


def groups(tx: Tx, wanted: Iterable[tuple[str | None, str]]) -> dict[str | None, str | None]:
    """Return the ids of the node groups that new peers name; each with what the names of fields begin with."""
    found: dict[str | None, str | None] = {None: None}
    for name, at in wanted:
        if name is not None and name not in found:
            found[name] = node_groups.named(tx, name, f"{at}group").id
    return found


def homes(
    tx: Tx, config: Config, peers: Sequence[tuple[str, str | None]], usable: Mapping[str, frozenset[str]]
) -> dict[str, str]:
    """Place new peers, (id, wanted group); without a serving node they wait for the first.

    `usable`: ids of the nodes and node groups that some may use alone.
    """
    nodes = placement.candidates(tx, config.id)
    if not nodes:
        return {}
    placed = placement.choose(tx, config.id, peers, nodes, by=Strategy(config.placement), usable=usable)
    full = [
        peer_id
        for peer_id in placed.left
        if any(may_use(usable.get(peer_id), node.node_id, node.group_id) for node in nodes)
    ]
    if full:
        raise Exhausted(
            Reason(
                "the nodes of config {config!r} have no room for {left} of {count} new peers",
                config=config.name,
                left=len(full),
                count=len(peers),
            ),
            Hint(HintCode.RAISE_CAPACITY),
            Hint(HintCode.ASSIGN_NODE, config=config.name),
        )
    return dict(placed.homes.items())


def check_room(tx: Tx, config: Config, count: int) -> None:
    """Refuse more peers than there are addresses for."""
    address_rows.check_room(tx, _pools(tx, config), count)


def give_addresses(
    tx: Tx, config: Config, wanted: Sequence[AddressWish], spoken_for: Collection[str] = ()
) -> dict[str, list[str]]:
    """Give new peers an address of each pool; return them by peer id, v4 before v6.

    `spoken_for`: what others of the same request get in later transactions.
    """
    pools = _pools(tx, config)
    choosy = [each for each in wanted if each.addresses]
    lacking = _claim(tx, pools, choosy)  # before any is chosen for the others
    for left, peer_ids in lacking.items():
        address_rows.allocate(tx, left, peer_ids, spoken_for)
    given = address_rows.allocate(tx, pools, [each.peer_id for each in wanted if not each.addresses], spoken_for)
    return given | (address_rows.of_peers(tx, [each.peer_id for each in choosy], config.id) if choosy else {})


def _pools(tx: Tx, config: Config) -> list[PoolRow]:
    return address_rows.pools(tx, config.id, slices=config.mode == configs.INDEPENDENT)


def _claim(tx: Tx, pools: Sequence[PoolRow], wanted: Sequence[AddressWish]) -> dict[tuple[PoolRow, ...], list[str]]:
    """Give peers the addresses that they want; return the pools of which some want none in particular, with those."""
    claims: dict[PoolRow, list[AddressClaim]] = {pool: [] for pool in pools}
    lacking: dict[tuple[PoolRow, ...], list[str]] = {}
    for each in wanted:
        left = list(pools)
        for i, text in enumerate(each.addresses):
            field = f"{each.at}addresses[{i}]"
            address = parse_address(text, field)
            pool = next((pool for pool in left if addressing.inside(pool.network, [address])), None)
            if pool is None:
                names = ", ".join(pool.network for pool in pools)
                raise Invalid(
                    Reason(
                        "{address} is in none of the config's pools ({names}), or is a second address from the same "
                        "pool",
                        address=address,
                        names=names,
                    ),
                    field=field,
                )
            claims[pool].append(AddressClaim(address, each.peer_id, field))
            left.remove(pool)
        if left:
            lacking.setdefault(tuple(left), []).append(each.peer_id)
    for pool, some in claims.items():
        if some:
            address_rows.claim(tx, pool, some)
    return lacking
