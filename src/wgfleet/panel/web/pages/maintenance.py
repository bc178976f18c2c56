"""Maintenance: nodes and groups drained and used again, configs rebalanced; each page says beforehand for whom."""

from typing import Any

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api.auth import Writer
from wgfleet.panel.api.models import Reference
from wgfleet.panel.api.nodes import views
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import configs, operations
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.fleet import assignments, cordons, node_groups, nodes
from wgfleet.panel.services.moves import departures, drain, group_drain, rebalance
from wgfleet.panel.services.moves.departures import Departure
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Node
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.departing import Leaving, names, refusal
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()


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
@all_at_once
def drain_node(request: Request, panel: ThePanel, caller: Writer, node: Reference, form: TheForm) -> Response:
    """Begin to empty a node, and go on to watch it."""
    body = form.read(Leaving, boxes={"force"})
    if body is None:
        return _drain(request, panel, caller, node, form)
    try:
        with panel.store.write() as tx:
            asked = body.asked()
            started = drain.start(tx, caller.actor, nodes.get(tx, node), grace_s=panel.settings.drain.grace_s, **asked)
            ids = [operation.id for operation in started]
    except REFUSALS as error:
        return _drain(request, panel, caller, node, form.refused(error))
    return gone_on(request, f"/operations/{ids[0]}" if len(ids) == 1 else "/operations")


@router.get("/node-groups/{group}/drain")
def drain_group_page(request: Request, panel: ThePanel, caller: Writer, group: Reference) -> Response:
    return _drain_group(request, panel, caller, group, SubmittedForm())


@router.post("/node-groups/{group}/drain")
@all_at_once
def begin_group_drain(request: Request, panel: ThePanel, caller: Writer, group: Reference, form: TheForm) -> Response:
    """Begin to empty the nodes of a group, and go on to watch it."""
    body = form.read(Leaving, boxes={"force"})
    if body is None:
        return _drain_group(request, panel, caller, group, form)
    try:
        with panel.store.write() as tx:
            row, grace_s = node_groups.get(tx, group), panel.settings.drain.grace_s
            operation_id = group_drain.start(tx, caller.actor, row, grace_s=grace_s, **body.asked()).id
    except REFUSALS as error:
        return _drain_group(request, panel, caller, group, form.refused(error))
    return gone_on(request, f"/operations/{operation_id}")


@router.get("/node-groups/{group}/uncordon")
def uncordon_group_page(request: Request, panel: ThePanel, _caller: Writer, group: Reference) -> Response:
    with panel.store.read() as tx:
        row = node_groups.get(tx, group)
        context = {"group": row.name, "nodes": node_groups.node_names(tx, row.id)}
        return page(request, "maintenance/uncordon_group.html", context)


@router.post("/node-groups/{group}/uncordon")
def free_group(request: Request, panel: ThePanel, caller: Writer, group: Reference, _form: TheForm) -> Response:
    with panel.store.write() as tx:
        row = node_groups.get(tx, group)
        name = row.name
        group_drain.uncordon(tx, caller.actor, row)
    return gone_on(request, f"/node-groups/{name}")


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


def _leaving(tx: Tx, row: Node, caller: Caller) -> list[tuple[str, Departure]]:
    """Return the configs that a node serves, each with what becomes of its clients there."""
    return [
        (config.name, departures.foresee(tx, config, row))
        for assignment, config in assignments.of_node(tx, row.id, caller.limit)
        if assignment.phase == Phase.SERVING
    ]


def _drain(request: Request, panel: Panel, caller: Caller, node: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        row = nodes.get(tx, node)
        served = _leaving(tx, row, caller)
        context = {
            **_of_node(tx, row, caller),
            "form": form,
            "departures": [(config, names(found)) for config, found in served],
            "can_relay": any(found.can_relay for _, found in served),
            "refused": refusal(lambda: drain.check_room(tx, [row])),
        }
        return page(request, "maintenance/drain.html", context, status=form.status)


def _drain_group(request: Request, panel: Panel, caller: Caller, group: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        row = node_groups.get(tx, group)
        members = node_groups.members(tx, row.id)
        served = [(node.name, config, found) for node in members for config, found in _leaving(tx, node, caller)]
        context = {
            "group": row.name,
            "nodes": [node.name for node in members],
            "form": form,
            "departures": [(node, config, names(found)) for node, config, found in served],
            "can_relay": any(found.can_relay for *_, found in served),
            "refused": refusal(lambda: drain.check_room(tx, members)),
        }
        return page(request, "maintenance/drain_group.html", context, status=form.status)


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
