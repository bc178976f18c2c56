"""`/api/keys`: who may use this API."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import status
from pydantic import Field

from wgfleet.panel.api.auth import Admin
from wgfleet.panel.api.models import After, Body, Limit, Moment, Page, Reference, View, page, utc
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.fields import MAX_LIST, MAX_NAME
from wgfleet.panel.services import operations
from wgfleet.panel.services.access import api_keys, callers, limits, standing
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import ApiKey

router = subject_router("API keys")
References = Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=MAX_LIST)]
CONFIGS = "Ids or names of the configs that it is limited to, with what belongs to them; null: no limit of these."
NODE_GROUPS = (
    "Ids or names of the node groups that it is limited to, with their nodes; null: no limit of these. Who has one of "
    "the two limits sees nothing of the other kind."
)
Scope = Literal["read", "write", "nodes", "secrets", "admin"]


class NewKey(Body):
    """The key to create."""

    name: str = Field(max_length=MAX_NAME, examples=["ci"])
    scopes: list[Scope] = Field(
        min_length=1,
        max_length=5,
        description="; ".join(f"`{scope}`: {text}" for scope, text in callers.SCOPES.items()) + ".",
        examples=[["read", "write"]],
    )
    expires_at: Annotated[Moment, Field(strict=False)] | None = Field(
        default=None, description="RFC 3339 with a zone; null: never."
    )
    configs: References | None = Field(default=None, description=CONFIGS)
    node_groups: References | None = Field(default=None, description=NODE_GROUPS)


class KeyView(View):
    """An API key, without its secret."""

    id: str
    name: str
    scopes: list[str]
    configs: list[str] | None = Field(description=CONFIGS)
    node_groups: list[str] | None = Field(description=NODE_GROUPS)
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="Accurate to one minute.")
    operations: int = Field(description="How many that it began have not ended: they stop when it is revoked.")


class NewKeyView(KeyView):
    """A new API key."""

    key: str = Field(description="The secret key. It is never shown again.", examples=["wgf_..."])


def views(tx: Tx, rows: Sequence[ApiKey]) -> list[KeyView]:
    """Show keys."""
    begun = operations.unfinished_of(tx, [standing.of_key(row.id) for row in rows])
    return [_view(tx, row, begun.get(standing.of_key(row.id), 0)) for row in rows]


def _view(tx: Tx, row: ApiKey, begun: int = 0) -> KeyView:
    configs, node_groups = limits.names(tx, row.limit_configs, row.limit_groups)
    return KeyView(
        operations=begun,
        configs=configs,
        node_groups=node_groups,
        id=row.id,
        name=row.name,
        scopes=row.scopes,
        created_at=utc(row.created_at),
        expires_at=utc(row.expires_at),
        last_used_at=utc(row.last_used_at),
    )


@router.get("/api/keys", summary="List API keys")
def list_keys(panel: ThePanel, _caller: Admin, after: After = None, limit: Limit = 100) -> Page[KeyView]:
    with panel.store.read() as tx:
        return page(api_keys.keys(tx, after, limit + 1), limit, lambda rows: views(tx, rows))


@router.post("/api/keys", status_code=status.HTTP_201_CREATED, summary="Create an API key")
def create_key(panel: ThePanel, caller: Admin, body: NewKey) -> NewKeyView:
    """Return the key, which is never shown again: the panel keeps only a digest of it."""
    expires_at = body.expires_at.timestamp() if body.expires_at else None
    with panel.store.write() as tx:
        row, text = api_keys.create_key(
            tx, caller.actor, body.name, body.scopes, expires_at, configs=body.configs, groups=body.node_groups
        )
        view = _view(tx, row)
    return NewKeyView(key=text, **view.model_dump())


@router.delete("/api/keys/{key}", status_code=status.HTTP_204_NO_CONTENT, summary="Revoke an API key")
def revoke_key(panel: ThePanel, caller: Admin, key: Reference) -> None:
    """Refused (409) for the last admin key that does not expire.

    What it began and has not ended stops at its next step, where that leaves nobody without a node: changes, drains,
    rebalances and removals. An import is taken back.
    """
    with panel.store.write() as tx:
        api_keys.revoke_key(tx, caller.actor, api_keys.get_key(tx, key))
