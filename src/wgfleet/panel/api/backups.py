"""`/api/backups`: copies of interfaces, made before a node is removed from a config, or because somebody asks."""

from datetime import datetime

from fastapi import Response, status
from pydantic import Field

from wgfleet.panel.api.auth import Reader, SecretReader, Writer
from wgfleet.panel.api.files import NO_STORE
from wgfleet.panel.api.models import After, Body, Identifier, Limit, Page, ReferenceFilter, Said, View, page
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.fields import may_be_id
from wgfleet.panel.services import backups, configs
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store.tables import Backup

router = subject_router("backups")


class BackupView(View):
    """A copy of an interface and its peers. The content is encrypted at rest."""

    id: str
    config_id: str
    config_name: str
    node_id: str
    node_name: str
    operation_id: str | None
    reason: Said
    peers: int = Field(description="Number of peers in it.")
    created_at: datetime


class NewBackup(Body):
    """What to save."""

    config: str = Field(min_length=1, max_length=64, description="Id or name of the config.")
    node: str = Field(min_length=1, max_length=64, description="Id or name of a node that the config is assigned to.")
    reason: str | None = Field(default=None, max_length=200, description="Why it is made, in words.")


def _view(row: Backup) -> BackupView:
    return BackupView.model_validate(row, from_attributes=True)


@router.get("/api/backups", summary="List backups, newest first")
def list_backups(
    panel: ThePanel,
    caller: Reader,
    *,
    config: ReferenceFilter = None,
    node: ReferenceFilter = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[BackupView]:
    """`config` and `node` may be ids of deleted objects; names must belong to existing ones."""
    with panel.store.read() as tx:
        if config and not may_be_id(config):
            limits.check(tx, caller.limit, "config", config)
        if node and not may_be_id(node):
            limits.check_node(tx, caller.limit, node)
        config_id = configs.resolve(tx, config) if config else None
        node_id = nodes.resolve(tx, node) if node else None
        rows = backups.page(tx, config_id, node_id, after, limit + 1, caller.limit)
        return page(rows, limit, lambda shown: [_view(row) for row in shown])


@router.post("/api/backups", status_code=status.HTTP_201_CREATED, summary="Make a backup")
def create_backup(panel: ThePanel, caller: Writer, body: NewBackup) -> BackupView:
    """Save the interface of a config on a node with its peers. Of those, the 20 newest of each are kept."""
    with panel.store.read() as tx:
        limits.check(tx, caller.limit, "config", body.config, "config")
        limits.check_node(tx, caller.limit, body.node, "node")
        config, node = configs.get(tx, body.config), nodes.named(tx, body.node, "node")
        composed = backups.compose_by_hand(tx, panel.vault, config, node, body.reason or backups.BY_HAND)
    with panel.store.write() as tx:
        return _view(backups.keep_by_hand(tx, caller.actor, composed))


@router.get("/api/backups/{backup_id}", summary="Show a backup")
def show_backup(panel: ThePanel, _caller: Reader, backup_id: Identifier) -> BackupView:
    with panel.store.read() as tx:
        return _view(backups.get(tx, backup_id))


@router.get(
    "/api/backups/{backup_id}/download",
    summary="Download a backup",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "A wg-quick file."}},
)
def download_backup(panel: ThePanel, caller: SecretReader, backup_id: Identifier) -> Response:
    """Return the interface with its private key and all peers as a wg-quick file. Audited."""
    with panel.store.write() as tx:
        row = backups.get(tx, backup_id)
        text = backups.text(tx, panel.vault, caller.actor, row)
    headers = {"Content-Disposition": f'attachment; filename="{row.config_name}.conf"', **NO_STORE}
    return Response(text, media_type="text/plain", headers=headers)
