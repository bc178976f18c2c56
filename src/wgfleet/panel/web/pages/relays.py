"""Relays of a config: who hangs on which, ending them after it was said who is cut off, and prolonging them."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Request
from pydantic import Field
from starlette.responses import Response

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import After, Body, Reference
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.relays import OnePeer
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.moves import relay_control
from wgfleet.panel.store.tables import Node
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.departing import HOUR_S, refusal
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.protocol.reasons import Reason
from wgfleet.protocol.relay import MAX_RELAY_S

router = page_router()
PAGE = 100
NOBODY = marked("nobody hangs on a relay of {node} in this config; nothing was done")


class Longer(Body):
    """For how long from now relays are to last."""

    hours: Annotated[float, Field(gt=0, le=MAX_RELAY_S / HOUR_S, allow_inf_nan=False)]


@router.get("/configs/{config}/relays")
def list_relays(
    request: Request, panel: ThePanel, _caller: Reader, config: Reference, *, after: After = None
) -> Response:
    """Show which nodes relay whom of a config, a page at a time, and until when."""
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        found, path = relay_control.listing(tx, row, None, after, PAGE + 1), f"/configs/{row.name}/relays"
        following = found[PAGE - 1].row.id if len(found) > PAGE else None
        context = {
            "config": row,
            "relays": found[:PAGE],
            "tallies": relay_control.tallies(tx, row),
            "here": with_query(path, {"after": after}),
            "first": path if after else None,
            "following": with_query(path, {"after": following}) if following else None,
        }
        return page(request, "relays/list.html", context, blocks={"now"})


@router.get("/configs/{config}/nodes/{node}/relays/end")
def end_page(
    request: Request, panel: ThePanel, _caller: Writer, config: Reference, node: Reference, *, peer: OnePeer = None
) -> Response:
    return _dialog(request, panel, "relays/end.html", (config, node, peer), SubmittedForm())


@router.post("/configs/{config}/nodes/{node}/relays/end")
def end_relays(
    request: Request,
    panel: ThePanel,
    caller: Writer,
    config: Reference,
    node: Reference,
    form: TheForm,
    *,
    peer: OnePeer = None,
) -> Response:
    """End the relay of one peer, or all of the node; who is live only where that was agreed to."""
    try:
        with panel.store.write() as tx:
            row, machine = configs.get(tx, config), nodes.get(tx, node)
            _somebody(machine, relay_control.end(tx, caller.actor, row, machine, peer, force=form.ticked("force")))
    except REFUSALS as error:
        return _dialog(request, panel, "relays/end.html", (config, node, peer), form.refused(error))
    return gone_on(request, f"/configs/{config}/relays")


@router.get("/configs/{config}/nodes/{node}/relays/prolong")
def prolong_page(
    request: Request, panel: ThePanel, _caller: Writer, config: Reference, node: Reference, *, peer: OnePeer = None
) -> Response:
    return _dialog(request, panel, "relays/prolong.html", (config, node, peer), SubmittedForm())


@router.post("/configs/{config}/nodes/{node}/relays/prolong")
def prolong_relays(
    request: Request,
    panel: ThePanel,
    caller: Writer,
    config: Reference,
    node: Reference,
    form: TheForm,
    *,
    peer: OnePeer = None,
) -> Response:
    about = (config, node, peer)
    body = form.read(Longer)
    if body is None:
        return _dialog(request, panel, "relays/prolong.html", about, form)
    try:
        with panel.store.write() as tx:
            row, machine = configs.get(tx, config), nodes.get(tx, node)
            _somebody(machine, relay_control.prolong(tx, caller.actor, row, machine, peer, body.hours * HOUR_S))
    except REFUSALS as error:
        return _dialog(request, panel, "relays/prolong.html", about, form.refused(error))
    return gone_on(request, f"/configs/{config}/relays")


def _somebody(node: Node, names: Sequence[str]) -> None:
    """Raise `Conflict` where nobody's relay was to end or to last: nothing was done."""
    if not names:
        raise Conflict(Reason(NOBODY, node=node.name))


def _dialog(
    request: Request, panel: Panel, template: str, about: tuple[str, str, str | None], form: SubmittedForm
) -> Response:
    config, node, peer = about
    with panel.store.read() as tx:
        row, machine = configs.get(tx, config), nodes.get(tx, node)
        clients = relay_control.chosen(tx, row, machine, peer)
        context: dict[str, Any] = {
            "form": form,
            "config": row,
            "node": machine,
            "peer": peer,
            "query": with_query("", {"peer": peer}),
            "names": sorted(client.row.peer_name for client in clients),
            "effects": relay_control.effects_of_end(tx, row, machine, clients),
            "refused": refusal(lambda: relay_control.check_end(tx, row, machine, clients)),
        }
        return page(request, template, context, status=form.status)
