"""A single node changed: its name, addresses, group and share of the peers."""

from collections.abc import Sequence
from functools import partial

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api import nodes as api
from wgfleet.panel.api.auth import Writer
from wgfleet.panel.api.models import Reference
from wgfleet.panel.api.nodes import ChangedNode, views
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.previews import preview_node
from wgfleet.panel.services.access.callers import NODES, Caller
from wgfleet.panel.services.fleet import node_groups, nodes
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()
MOST_GROUPS = 1000
EMPTIED = {"endpoint_name", "capacity", "bandwidth_mbps", "group"}
WHERE_ITS_AGENT_IS = {"agent_host", "agent_port"}
"""Which machine gets keys: to change it, another scope is needed."""


@router.get("/nodes/{node}/edit")
def edit_page(request: Request, panel: ThePanel, caller: Writer, node: Reference) -> Response:
    return _edit(request, panel, caller, node, SubmittedForm(edits=True))


@router.post("/nodes/{node}/edit")
@all_at_once
def update_node(request: Request, panel: ThePanel, caller: Writer, node: Reference, form: TheForm) -> Response:
    """Change a node. Where users would notice, the form comes back with how, and is to be sent once more.

    Where one that serves has new addresses, they are tried first.
    """
    closed = set() if caller.may(NODES) else WHERE_ITS_AGENT_IS
    body = form.read(ChangedNode, many={"endpoint_addresses"}, keep_empty=EMPTIED, without=closed)
    if body is None or form.overtaken(partial(_edit, request, panel, caller, node, form)):
        return _edit(request, panel, caller, node, form)
    try:
        noticed = [] if form.ticked("agreed") else preview_node(panel, caller, node, body).effects
        if noticed:
            return _edit(request, panel, caller, node, form, noticed)
        changed = api.update_node(panel, caller, node, body)
    except REFUSALS as error:
        return _edit(request, panel, caller, node, form.refused(error))
    return gone_on(request, f"/nodes/{changed.name}")


def _edit(
    request: Request,
    panel: Panel,
    caller: Caller,
    node: str,
    form: SubmittedForm,
    noticed: Sequence[str] = (),
) -> Response:
    with panel.store.read() as tx:
        row = nodes.get(tx, node)
        context = {
            "node": views(tx, [row])[0],
            "form": form,
            "noticed": noticed,
            "group": node_groups.name_of(tx, row.group_id),
            "groups": node_groups.page(tx, None, MOST_GROUPS, caller.limit),
        }
        return page(request, "nodes/edit.html", context, status=form.status)
