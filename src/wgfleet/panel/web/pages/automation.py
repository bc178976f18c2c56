"""Automation that is paused and resumed for a config, and the failover that waits for a person."""

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api.auth import Admin, Reader
from wgfleet.panel.api.models import Reference
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.services import configs, freezes
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()


@router.post("/configs/{config}/automation")
def set_automation(request: Request, panel: ThePanel, caller: Admin, config: Reference, form: TheForm) -> Response:
    """Pause what is done without a person, or resume it."""
    with panel.store.write() as tx:
        row = configs.get(tx, config)
        if form.get("paused") == "true":
            freezes.pause(tx, caller.actor, row)
        else:
            freezes.resume(tx, caller.actor, row)
    return gone_on(request, f"/configs/{config}")


@router.get("/failover")
def show_freeze(request: Request, panel: ThePanel, _caller: Reader) -> Response:
    """Show which nodes do not answer and are left in use until somebody says that they are down."""
    return _freeze(request, panel, SubmittedForm())


@router.post("/failover")
def approve_freeze(request: Request, panel: ThePanel, caller: Admin, form: TheForm) -> Response:
    try:
        with panel.store.write() as tx:
            freezes.approve(tx, caller.actor, form.get("freeze"))
    except REFUSALS as error:
        return _freeze(request, panel, form.refused(error))
    return gone_on(request, "/failover")


def _freeze(request: Request, panel: Panel, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        frozen = freezes.current(tx)
        listed = [] if frozen is None else frozen.nodes
        names, served = nodes.names(tx, listed), nodes.config_names(tx, listed)
        found = sorted((name, served.get(node_id, [])) for node_id, name in names.items())
        context = {"form": form, "frozen": frozen, "nodes": found}
        return page(request, "automation/failover.html", context, blocks={"now"}, status=form.status)
