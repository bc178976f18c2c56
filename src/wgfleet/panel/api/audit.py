"""`/api/audit-logs`: who did what, and when."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.models import MAX_PAGE, View, Word
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.services import audit

router = APIRouter(tags=["audit"])
MAX_OFFSET = 1_000_000_000


class AuditEntryView(View):
    """An audit log entry."""

    id: int
    at: datetime
    actor: str = Field(description="`key:NAME`, `node:NAME`, `panel` or `agent`.")
    action: str = Field(examples=["assigned"])
    entity_type: str = Field(examples=["config_node"])
    entity_id: str
    details: dict[str, Any]


class AuditPage(View):
    """A page of the audit log, newest first."""

    items: list[AuditEntryView]
    total: int = Field(description="How many entries match.")


@router.get("/api/audit-logs", summary="Read the audit log, newest first")
def list_audit_log(
    panel: ThePanel,
    _caller: Reader,
    *,
    entity_type: Annotated[Word, Query(description="Only entries about this type, such as `config_node`.")] = None,
    entity_id: Annotated[Word, Query(description="Only entries about the object with this id.")] = None,
    action: Annotated[Word, Query(description="Only entries with this action, such as `assigned`.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Maximum number of entries.")] = 50,
    offset: Annotated[
        int, Query(ge=0, le=MAX_OFFSET, description="Number of entries to skip, starting with the newest.")
    ] = 0,
) -> AuditPage:
    with panel.store.read() as tx:
        rows, total = audit.page(
            tx, entity_type=entity_type, entity_id=entity_id, action=action, limit=limit, offset=offset
        )
    items = [AuditEntryView.model_validate(row, from_attributes=True) for row in rows]
    return AuditPage(items=items, total=total)
