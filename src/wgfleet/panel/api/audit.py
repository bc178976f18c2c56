"""`/api/audit-logs`: who did what, and when."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Query, Response
from pydantic import Field

from wgfleet.panel.api import spreadsheets
from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.models import MAX_PAGE, Moment, View, Word, utc
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.services import audit
from wgfleet.panel.store.tables import AuditEntry

router = subject_router("audit")
TIMES = ("_at", "_since", "_until")  # how details that are times are named
COLUMNS = ("id", "at", "actor", "address", "action", "entity_type", "entity_id", "details")
MAX_OFFSET = 10_000  # they are read to be skipped; `after` goes on where it is
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Number of entries to skip; for many, use `after`.")]
AfterEntry = Annotated[
    int | None, Query(ge=1, le=2**63 - 1, description="Cursor: only entries older than the one with this id.")
]


class AuditEntryView(View):
    """An audit log entry."""

    id: int
    at: datetime
    actor: str = Field(description="`key:NAME`, `node:NAME`, `panel` or `agent`.")
    address: str | None = Field(
        description="The IP address of the caller; a network where refusals are counted together. Null: what the panel "
        "does by itself, and entries of releases that did not note it."
    )
    action: str = Field(examples=["assigned"])
    entity_type: str = Field(examples=["config_node"])
    entity_id: str
    details: dict[str, Any]


class AuditPage(View):
    """A page of the audit log, newest first."""

    items: list[AuditEntryView]
    next: int | None = Field(description="Cursor: pass it as `after` to get the next page; null on the last page.")
    total: int = Field(description="How many entries match; 10000 stands for that many or more.")


def _view(row: AuditEntry) -> AuditEntryView:
    """Show an entry; times in its details, which rows have in s since the epoch, as all other times."""
    view = AuditEntryView.model_validate(row, from_attributes=True)
    view.details = {
        name: utc(value) if name.endswith(TIMES) and isinstance(value, float) else value
        for name, value in view.details.items()
    }
    return view


def audit_page(rows: Sequence[AuditEntry], total: int, limit: int) -> AuditPage:
    """Show up to `limit` of the rows; one more of them says that there is a next page."""
    items = [_view(row) for row in rows[:limit]]
    return AuditPage(items=items, next=items[-1].id if len(rows) > limit else None, total=total)


@router.get(
    "/api/audit-logs",
    response_model=AuditPage,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    summary="Read the audit log, newest first",
)
def list_audit_log(
    panel: ThePanel,
    _caller: Reader,
    *,
    entity_type: Annotated[Word, Query(description="Only entries about this type, such as `config_node`.")] = None,
    entity_id: Annotated[Word, Query(description="Only entries about the object with this id.")] = None,
    action: Annotated[Word, Query(description="Only entries with this action, such as `assigned`.")] = None,
    actor: Annotated[
        str | None, Query(max_length=100, pattern=r"^[!-~]+$", description="Only entries by this one: `user:anna`.")
    ] = None,
    address: Annotated[
        str | None,
        Query(max_length=100, pattern=r"^[!-~]+$", description="Only entries of callers from this address or network."),
    ] = None,
    since: Annotated[Moment | None, Query(description="Only entries made from this time on.")] = None,
    until: Annotated[Moment | None, Query(description="Only entries made before this time.")] = None,
    form: Annotated[Literal["json", "csv"], Query(alias="format", description="Form of the answer.")] = "json",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Maximum number of entries.")] = 50,
    after: AfterEntry = None,
    offset: Offset = 0,
) -> Response:
    """Name the next page of CSV in the header `wgfleet-next`."""
    with panel.store.read() as tx:
        rows, total = audit.page(
            tx,
            entity_type=entity_type,
            entity_id=entity_id,
            action=action,
            actor=actor,
            address=address,
            since=None if since is None else since.timestamp(),
            until=None if until is None else until.timestamp(),
            limit=limit + 1,
            offset=offset,
            before=after,
        )
    found = audit_page(rows, total, limit)
    if form == "json":
        return Response(found.model_dump_json(), media_type="application/json")
    made = audit_csv(found.items)
    if found.next is not None:
        made.headers["wgfleet-next"] = str(found.next)
    return made


def audit_csv(entries: Iterable[AuditEntryView]) -> Response:
    """Return entries as a file for spreadsheets, with their details as JSON."""
    rows = ((each.id, *_cells(each)) for each in entries)
    return spreadsheets.answer("audit", COLUMNS, rows)


def _cells(entry: AuditEntryView) -> tuple[str, ...]:
    who = (entry.at.isoformat(), entry.actor, entry.address or "")
    return (*who, entry.action, entry.entity_type, entry.entity_id, _details(entry))


def _details(entry: AuditEntryView) -> str:
    return json.dumps(entry.model_dump(mode="json")["details"])
