"""DNS: published names with their state, plans and failures, and what a person decides about them."""

from typing import Annotated, Any, Literal

from fastapi import Query, Request
from starlette.responses import Response

from wgfleet.panel.api.audit import audit_page
from wgfleet.panel.api.auth import Admin, Reader, Writer
from wgfleet.panel.api.dns import PlanReference, WhichName, adopt_dns, check_dns, plan_dns, views
from wgfleet.panel.api.models import After, Reference, cut
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.services.access.callers import READ
from wgfleet.panel.services.dns import commands
from wgfleet.panel.store import Tx
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()
SECTIONS = (Section(marked("DNS"), "/dns", 60, READ),)
PAGE = 50
HISTORY = 20
State = Annotated[
    Literal["", "pending", "synced", "failing", "conflict", "approval", "cancelled"], Query(description="Its state.")
]


@router.get("/dns")
def list_names(request: Request, panel: ThePanel, caller: Reader, state: State = "", after: After = None) -> Response:
    """Show the names, and what of them waits or fails."""
    with panel.store.read() as tx:
        wanted = SyncState(state) if state else None
        rows, following = cut(list(commands.page(tx, wanted, after, PAGE + 1, caller.limit)), PAGE)
        context = {
            "names": views(tx, rows),
            "queue": commands.queue(tx) if caller.limit is None else None,
            "all_states": list(SyncState),
            "state": state,
            "here": with_query("/dns", {"state": state, "after": after}),
            "first": with_query("/dns", {"state": state}) if after else None,
            "following": with_query("/dns", {"state": state, "after": following}) if following else None,
            "providers": _providers(panel),
        }
        return page(request, "dns/list.html", context, blocks={"now"})


@router.get("/dns/{config}")
def show_name(
    request: Request, panel: ThePanel, _caller: Reader, config: Reference, name: WhichName = None
) -> Response:
    """Show the names of a config: one that is published now, and those that are being withdrawn."""
    with panel.store.read() as tx:
        return page(request, "dns/name.html", _of_config(tx, config, name), blocks={"now"})


@router.get("/dns/{config}/plan")
def show_plan(
    request: Request,
    panel: ThePanel,
    caller: Writer,
    config: Reference,
    *,
    adopt: Literal["", "true"] = "",
    name: WhichName = None,
) -> Response:
    """Ask the provider what is at the name now, and show what would change."""
    plan = plan_dns(panel, caller, config, adopt=bool(adopt), name=name)
    with panel.store.read() as tx:
        context = {**_of_config(tx, config, name), "plan": plan, "adopts": bool(adopt)}
        return page(request, "dns/plan.html", context)


@router.post("/dns/{config}/retry")
def retry(request: Request, panel: ThePanel, caller: Writer, config: Reference) -> Response:
    with panel.store.write() as tx:
        commands.retry(tx, caller.actor, config)
    return gone_on(request, f"/dns/{config}")


@router.get("/dns/{config}/cancel")
def cancel_page(request: Request, panel: ThePanel, _caller: Writer, config: Reference) -> Response:
    with panel.store.read() as tx:
        return page(request, "dns/cancel.html", {**_of_config(tx, config), "form": SubmittedForm()})


@router.post("/dns/{config}/cancel")
def cancel(request: Request, panel: ThePanel, caller: Writer, config: Reference) -> Response:
    with panel.store.write() as tx:
        left = commands.cancel(tx, caller.actor, config)
    return gone_on(request, f"/dns/{config}" if left else "/dns")


@router.get("/dns/{config}/approve")
def approve_page(
    request: Request, panel: ThePanel, _caller: Admin, config: Reference, name: WhichName = None
) -> Response:
    return _approve(request, panel, config, SubmittedForm(), name)


@router.post("/dns/{config}/approve")
def approve(request: Request, panel: ThePanel, caller: Admin, config: Reference, form: TheForm) -> Response:
    """Approve the plan that was shown, and no other."""
    try:
        with panel.store.write() as tx:
            commands.approve(tx, caller.actor, config, form.get("plan_id"))
    except REFUSALS as error:
        return _approve(request, panel, config, form.refused(error))
    return gone_on(request, f"/dns/{config}")


@router.post("/dns/{config}/adopt")
def adopt(request: Request, panel: ThePanel, caller: Admin, config: Reference, form: TheForm) -> Response:
    """Take over foreign records as the plan said that was shown."""
    name = form.get("name")[:253] or None
    adopt_dns(panel, caller, config, PlanReference(plan_id=form.get("plan_id")[:64], name=name))
    return gone_on(request, f"/dns/{config}")


@router.post("/dns/{config}/check")
def check(request: Request, panel: ThePanel, caller: Writer, config: Reference, name: WhichName = None) -> Response:
    """Ask the provider about credential, zone and permissions."""
    findings = check_dns(panel, caller, config, name)
    with panel.store.read() as tx:
        return page(request, "dns/check.html", {**_of_config(tx, config, name), "findings": findings})


def _approve(request: Request, panel: Panel, config: str, form: SubmittedForm, name: str | None = None) -> Response:
    with panel.store.read() as tx:
        context = {**_of_config(tx, config, name), "form": form}
        return page(request, "dns/approve.html", context, status=form.status)


def _of_config(tx: Tx, config: str, name: str | None = None) -> dict[str, Any]:
    """Return what pages of a config's names show; `name`: the one that is meant, where each node has its own."""
    rows = commands.of_config(tx, config)
    shown, (entries, total) = views(tx, rows), commands.history(tx, config, HISTORY)
    present = [each for each in shown if not each.withdrawn]
    current = next((each for each in present if name in {None, each.name}), None)
    return {
        "config": config,
        "of_name": with_query("", {"name": current.name if current and len(present) > 1 else None}),
        "others": [(each, with_query(f"/dns/{config}", {"name": each.name})) for each in present if each != current],
        "name": current or shown[0],
        "current": current,
        "withdrawals": [each for each in shown if each.withdrawn],
        "history": audit_page(entries, total, HISTORY).items,
    }


def _providers(panel: Panel) -> list[dict[str, Any]]:
    """Return the DNS providers that are installed: whether the panel has a credential of its own, and what is wrong."""
    plugins = panel.publisher.plugins
    found = [{"name": name, "own": name in plugins.defaults, "broken": None} for name in plugins.names]
    return found + [{"name": name, "own": False, "broken": why} for name, why in sorted(plugins.broken.items())]
