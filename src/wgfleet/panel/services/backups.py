"""Backups of an interface before its removal: encrypted, listed, readable as a wg-quick file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.domain import rendering
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.errors import NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit
from wgfleet.panel.services.fleet import assignments, desired
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import backups as backup_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Assignment, Backup, Config, Node
from wgfleet.panel.vault import Vault
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.reasons import Reason

MOST = 20
"""How many that people asked for are kept of a config on a node."""
BY_HAND = Reason("somebody asked for it")


def create(
    tx: Tx,
    vault: Vault,
    actor: str,
    config: Config,
    node: Node,
    assignment: Assignment,
    *,
    reason: str,
    operation_id: str | None = None,
    composed: "Composed | None" = None,
) -> Backup:
    """Save the interface of a config on a node with all its peers; an operation that has saved already gets that.

    `composed`: what was put together of it before, where that is still so.
    """
    if operation_id is not None and (earlier := backup_rows.of_operation(tx, operation_id)) is not None:
        return earlier
    return keep(tx, actor, composed or compose(tx, vault, config, node, assignment, reason), operation_id)


@dataclass(frozen=True, slots=True)
class Composed:
    """A backup that is not kept yet: its id, of which generation it is, how many peers it has, the rest of its row."""

    id: str
    generation: int
    peers: int
    values: Mapping[str, Any]


def compose(tx: Tx, vault: Vault, config: Config, node: Node, assignment: Assignment, reason: str) -> Composed:
    """Return a backup of what there is. Of many peers that takes seconds, in which nobody else has to wait to write."""
    wanted = desired.whole(tx, vault, config, assignment)
    for key in desired.probe_peers(tx, config, assignment):
        del wanted.peers[key]  # they are nobody's, and recreated with the assignment
    names = {PublicKey(peer.public_key): peer.name for peer in peer_rows.of_config(tx, config.id)}
    notes = [f"config {config.name} on node {node.name}, generation {config.generation}: {reason}"]
    backup_id = clock.new_id()
    values = {
        "config_id": config.id,
        "config_name": config.name,
        "node_id": node.id,
        "node_name": node.name,
        "reason": reason,
        "content_sealed": sealed.seal(
            vault, Backup.content_sealed, backup_id, rendering.backup_file(wanted, names, notes)
        ),
        "created_at": clock.now(),
    }
    return Composed(backup_id, config.generation, len(wanted.peers), values)


def keep(tx: Tx, actor: str, composed: Composed, operation_id: str | None = None) -> Backup:
    """Keep a backup."""
    backup = Backup(id=composed.id, operation_id=operation_id, peers=composed.peers, **composed.values)
    backup_rows.add(tx, backup)
    audit.record(
        tx,
        actor,
        "created",
        "backup",
        backup.id,
        config=backup.config_name,
        node=backup.node_name,
        peers=backup.peers,
        reason=backup.reason,
    )
    return backup


def compose_by_hand(tx: Tx, vault: Vault, config: Config, node: Node, reason: str) -> Composed:
    """Return a backup of the interface of a config on a node, for `keep_by_hand`."""
    return compose(tx, vault, config, node, assignments.get(tx, config, node), reason)


def keep_by_hand(tx: Tx, actor: str, composed: Composed) -> Backup:
    """Keep a backup that a person asked for; the oldest such ones of the same beyond `MOST` go."""
    made = keep(tx, actor, composed)
    for each in backup_rows.by_hand_beyond(tx, made.config_id, made.node_id, MOST):
        audit.record(tx, actor, "deleted", "backup", each.id, config=made.config_name, node=made.node_name)
        backup_rows.remove(tx, each)
    return made


def get(tx: Tx, backup_id: str) -> Backup:
    """Return a backup without its content."""
    backup = backup_rows.get(tx, backup_id)
    if backup is None:
        raise NotFound(Reason("there is no backup {backup_id!r}", backup_id=backup_id), Hint(HintCode.LIST_BACKUPS))
    return backup


def page(
    tx: Tx,
    config_id: str | None = None,
    node_id: str | None = None,
    after: str | None = None,
    limit: int = 100,
    within: Limit | None = None,
) -> list[Backup]:
    """Return backups, newest first, starting after the id `after`."""
    return backup_rows.page(tx, config_id, node_id, after, limit, within)


def text(tx: Tx, vault: Vault, actor: str, backup: Backup) -> str:
    """Return the content, a wg-quick file with its secrets; that it was read is audited."""
    audit.record(tx, actor, "read", "backup", backup.id, config=backup.config_name, node=backup.node_name)
    return sealed.unseal(vault, Backup.content_sealed, backup)
