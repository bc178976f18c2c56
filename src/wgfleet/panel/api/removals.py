"""`DELETE /api/configs/{config}/nodes/{node_id}`: a node is removed from a config, through an operation."""

import asyncio
from typing import Annotated

from fastapi import Query, Response, status
from fastapi.concurrency import run_in_threadpool

from wgfleet.panel import clock
from wgfleet.panel.api.auth import Writer
from wgfleet.panel.api.models import Reference
from wgfleet.panel.api.operations import OperationView, lead_to
from wgfleet.panel.api.operations import view as operation_view
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.services import configs, operations
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.moves import removal
from wgfleet.protocol.relay import MAX_RELAY_S

router = subject_router("assignments")
MAX_WAIT_S = 600
MAX_WINDOW_S = 86400
RelayFor = Annotated[
    float,
    Query(
        ge=0,
        le=MAX_RELAY_S,
        description="For how many seconds the node passes on the packets of clients that nobody else can call (those "
        "behind NAT, without a floating address); their sessions then live on other nodes. 0: it does not.",
    ),
]
POLL_S = 0.1  # a removal takes seconds; a read of one row costs less than a millisecond


@router.delete(
    "/api/configs/{config}/nodes/{node_id}",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Remove a node",
    responses={200: {"model": OperationView, "description": "The removal has finished (only with `wait`)."}},
)
async def remove_node(
    panel: ThePanel,
    caller: Writer,
    config: Reference,
    node_id: Reference,
    response: Response,
    *,
    force: Annotated[
        bool,
        Query(
            description="Remove it even if fewer than `min_nodes` or too little capacity would be left, or live "
            "clients would be cut off (`GET .../departure` names them)."
        ),
    ] = False,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="Wait up to this many seconds for it to finish.")
    ] = 0,
    drain_window_s: Annotated[
        float | None,
        Query(
            ge=0,
            le=MAX_WINDOW_S,
            description="Seconds to wait for sessions that could not be moved; default: TTL + drain.grace_s.",
        ),
    ] = None,
    relay_s: RelayFor = 0.0,
) -> OperationView:
    """Move its peers and their live sessions to the other nodes. Repeating the call returns the same operation.

    Without `force` it ends as `failed`, and the node goes on serving, where live clients answered no other node.
    """

    def begin() -> OperationView:
        with panel.store.write() as tx:
            row, node = configs.get(tx, config), nodes.get(tx, node_id)
            grace_s = panel.settings.drain.grace_s
            started = removal.start(
                tx,
                caller.actor,
                row,
                node,
                grace_s=grace_s,
                force=force,
                drain_window_s=drain_window_s,
                relay_s=relay_s,
            )
            return operation_view(tx, started)

    shown = await run_in_threadpool(begin)
    deadline = clock.monotonic() + wait
    while wait and shown.finished_at is None and clock.monotonic() < deadline:
        await asyncio.sleep(POLL_S)
        shown = await run_in_threadpool(_show, panel, shown.id)
    if shown.finished_at is not None:
        response.status_code = status.HTTP_200_OK
    lead_to(response, panel, shown)
    return shown


def _show(panel: Panel, operation_id: str) -> OperationView:
    with panel.store.read() as tx:
        return operation_view(tx, operations.get(tx, operation_id))
