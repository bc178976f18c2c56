"""Backups of an interface before its removal: encrypted, listed, readable as a wg-quick file."""

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
) -> Backup:
    """Save the interface of a config on a node with all its peers; an operation that has saved already gets that."""
    if operation_id is not None and (earlier := backup_rows.of_operation(tx, operation_id)) is not None:
        return earlier
    wanted = desired.whole(tx, vault, config, assignment)
    for key in desired.probe_peers(tx, config, assignment):
        del wanted.peers[key]  # they are nobody's, and recreated with the assignment
    names = {PublicKey(peer.public_key): peer.name for peer in peer_rows.of_config(tx, config.id)}
    notes = [f"config {config.name} on node {node.name}, generation {config.generation}: {reason}"]
    backup_id = clock.new_id()
    text = rendering.backup_file(wanted, names, notes)
    backup = Backup(
        id=backup_id,
        config_id=config.id,
        config_name=config.name,
        node_id=node.id,
        node_name=node.name,
        operation_id=operation_id,
        reason=reason,
        peers=len(wanted.peers),
        content_sealed=sealed.seal(vault, Backup.content_sealed, backup_id, text),
        created_at=clock.now(),
    )
    backup_rows.add(tx, backup)
    audit.record(
        tx, actor, "created", "backup", backup_id, config=config.name, node=node.name, peers=backup.peers, reason=reason
    )
    return backup


def create_by_hand(tx: Tx, vault: Vault, actor: str, config: Config, node: Node, reason: str) -> Backup:
    """Save the interface of a config on a node because a person asks; the oldest such ones of it beyond `MOST` go."""
    assignment = assignments.get(tx, config, node)
    made = create(tx, vault, actor, config, node, assignment, reason=reason)
    for each in backup_rows.by_hand_beyond(tx, config.id, node.id, MOST):
        audit.record(tx, actor, "deleted", "backup", each.id, config=config.name, node=node.name)
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
