"""Limits of callers: what is within one, and the refusal of what is not, which is that of what does not exist."""

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.errors import NotFound
from wgfleet.panel.services import backups, configs, operations
from wgfleet.panel.services.fleet import assignments, node_groups, nodes, peers
from wgfleet.panel.store import Tx, shown_peers
from wgfleet.panel.store import access as access_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import node_groups as node_group_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import relays as relay_rows
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.reasons import Reason


def _config(tx: Tx, limit: Limit, reference: str) -> bool:
    # The id of a deleted config stands for itself: its backups, and names that are being withdrawn, are found by it.
    return reference in limit.configs or config_rows.find_id(tx, reference) in limit.configs


def _peer(tx: Tx, limit: Limit, peer_id: str) -> bool:
    peer = shown_peers.get(tx, peer_id)
    return peer is not None and peer.config_id in limit.configs


def _node(tx: Tx, limit: Limit, reference: str) -> bool:
    return nodes.get(tx, reference).group_id in limit.groups


def _group(tx: Tx, limit: Limit, reference: str) -> bool:
    return node_groups.get(tx, reference).id in limit.groups


def _operation(tx: Tx, limit: Limit, operation_id: str) -> bool:
    return operation_rows.seen(tx, operation_id, limit)


def _backup(tx: Tx, limit: Limit, backup_id: str) -> bool:
    return backups.get(tx, backup_id).config_id in limit.configs


_WITHIN: dict[str, Callable[[Tx, Limit, str], bool]] = {
    "config": _config,
    "peer": _peer,
    "node": _node,
    "node group": _group,
    "operation": _operation,
    "backup": _backup,
}


def check(tx: Tx, limit: Limit | None, kind: str, reference: str, field: str | None = None) -> None:
    """Raise what the kind's own service raises where there is no such thing, unless it is within a limit."""
    if limit is None:
        return
    with contextlib.suppress(NotFound):
        if _WITHIN[kind](tx, limit, reference):
            return
    refused = _refusal(tx, kind)
    raise NotFound(
        Reason("there is no {kind} {reference!r}", kind=kind, reference=reference), *refused.hints, field=field
    )


def _refusal(tx: Tx, kind: str) -> NotFound:
    get: dict[str, Callable[[Tx, str], object]] = {
        "config": configs.get,
        "peer": peers.get,
        "node": nodes.get,
        "node group": node_groups.get,
        "operation": operations.get,
        "backup": backups.get,
    }
    try:
        get[kind](tx, "")
    except NotFound as refused:
        return refused
    raise AssertionError(kind)


def check_node(tx: Tx, limit: Limit | None, reference: str, field: str | None = None) -> None:
    """Raise as `check` does, unless a node is within a limit, or serves a config that is, or relays clients of one."""
    if limit is None:
        return
    node = node_rows.find(tx, reference)
    if node is None or not (assignments.of_node(tx, node.id, limit) or _relays(tx, node.id, limit)):
        check(tx, limit, "node", reference, field)


def _relays(tx: Tx, node_id: str, limit: Limit) -> bool:
    return any(each.config_id in limit.configs for each in relay_rows.tallies(tx, node_ids=[node_id]))


def check_group(tx: Tx, limit: Limit | None, changes: Mapping[str, Any]) -> None:
    """Raise where changes of a node put it into a group that is not within a limit, or take it out of all."""
    if limit is None or "group" not in changes:
        return
    if changes["group"] is None:
        raise NotFound(
            Reason("a node without a group is outside of what you see; give one of your node groups"), field="group"
        )
    check_named_group(tx, limit, changes["group"])


def check_named_group(tx: Tx, limit: Limit | None, name: str | None) -> None:
    """Raise where the node group that a peer is to prefer (None: none) is not within a limit."""
    if name is not None:
        check(tx, limit, "node group", name, "group")


def sees_event(tx: Tx, limit: Limit, kind: str, identifier: str) -> bool:
    """Say whether an event is of something within a limit; those of which that is not known are not."""
    if kind in {Topic.CONFIG, Topic.FLOATING}:
        return identifier in limit.configs
    if kind in {Topic.NODE, Topic.OPERATION}:
        try:
            return _WITHIN[kind](tx, limit, identifier)
        except NotFound:
            return False
    return False


def limited_to_group(tx: Tx, group_id: str) -> set[str]:
    """Return who is limited to some node groups of which this is one: `user:NAME` and `key:NAME`."""
    rows = ((f"{kind}:{name}", groups) for kind, name, groups in access_rows.limits(tx))
    return {name for name, groups in rows if group_id in (groups or ())}


def resolved(
    tx: Tx, config_references: Sequence[str] | None, group_references: Sequence[str] | None
) -> tuple[list[str] | None, list[str] | None]:
    """Return the ids of a new limit's configs and node groups, both None where there is to be none."""
    if config_references is None and group_references is None:
        return None, None
    found_configs = {configs.id_of(tx, each, "configs") for each in config_references or ()}
    found_groups = {node_groups.named(tx, each, "node_groups").id for each in group_references or ()}
    return sorted(found_configs), sorted(found_groups)


def names(
    tx: Tx, config_ids: Collection[str] | None, group_ids: Collection[str] | None
) -> tuple[list[str] | None, list[str] | None]:
    """Return the names of what a limit is about; of what was deleted, the ids."""
    of_configs = config_rows.names(tx, config_ids or ())
    of_groups = node_group_rows.by_ids(tx, group_ids or ())
    return (
        None if config_ids is None else sorted(of_configs.get(each, each) for each in config_ids),
        None
        if group_ids is None
        else sorted(of_groups[each].name if each in of_groups else each for each in group_ids),
    )
