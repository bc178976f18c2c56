"""Rows of sets of destination rules, and who has them."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import func, or_, select, union

from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.store.chunks import chunked
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Config, Peer, PeerTag, RuleSetRow, Tag


class RuleSetUse(NamedTuple):
    """Who has a set: the names of configs and tags, and how many peers have it of their own."""

    configs: list[str]
    tags: list[str]
    peers: int


def add(tx: Tx, row: RuleSetRow) -> None:
    """Add a set."""
    tx.session.add(row)
    tx.session.flush()


def find(tx: Tx, reference: str) -> RuleSetRow | None:
    """Return the set of that id or name."""
    return tx.session.scalar(select(RuleSetRow).where(or_(RuleSetRow.id == reference, RuleSetRow.name == reference)))


def hold(tx: Tx, set_id: str, *, alone: bool) -> bool:
    """Keep a set from being deleted meanwhile, or (`alone`) from being given to anybody; False: it is gone."""
    query = select(RuleSetRow.id).where(RuleSetRow.id == set_id)
    return tx.session.scalar(query.with_for_update(read=not alone)) is not None


def count(tx: Tx) -> int:
    """Return how many sets there are."""
    return tx.session.scalar(select(func.count()).select_from(RuleSetRow)) or 0


def page(tx: Tx, after: str | None, limit: int, within: Limit | None = None) -> Sequence[RuleSetRow]:
    """Return sets in the order they were made, after the id `after`; `within`: those that configs of a limit use."""
    query = select(RuleSetRow).order_by(RuleSetRow.id).limit(limit)
    if within is not None:
        query = query.where(RuleSetRow.id.in_(used_in(tx, within.configs)))
    return tx.session.scalars(query.where(RuleSetRow.id > after) if after else query).all()


def by_ids(tx: Tx, set_ids: Collection[str]) -> Sequence[RuleSetRow]:
    """Return sets by their ids."""
    return tx.session.scalars(select(RuleSetRow).where(RuleSetRow.id.in_(set_ids))).all() if set_ids else ()


def all_names(tx: Tx) -> dict[str, str]:
    """Return the names of all sets, by id."""
    return {row.id: row.name for row in tx.connection.execute(select(RuleSetRow.id, RuleSetRow.name))}


def names(tx: Tx, set_ids: Collection[str]) -> dict[str, str]:
    """Return the names of sets, by id."""
    if not set_ids:
        return {}
    found = tx.session.execute(select(RuleSetRow.id, RuleSetRow.name).where(RuleSetRow.id.in_(set_ids)))
    return {row.id: row.name for row in found}


def delete(tx: Tx, row: RuleSetRow) -> None:
    """Delete a set."""
    tx.session.delete(row)
    tx.session.flush()


def uses(tx: Tx, set_ids: Collection[str], within: Limit | None = None) -> Mapping[str, RuleSetUse]:
    """Return who has each of some sets; of configs within a limit, which tags are not."""
    found = {set_id: RuleSetUse([], [], 0) for set_id in set_ids}
    if not found:
        return found
    for table, place in ((Config, 0), (Tag, 1)):
        named = select(table.rule_set, table.name).where(table.rule_set.in_(found)).order_by(table.name)
        if within is not None:
            named = named.where(table.id.in_(within.configs))
        for set_id, name in tx.session.execute(named):
            if set_id is not None:
                (found[set_id].configs, found[set_id].tags)[place].append(name)
    counted = select(Peer.rule_set, func.count()).where(Peer.rule_set.in_(found), Peer.rule_set != "")
    if within is not None:
        counted = counted.where(Peer.config_id.in_(within.configs))
    for set_id, number in tx.session.execute(counted.group_by(Peer.rule_set)):
        found[set_id or ""] = found[set_id or ""]._replace(peers=number)
    return found


def used_in(tx: Tx, config_ids: Collection[str]) -> list[str]:
    """Return the ids of the sets that configs, their peers, or the tags of these have; sorted."""
    ids = list(config_ids)
    tagged = select(PeerTag.tag_id).join(Peer, Peer.id == PeerTag.peer_id).where(Peer.config_id.in_(ids))
    found = tx.session.scalars(
        union(
            select(Config.rule_set).where(Config.id.in_(ids), Config.rule_set != ""),
            select(Peer.rule_set).where(Peer.config_id.in_(ids), Peer.rule_set != ""),
            select(Tag.rule_set).where(Tag.rule_set != "", Tag.id.in_(tagged)),
        )
    )
    return sorted(each for each in found if each)


def of_config(tx: Tx, config_id: str) -> list[RuleSetRow]:
    """Return the sets that a config's nodes are to know, in the order of their ids."""
    return sorted(by_ids(tx, used_in(tx, [config_id])), key=lambda row: row.id)


def dns_of(tx: Tx, config_id: str, set_id: str) -> list[str]:
    """Return the name servers that files of a config's peers get from peers and tags that have a set."""
    tagged = select(PeerTag.tag_id).join(Peer, Peer.id == PeerTag.peer_id).where(Peer.config_id == config_id)
    own = select(Peer.dns).where(Peer.config_id == config_id, Peer.rule_set == set_id, Peer.rule_set != "")
    of_tags = select(Tag.dns).where(Tag.rule_set == set_id, Tag.id.in_(tagged))
    found = [*tx.session.scalars(own.where(Peer.dns.is_not(None))), *tx.session.scalars(of_tags)]
    return list(dict.fromkeys(entry for entries in found for entry in entries or ()))


def configs_using(tx: Tx, set_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the ids of the configs whose nodes are to know each of some sets, sorted."""
    found: dict[str, list[str]] = {set_id: [] for set_id in set_ids}
    if not found:
        return found
    tagged = select(Tag.rule_set, Peer.config_id).join(PeerTag, PeerTag.tag_id == Tag.id)
    pairs = union(
        select(Config.rule_set, Config.id).where(Config.rule_set.in_(found)),
        select(Peer.rule_set, Peer.config_id).where(Peer.rule_set.in_(found), Peer.rule_set != ""),
        tagged.join(Peer, Peer.id == PeerTag.peer_id).where(Tag.rule_set.in_(found)),
    )
    for set_id, config_id in tx.session.execute(pairs):
        found[set_id or ""].append(config_id)
    return {set_id: sorted(config_ids) for set_id, config_ids in found.items()}


def any_named(tx: Tx, peer_ids: Collection[str]) -> bool:
    """Tell whether one of some peers, or a tag of one, has a set."""
    tagged = select(Tag.id).join(PeerTag, PeerTag.tag_id == Tag.id).where(Tag.rule_set != "")
    own = select(Peer.id).where(Peer.rule_set != "")
    return any(
        tx.session.scalar(query.limit(1)) is not None
        for chunk in chunked(peer_ids)
        for query in (own.where(Peer.id.in_(chunk)), tagged.where(PeerTag.peer_id.in_(chunk)))
    )
