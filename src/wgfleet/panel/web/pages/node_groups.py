"""Node groups: listed, made and changed, the nodes that are in them, and deleted; each page says for whom it counts."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api import node_groups as api
from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import After, Reference
from wgfleet.panel.api.node_groups import ChangedNodeGroup, NewNodeGroup, NodeGroupView
from wgfleet.panel.api.nodes import ChangedNode, update_node, views
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.previews import preview_node
from wgfleet.panel.domain.placement.place import DEFAULT_PRIORITY
from wgfleet.panel.errors import NotFound
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.fleet import node_groups, nodes
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Node, NodeGroup
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, made_of, typed_name_is
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.protocol.reasons import Reason

router = page_router()
PAGE = 50
MOST_NODES = 1000  # all that a panel is made for
EMPTIED = {"region", "site"}


@router.get("/node-groups")
def list_groups(request: Request, panel: ThePanel, caller: Reader, after: After = None) -> Response:
    found = api.list_node_groups(panel, caller, after, PAGE)
    with panel.store.read() as tx:
        context = {
            "groups": [(group, node_groups.node_names(tx, group.id)) for group in found.items],
            "first": "/node-groups" if after else None,
            "following": with_query("/node-groups", {"after": found.next}) if found.next else None,
        }
    return page(request, "node_groups/list.html", context)


@router.get("/new/node-group")
def new_group_page(request: Request, _caller: Writer) -> Response:
    return _new(request, SubmittedForm())


@router.post("/new/node-group")
@all_at_once
def create_group(request: Request, panel: ThePanel, caller: Writer, form: TheForm) -> Response:
    body = form.read(NewNodeGroup)
    if body is None:
        return _new(request, form)
    try:
        made = api.create_node_group(panel, caller, body)
    except REFUSALS as error:
        return _new(request, form.refused(error))
    return gone_on(request, f"/node-groups/{made.name}")


@router.get("/node-groups/{group}")
def show_group(request: Request, panel: ThePanel, caller: Reader, group: Reference) -> Response:
    """Show a group with its nodes; who may change it has the form for that."""
    return _group(request, panel, caller, group, SubmittedForm(edits=True))


@router.post("/node-groups/{group}")
@all_at_once
def update_group(request: Request, panel: ThePanel, caller: Writer, group: Reference, form: TheForm) -> Response:
    """Change a group; homes stay where they are."""
    emptied = {name: "" for name in EMPTIED if name in form.values and not form.get(name).strip()}
    body = form.read(ChangedNodeGroup, more=emptied)
    if body is None or form.overtaken(partial(_group, request, panel, caller, group, form)):
        return _group(request, panel, caller, group, form)
    try:
        changed = api.update_node_group(panel, caller, group, body)
    except REFUSALS as error:
        return _group(request, panel, caller, group, form.refused(error))
    return gone_on(request, f"/node-groups/{changed.name}")


@router.get("/node-groups/{group}/delete")
def delete_page(request: Request, panel: ThePanel, caller: Writer, group: Reference) -> Response:
    return _delete(request, panel, caller, group, SubmittedForm())


@router.post("/node-groups/{group}/delete")
def delete_group(request: Request, panel: ThePanel, caller: Writer, group: Reference, form: TheForm) -> Response:
    """Delete a group that no node and no peer is in."""
    try:
        typed_name_is(form, api.show_node_group(panel, caller, group).name)
        api.delete_node_group(panel, caller, group)
    except REFUSALS as error:
        return _delete(request, panel, caller, group, form.refused(error))
    return gone_on(request, "/node-groups")


@router.get("/node-groups/{group}/nodes/new")
def put_in_page(request: Request, panel: ThePanel, caller: Writer, group: Reference) -> Response:
    return _put_in(request, panel, caller, group, SubmittedForm())


@router.post("/node-groups/{group}/nodes/new")
def put_in(request: Request, panel: ThePanel, caller: Writer, group: Reference, form: TheForm) -> Response:
    """Put a node into a group.

    A form that has not agreed comes back with who sees it then, and who no more, and which peers may no longer use it.
    """
    try:
        with panel.store.read() as tx:
            limits.check(tx, caller.limit, "node", form.get("node"), "node")
            into, node = node_groups.get(tx, group), nodes.get(tx, form.get("node"))
            changes = _seen_by(tx, node, into)
            name = into.name
        body = made_of(ChangedNode, group=name)
        if not form.ticked("agreed"):
            noticed = preview_node(panel, caller, node.id, body).effects
            if changes or noticed:
                return _put_in(request, panel, caller, group, form, changes, noticed)
        update_node(panel, caller, node.id, body)
    except REFUSALS as error:
        return _put_in(request, panel, caller, group, form.refused(error))
    return gone_on(request, f"/node-groups/{name}")


@router.get("/node-groups/{group}/nodes/{node}/remove")
def take_out_page(request: Request, panel: ThePanel, caller: Writer, group: Reference, node: Reference) -> Response:
    return _take_out(request, panel, caller, group, node, SubmittedForm())


@router.post("/node-groups/{group}/nodes/{node}/remove")
def take_out(
    request: Request, panel: ThePanel, caller: Writer, group: Reference, node: Reference, _form: TheForm
) -> Response:
    """Take a node out of a group; it has none then."""
    with panel.store.read() as tx:
        name = _member(tx, group, node)[0].name
    try:
        update_node(panel, caller, node, made_of(ChangedNode, group=None))
    except REFUSALS as error:
        return _take_out(request, panel, caller, group, node, SubmittedForm().refused(error))
    return gone_on(request, f"/node-groups/{name}")


def _member(tx: Tx, group: str, node: str) -> tuple[NodeGroup, Node]:
    """Return a group and a node that is in it."""
    found, row = node_groups.get(tx, group), nodes.get(tx, node)
    if row.group_id != found.id:
        raise NotFound(Reason("node {row!r} is not in node group {found!r}", row=row.name, found=found.name))
    return found, row


def _seen_by(tx: Tx, node: Node, into: NodeGroup | None) -> list[tuple[str, list[str]]]:
    """Return who is limited to groups and sees a node from now on, or no more, where it goes into another group."""
    before = set() if node.group_id is None else limits.limited_to_group(tx, node.group_id)
    after = set() if into is None else limits.limited_to_group(tx, into.id)
    found = (("no_more", sorted(before - after)), ("from_now_on", sorted(after - before)))
    return [(word, names) for word, names in found if names]


def _new(request: Request, form: SubmittedForm) -> Response:
    context = {"form": form, "default_priority": DEFAULT_PRIORITY}
    return page(request, "node_groups/new.html", context, status=form.status)


def _group(request: Request, panel: Panel, caller: Caller, group: str, form: SubmittedForm) -> Response:
    found: NodeGroupView = api.show_node_group(panel, caller, group)
    with panel.store.read() as tx:
        context = {
            "group": found,
            "nodes": views(tx, node_groups.members(tx, found.id)),
            "form": form,
            "default_priority": DEFAULT_PRIORITY,
        }
        return page(request, "node_groups/group.html", context, status=form.status)


def _delete(request: Request, panel: Panel, caller: Caller, group: str, form: SubmittedForm) -> Response:
    found = api.show_node_group(panel, caller, group)
    with panel.store.read() as tx:
        context = {
            "group": found,
            "nodes": node_groups.node_names(tx, found.id),
            "is_preferred": node_groups.has_peers(tx, found.id),
            "limited": sorted(limits.limited_to_group(tx, found.id)),
            "form": form,
        }
    return page(request, "node_groups/delete.html", context, status=form.status)


def _put_in(
    request: Request,
    panel: Panel,
    caller: Caller,
    group: str,
    form: SubmittedForm,
    changes: Sequence[tuple[str, list[str]]] = (),
    noticed: Sequence[str] = (),
) -> Response:
    found = api.show_node_group(panel, caller, group)
    with panel.store.read() as tx:
        others = [each.name for each in nodes.page(tx, None, MOST_NODES, caller.limit) if each.group_id != found.id]
    context: dict[str, Any] = {"group": found, "others": others, "form": form, "changes": changes, "noticed": noticed}
    return page(request, "node_groups/put_in.html", context, status=form.status)


def _take_out(request: Request, panel: Panel, caller: Caller, group: str, node: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        _member(tx, group, node)
    noticed: Sequence[str] = ()
    if caller.limit is None:  # others may not take it out
        noticed = preview_node(panel, caller, node, made_of(ChangedNode, group=None)).effects
    with panel.store.read() as tx:
        found, row = _member(tx, group, node)
        context = {
            "group": found.name,
            "node": row.name,
            "changes": _seen_by(tx, row, None),
            "noticed": noticed,
            "is_limited": caller.limit is not None,
            "form": form,
        }
        return page(request, "node_groups/take_out.html", context, status=form.status)
