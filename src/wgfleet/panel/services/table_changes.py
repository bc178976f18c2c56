"""Changes of peers line by line of a table: a few in the caller's transaction, or thousands by an operation."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from wgfleet.panel.domain.operations import PeerChangeOptions, PeerChangeProgress
from wgfleet.panel.services import audit, generations, operations, peer_changes, tunnel_networks
from wgfleet.panel.services.fleet import ownership, peers
from wgfleet.panel.services.fleet.peer_networks import ChangedNetworks
from wgfleet.panel.services.peer_changes import LINES, TABLE, Slice
from wgfleet.panel.store import Tx
from wgfleet.panel.store import peer_changes as change_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.peer_changes import TableLine
from wgfleet.panel.store.tables import Config, Operation
from wgfleet.panel.vault import Vault

if TYPE_CHECKING:
    from wgfleet.panel.services.fleet.peers import PeerChanges

OWNER = "owner_id"
SEEN_BY_OTHERS = frozenset({"name", "public_key", "networks"})
"""Values of which two peers of a config cannot have the same: the next change is checked against this one."""


def make(
    tx: Tx,
    vault: Vault,
    actor: str,
    lines: Sequence[TableLine],
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
) -> None:
    """Make changes, all or none. Their values are those of a change of a peer, and `owner_id`."""
    known = {peer.id: peer for peer in peer_rows.by_ids(tx, [each.peer_id for each in lines])}  # by one statement
    networks = ChangedNetworks(panel_hosts)
    hold_owners(tx, lines)
    for each in lines:
        peer = known.get(each.peer_id) or peers.get(tx, each.peer_id)
        values = dict(each.changes)
        if OWNER in values:
            ownership.give(tx, actor, peer, values.pop(OWNER), enabled=values.get("enabled"))
        if values:
            peers.update(tx, vault, actor, peer, cast("PeerChanges", values), networks=networks)
        if not SEEN_BY_OTHERS.isdisjoint(values):
            tx.flush()


def hold_owners(tx: Tx, lines: Sequence[TableLine]) -> None:
    """Have nobody delete or disable the owners that changes give; before a config is locked."""
    ownership.hold_all(tx, {each.changes[OWNER] for each in lines if each.changes.get(OWNER)})


def hold_next_owners(tx: Tx, operation_id: str) -> None:
    """Have nobody delete or disable the owners that the next step of an operation gives, if it is of a table."""
    if not peer_changes.is_of_table(operations.get(tx, operation_id)):
        return
    peer_ids = change_rows.waiting(tx, operation_id, LINES, by_line=True)
    hold_owners(tx, change_rows.lines(tx, operation_id, peer_ids))


def start(tx: Tx, actor: str, config: Config, lines: Sequence[TableLine]) -> Operation:
    """Write down what is to be changed, and begin."""
    generations.hold(tx, config.id)
    operation = peer_changes.begin(tx, actor, config, PeerChangeOptions(action=TABLE, filter={}))
    change_rows.begin_table(tx, operation.id, lines)
    audit.record(
        tx, actor, "peers_change_started", "config", config.id,
        name=config.name, does=TABLE, peers=len(lines), operation=operation.id,
    )  # fmt: skip
    operations.advance(tx, operation.id, "", PeerChangeProgress(peers=len(lines), changed=0))
    return operation


def slices(vault: Vault, panel_hosts: Mapping[str, str]) -> dict[str, Slice]:
    """Return what an operation does with the next lines of its table."""

    def change(tx: Tx, operation: Operation, _config: Config, peer_ids: Sequence[str]) -> dict[str, str]:
        found: list[TableLine] = change_rows.lines(tx, operation.id, peer_ids)
        make(tx, vault, operation.requested_by, found, panel_hosts)
        return {}

    return {TABLE: change}


def resolved(changes: Mapping[str, Any], group_id: str | None, owner_id: str | None) -> dict[str, Any]:
    """Return the changes of a line with ids in the place of the names of a group and an owner."""
    values = {name: value for name, value in changes.items() if name not in {"group", "owner"}}
    if "group" in changes:
        values["group_id"] = group_id
    if "owner" in changes:
        values[OWNER] = owner_id
    return values
