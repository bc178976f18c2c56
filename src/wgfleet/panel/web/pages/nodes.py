"""Nodes: the list, one node with its health and configs, and adding one by a line to copy."""

from typing import Annotated, Literal

from fastapi import Query, Request
from starlette.responses import Response

from wgfleet.panel.api.auth import NodeAdmin, Reader, Writer
from wgfleet.panel.api.join_tokens import create_join_token
from wgfleet.panel.api.models import Reference
from wgfleet.panel.api.nodes import NewNode, views
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import READ, Caller
from wgfleet.panel.services.fleet import assignments, node_groups, nodes
from wgfleet.panel.services.fleet.nodes import NodeSpec
from wgfleet.panel.services.moves import relay_control
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, typed_name_is
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()
SECTIONS = (Section(marked("Nodes"), "/nodes", 30, READ, forms=("/new/node", "/node-groups")),)
MOST = 1000  # all that a panel is made for
MOST_FREE = 12  # configs that are offered for a node; the others are on their own pages


@router.get("/nodes")
def list_nodes(
    request: Request, panel: ThePanel, caller: Reader, connected: Annotated[Literal["", "yes", "no"], Query()] = ""
) -> Response:
    with panel.store.read() as tx:
        found = views(tx, nodes.shown(tx, None, MOST, caller.limit))
        wanted = [node for node in found if not connected or node.connected == (connected == "yes")]
        return page(request, "nodes/list.html", {"nodes": wanted, "connected": connected}, blocks={"now"})


@router.get("/new/node")
def new_node_page(request: Request, panel: ThePanel, caller: NodeAdmin) -> Response:
    return _new(request, panel, caller, SubmittedForm())


@router.post("/new/node")
@all_at_once
def create_node(request: Request, panel: ThePanel, caller: NodeAdmin, form: TheForm) -> Response:
    """Make a node, and show the line with which its agent joins."""
    body = form.read(NewNode, many={"endpoint_addresses"}, boxes={"witness"})
    if body is None:
        return _new(request, panel, caller, form)
    try:
        with panel.write_with_names(caller, body.agent_host, body.endpoint_name) as tx:
            spec = NodeSpec(**body.model_dump())
            limits.check_group(tx, caller.limit, {"group": spec.group})
            if spec.witness:
                nodes.create_witness(tx, panel.vault, caller.actor, spec)
            else:
                nodes.create(tx, caller.actor, spec)
    except REFUSALS as error:
        return _new(request, panel, caller, form.refused(error))
    return _join(request, panel, caller, body.name)


@router.get("/nodes/{node}")
def show_node(request: Request, panel: ThePanel, caller: Reader, node: Reference) -> Response:
    with panel.store.read() as tx:
        row = nodes.get(tx, node)
        served = assignments.of_node(tx, row.id, caller.limit)
        taken = {config.id for _, config in served}
        context = {
            "node": views(tx, [row])[0],
            "served": [{"config": config.name, "assignment": assignment} for assignment, config in served],
            "relays": relay_control.of_node(tx, row, caller.limit),
            "free": [each.name for each in configs.page(tx, None, MOST_FREE, caller.limit) if each.id not in taken],
            "group": node_groups.name_of(tx, row.group_id),
            "group_id": row.group_id,
            "with_query": with_query,
        }
        return page(request, "nodes/node.html", context, blocks={"now"})


@router.post("/nodes/{node}/join")
def show_join_line(request: Request, panel: ThePanel, caller: NodeAdmin, node: Reference) -> Response:
    """Make a join token, and show the line that uses it; it is shown once."""
    return _join(request, panel, caller, node)


@router.get("/nodes/{node}/delete")
def delete_page(request: Request, panel: ThePanel, caller: Writer, node: Reference) -> Response:
    return _delete(request, panel, caller, node, SubmittedForm())


@router.post("/nodes/{node}/delete")
def delete_node(request: Request, panel: ThePanel, caller: Writer, node: Reference, form: TheForm) -> Response:
    try:
        with panel.store.write() as tx:
            row = nodes.get(tx, node)
            typed_name_is(form, row.name)
            nodes.delete(tx, caller.actor, row)
    except REFUSALS as error:
        return _delete(request, panel, caller, node, form.refused(error))
    return gone_on(request, "/nodes")


def _new(request: Request, panel: Panel, caller: Caller, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        context = {"form": form, "groups": node_groups.page(tx, None, MOST, caller.limit)}
        return page(request, "nodes/new.html", context, status=form.status)


def _join(request: Request, panel: Panel, caller: Caller, node: str) -> Response:
    token = create_join_token(panel, caller, node, request)
    with panel.store.read() as tx:
        return page(request, "nodes/join.html", {"node": views(tx, [nodes.get(tx, node)])[0], "token": token})


def _delete(request: Request, panel: Panel, caller: Caller, node: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        row = nodes.get(tx, node)
        context = {
            "node": views(tx, [row])[0],
            "served": [config.name for _, config in assignments.of_node(tx, row.id, caller.limit)],
            "form": form,
        }
        return page(request, "nodes/delete.html", context, status=form.status)
