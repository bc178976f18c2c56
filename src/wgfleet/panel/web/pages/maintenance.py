"""Maintenance: nodes cordoned, drained and used again, and configs rebalanced; each page says beforehand for whom."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from wgfleet.panel.api.auth import Writer
from wgfleet.panel.api.models import Reference
from wgfleet.panel.api.nodes import views
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import configs, operations
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.fleet import assignments, cordons, nodes
from wgfleet.panel.services.moves import departures, drain, rebalance
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Node
from wgfleet.panel.web.departing import Leaving, names, refusal
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm
from wgfleet.panel.web.rendering import gone_on, page

router = APIRouter(include_in_schema=False)


@router.get("/nodes/{node}/cordon")
def cordon_page(request: Request, panel: ThePanel, caller: Writer, node: Reference) -> Response:
    with panel.store.read() as tx:
        return page(request, "maintenance/cordon.html", _of_node(tx, nodes.get(tx, node), caller))


@router.post("/nodes/{node}/cordon")
def cordon_node(request: Request, panel: ThePanel, caller: Writer, node: Reference) -> Response:
    with panel.store.write() as tx:
        cordons.cordon(tx, caller.actor, nodes.get(tx, node))
    return gone_on(request, f"/nodes/{node}")


@router.get("/nodes/{node}/uncordon")
def uncordon_page(request: Request, panel: ThePanel, caller: Writer, node: Reference) -> Response:
    with panel.store.read() as tx:
        row = nodes.get(tx, node)
        context = {**_of_node(tx, row, caller), "draining": drain.active(tx, row)}
        return page(request, "maintenance/uncordon.html", context)


@router.post("/nodes/{node}/uncordon")
def uncordon_node(request: Request, panel: ThePanel, caller: Writer, node: Reference) -> Response:
    with panel.store.write() as tx:
        cordons.uncordon(tx, caller.actor, nodes.get(tx, node))
    return gone_on(request, f"/nodes/{node}")


@router.get("/nodes/{node}/drain")
def drain_page(request: Request, panel: ThePanel, caller: Writer, node: Reference) -> Response:
    return _drain(request, panel, caller, node, SubmittedForm())


@router.post("/nodes/{node}/drain")
def drain_node(request: Request, panel: ThePanel, caller: Writer, node: Reference, form: TheForm) -> Response:
    """Begin to empty a node, and go on to watch it."""
    body = form.read(Leaving, boxes={"force"})
    if body is None:
        return _drain(request, panel, caller, node, form)
    try:
        with panel.store.write() as tx:
            asked = body.model_dump()
            started = drain.start(tx, caller.actor, nodes.get(tx, node), grace_s=panel.settings.drain.grace_s, **asked)
            ids = [operation.id for operation in started]
    except REFUSALS as error:
        return _drain(request, panel, caller, node, form.refused(error))
    return gone_on(request, f"/operations/{ids[0]}" if len(ids) == 1 else "/operations")


@router.get("/configs/{config}/rebalance")
def rebalance_page(request: Request, panel: ThePanel, _caller: Writer, config: Reference) -> Response:
    return _rebalance(request, panel, config, SubmittedForm())


@router.post("/configs/{config}/rebalance")
def rebalance_config(request: Request, panel: ThePanel, caller: Writer, config: Reference, form: TheForm) -> Response:
    try:
        with panel.store.write() as tx:
            grace_s = panel.settings.drain.grace_s
            operation_id = rebalance.start(tx, caller.actor, configs.get(tx, config), grace_s=grace_s).id
    except REFUSALS as error:
        return _rebalance(request, panel, config, form.refused(error))
    return gone_on(request, f"/operations/{operation_id}")


def _of_node(tx: Tx, row: Node, caller: Caller) -> dict[str, Any]:
    served = assignments.of_node(tx, row.id, caller.limit)
    return {"node": views(tx, [row])[0], "served": [config.name for _, config in served]}


def _drain(request: Request, panel: Panel, caller: Caller, node: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        row = nodes.get(tx, node)
        served = [
            (config.name, departures.foresee(tx, config, row))
            for assignment, config in assignments.of_node(tx, row.id, caller.limit)
            if assignment.phase == Phase.SERVING
        ]
        context = {
            **_of_node(tx, row, caller),
            "form": form,
            "departures": [(config, names(found)) for config, found in served],
            "can_relay": any(found.can_relay for _, found in served),
            "refused": refusal(lambda: drain.check_room(tx, [row])),
        }
        return page(request, "maintenance/drain.html", context, status=form.status)


def _rebalance(request: Request, panel: Panel, config: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        context = {
            "config": row.name,
            "form": form,
            "served": assignments.listing(tx, row.id),
            "running": [each for each in operations.active_of(tx, row.id) if each.kind == "rebalance"],
        }
        return page(request, "maintenance/rebalance.html", context, status=form.status)
