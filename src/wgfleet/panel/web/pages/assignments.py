"""Nodes of a config: assigned, and removed, each with what that means for whom beforehand."""

from typing import Any

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api import assignments as calls
from wgfleet.panel.api.assignments import NewAssignment
from wgfleet.panel.api.auth import Writer
from wgfleet.panel.api.configs import views
from wgfleet.panel.api.models import Reference, ReferenceFilter
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access.callers import NODES, Caller
from wgfleet.panel.services.fleet import assignments, endpoint_groups, nodes
from wgfleet.panel.services.moves import departures, removal
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config, Node
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.departing import Leaving, names, refusal
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, typed_name_is
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()
MOST_NODES = 1000


@router.get("/configs/{config}/nodes/new")
def assign_page(
    request: Request, panel: ThePanel, caller: Writer, config: Reference, node: ReferenceFilter = None
) -> Response:
    return _assign(request, panel, caller, config, SubmittedForm({"node_id": node} if node else {}))


@router.post("/configs/{config}/nodes/new")
def assign_node(request: Request, panel: ThePanel, caller: Writer, config: Reference, form: TheForm) -> Response:
    """Assign a node. The first time it gets the private keys of the config, which needs a scope of its own."""
    body = form.read(NewAssignment)
    if body is None:
        return _assign(request, panel, caller, config, form)
    try:
        calls.assign_node(panel, caller, config, body)
    except REFUSALS as error:
        return _assign(request, panel, caller, config, form.refused(error))
    return gone_on(request, f"/configs/{config}")


@router.get("/configs/{config}/nodes/{node}/remove")
def remove_page(request: Request, panel: ThePanel, _caller: Writer, config: Reference, node: Reference) -> Response:
    return _remove(request, panel, config, node, SubmittedForm())


@router.post("/configs/{config}/nodes/{node}/remove")
@all_at_once
def remove_node(
    request: Request, panel: ThePanel, caller: Writer, config: Reference, node: Reference, form: TheForm
) -> Response:
    """Begin a removal, and go on to watch it."""
    body = form.read(Leaving, boxes={"force"})
    if body is None:
        return _remove(request, panel, config, node, form)
    try:
        with panel.store.write() as tx:
            row, machine = configs.get(tx, config), nodes.get(tx, node)
            typed_name_is(form, machine.name)
            grace_s = panel.settings.drain.grace_s
            asked = body.asked()
            operation_id = removal.start(tx, caller.actor, row, machine, grace_s=grace_s, **asked).id
    except REFUSALS as error:
        return _remove(request, panel, config, node, form.refused(error))
    return gone_on(request, f"/operations/{operation_id}")


def _assign(request: Request, panel: Panel, caller: Caller, config: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        listed = assignments.listing(tx, row.id)
        there = {each.node.id for each in listed}
        free = [
            node for node in nodes.page(tx, None, MOST_NODES, caller.limit) if node.id not in there and not node.witness
        ]
        known = assignments.entrusted_nodes(tx, row.id)
        context = {
            "config": views(tx, [row])[0],
            "form": form,
            "free": [node for node in free if caller.may(NODES) or node.id in known],
            "closed": sum(not caller.may(NODES) and node.id not in known for node in free),
            "served": listed,
            "homeless": assignments.homeless(tx, row.id, listed),
            "group": endpoint_groups.find(tx, row),
        }
        return page(request, "assignments/assign.html", context, status=form.status)


def _remove(request: Request, panel: Panel, config: str, node: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        row, machine = configs.get(tx, config), nodes.get(tx, node)
        context = {**_departure(tx, row, machine), "form": form}
        return page(request, "assignments/remove.html", context, status=form.status)


def _departure(tx: Tx, row: Config, node: Node) -> dict[str, Any]:
    """Return what is known beforehand of a removal."""
    assignment = assignments.get(tx, row, node)
    listed = assignments.listing(tx, row.id)
    found = departures.foresee(tx, row, node)
    return {
        "config": row.name,
        "node": node,
        "homes": next((each.homes for each in listed if each.node.id == node.id), 0),
        "others": [each.node.name for each in listed if each.node.id != node.id and each.assignment.phase == "serving"],
        "reach": names(found),
        "can_relay": found.can_relay,
        "group": endpoint_groups.find(tx, row),
        "refused": refusal(lambda: removal.check(tx, row, node, assignment)),
    }
