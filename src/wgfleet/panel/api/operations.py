"""`/api/operations`: long-running work and its progress."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import Field, computed_field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import After, Identifier, Limit, Page, Said, View, page
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.operations import OperationKind, OperationState
from wgfleet.panel.services import audit, configs, operations
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.moves import cancelling
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Operation

router = subject_router("operations")


class OperationView(View):
    """A durable piece of work. It continues automatically, also after a restart of the panel."""

    id: str
    kind: OperationKind
    subject: str = Field(description="The object that it works on.")
    config_id: str | None
    config_name: str | None = Field(description="The last one, of a config that was deleted; null: nobody knows it.")
    node_id: str | None
    node_name: str | None = Field(description="Likewise.")
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


def view(tx: Tx, row: Operation) -> OperationView:
    """Show an operation."""
    return views(tx, [row])[0]


def views(tx: Tx, rows: Sequence[Operation]) -> list[OperationView]:
    """Show operations."""
    of_configs = _names(tx, "config", {row.config_id for row in rows if row.config_id is not None}, configs.names)
    of_nodes = _names(tx, "node", {row.node_id for row in rows if row.node_id is not None}, nodes.names)
    return [
        OperationView(
            config_name=of_configs.get(row.config_id or ""),
            node_name=of_nodes.get(row.node_id or ""),
            **{name: getattr(row, name) for name in _OF_ROWS},
        )
        for row in rows
    ]


_OF_ROWS = OperationView.model_fields.keys() - {"config_name", "node_name"}


def _names(tx: Tx, kind: str, ids: set[str], names: Callable[[Tx, set[str]], dict[str, str]]) -> dict[str, str]:
    there = names(tx, ids)
    return there | audit.last_names(tx, kind, ids - there.keys())


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
        return page(rows, limit, lambda shown: views(tx, shown))


@router.get("/api/operations/{operation_id}", summary="Show an operation")
def show_operation(panel: ThePanel, _caller: Reader, operation_id: Identifier) -> OperationView:
    with panel.store.read() as tx:
        return view(tx, operations.get(tx, operation_id))


@router.post("/api/operations/{operation_id}/cancel", summary="Cancel an operation")
def cancel_operation(panel: ThePanel, caller: Writer, operation_id: Identifier) -> OperationView:
    """Undo a removal: its node serves on. Uncordon what is drained; stop a rebalance. It ends soon, as `failed`.

    Peers that have a new home keep it. Refused (409) for failovers, moves of an address, and a removal whose node
    deletes its interface already.
    """
    with panel.store.write() as tx:
        operation = operations.get(tx, operation_id)
        cancelling.cancel(tx, caller.actor, operation)
        return view(tx, operation)
