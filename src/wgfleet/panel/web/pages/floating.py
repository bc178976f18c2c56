"""Floating addresses: which node holds each, what keeps one from its node, and moving one."""

from typing import Annotated, Any

from fastapi import Path, Request
from starlette.responses import Response

from wgfleet.panel.address_providers import plugins
from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import Reference
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.domain.operations import AddressMoveOptions, OperationKind
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import NotFound
from wgfleet.panel.services import configs, operations
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import READ, Caller
from wgfleet.panel.services.fleet import assignments, nodes
from wgfleet.panel.services.floating import views
from wgfleet.panel.services.moves import address_move
from wgfleet.panel.store import Tx
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.protocol.addresses import parse_address

router = page_router()
SECTIONS = (Section(marked("Floating addresses"), "/floating", 65, READ),)
MOVES = 20
NAMES = 20
Address = Annotated[str, Path(max_length=64, pattern=r"^[!-~]+$")]


@router.get("/floating")
def list_addresses(request: Request, panel: ThePanel, caller: Reader) -> Response:
    """Show all addresses with their holders, and the latest moves."""
    with panel.store.read() as tx:
        found = list(views.everywhere(tx, caller.limit))
        names = {each: configs.get(tx, each).name for each in {config_id for config_id, _ in found}}
        context = {
            "addresses": [(names[config_id], view) for config_id, view in found],
            "moves": _moves(tx, caller),
            "broken": plugins.installed().broken,
        }
        return page(request, "floating/list.html", context, blocks={"now"})


@router.get("/floating/{config}/{address}/move")
def move_page(request: Request, panel: ThePanel, _caller: Writer, config: Reference, address: Address) -> Response:
    return _move(request, panel, config, address, SubmittedForm())


@router.post("/floating/{config}/{address}/move")
def move(
    request: Request, panel: ThePanel, caller: Writer, config: Reference, address: Address, form: TheForm
) -> Response:
    """Begin to move an address; go on to the operation that does it."""
    try:
        with panel.store.write() as tx:
            limits.check_node(tx, caller.limit, form.get("node"), "node")
            node = nodes.named(tx, form.get("node"), "node")
            operation = address_move.start(
                tx, caller.actor, configs.get(tx, config), parse_address(address, "address"), node
            )
            operation_id = operation.id
    except REFUSALS as error:
        return _move(request, panel, config, address, form.refused(error))
    return gone_on(request, f"/operations/{operation_id}")


def _move(request: Request, panel: Panel, config: str, address: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        shown = views.view(tx, row, parse_address(address, "address"))
        count, names = address_move.riders(tx, row, shown.address, panel.settings.drain.live_s, NAMES)
        context = {
            "form": form,
            "config": row,
            "view": shown,
            "count": count,
            "names": names,
            "nodes": [
                each.node
                for each in assignments.listing(tx, row.id)
                if each.assignment.phase == Phase.SERVING
                and each.assignment.health.in_use
                and (shown.holder is None or each.node.id != shown.holder.id)
            ],
        }
        return page(request, "floating/move.html", context, status=form.status)


def _moves(tx: Tx, caller: Caller) -> list[dict[str, Any]]:
    """Return the latest moves with the names of their nodes; those of deleted nodes are not known any more."""
    found = operations.page(tx, None, OperationKind.MOVE_ADDRESS, None, MOVES, caller.limit)
    asked = [operations.options_of(each, AddressMoveOptions) for each in found]
    names = {each: _name(tx, each) for each in {part for one in asked for part in (one.from_node_id, one.to_node_id)}}
    return [
        {"operation": each, "from_node": names[one.from_node_id], "to_node": names[one.to_node_id]}
        for each, one in zip(found, asked, strict=True)
    ]


def _name(tx: Tx, node_id: str | None) -> str | None:
    try:
        return None if node_id is None else nodes.get(tx, node_id).name
    except NotFound:
        return None
