"""`/api/operations`: long-running work and its progress."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import Field, computed_field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import After, Identifier, Limit, Page, Said, View, page
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.operations import OperationKind, OperationState
from wgfleet.panel.services import operations
from wgfleet.panel.services.moves import cancelling
from wgfleet.panel.store.tables import Operation

router = subject_router("operations")


class OperationView(View):
    """A durable piece of work. It continues automatically, also after a restart of the panel."""

    id: str
    kind: OperationKind
    subject: str = Field(description="The object that it works on.")
    config_id: str | None
    node_id: str | None
    state: OperationState
    step: str = Field(description="The current step.")
    options: dict[str, Any]
    progress: dict[str, Any] = Field(description="Counts so far.")
    result: dict[str, Any] = Field(description="The result, once it has finished.")
    error: Said | None = Field(description="Why the last attempt failed; it is retried automatically.")
    attempts: int
    requested_by: str
    cancelled_by: str | None = Field(description="Who had it end before its time.")
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    @computed_field(description="Number of peers with a new home; null until it has finished.")  # type: ignore[prop-decorator]  # mypy has no rule for a decorated property
    @property
    def peers_migrated(self) -> int | None:
        """The one figure of `result` that every caller looks for."""
        return self.result.get("peers_migrated")


def view(row: Operation) -> OperationView:
    """Show an operation."""
    return OperationView.model_validate(row, from_attributes=True)


def lead_to(response: Response, panel: Panel, shown: OperationView) -> None:
    """Have an answer say where the operation that it began is shown."""
    response.headers["Location"] = f"{panel.settings.base_path}/api/operations/{shown.id}"


@router.get("/api/operations", summary="List operations, newest first")
def list_operations(
    panel: ThePanel,
    caller: Reader,
    *,
    state: Annotated[OperationState | None, Query(description="Only operations in this state.")] = None,
    kind: Annotated[OperationKind | None, Query(description="Only operations of this kind.")] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[OperationView]:
    with panel.store.read() as tx:
        rows = operations.page(tx, state, kind, after, limit + 1, caller.limit)
        return page(rows, limit, lambda shown: [view(row) for row in shown])


@router.get("/api/operations/{operation_id}", summary="Show an operation")
def show_operation(panel: ThePanel, _caller: Reader, operation_id: Identifier) -> OperationView:
    with panel.store.read() as tx:
        return view(operations.get(tx, operation_id))


@router.post("/api/operations/{operation_id}/cancel", summary="Cancel an operation")
def cancel_operation(panel: ThePanel, caller: Writer, operation_id: Identifier) -> OperationView:
    """Undo a removal: its node serves on. Uncordon what is drained; stop a rebalance. It ends soon, as `failed`.

    Peers that have a new home keep it. Refused (409) for failovers, moves of an address, and a removal whose node
    deletes its interface already.
    """
    with panel.store.write() as tx:
        operation = operations.get(tx, operation_id)
        cancelling.cancel(tx, caller.actor, operation)
        return view(operation)
