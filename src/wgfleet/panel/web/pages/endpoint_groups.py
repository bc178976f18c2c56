"""The name of a config: what files say and how it is published, changed with what users would notice beforehand."""

import json
from functools import partial
from typing import Any

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api import endpoint_groups as calls
from wgfleet.panel.api import previews
from wgfleet.panel.api.auth import Writer
from wgfleet.panel.api.endpoint_groups import ChangedDns, ChangedEndpointGroup, DnsBody, EndpointGroupBody
from wgfleet.panel.api.models import Reference
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.errors import NotFound
from wgfleet.panel.services import configs
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.fleet import endpoint_groups
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, made_of, typed_name_is
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()
BOXES = {"auto_migrate", "publish_only_healthy"}
OF_CLUSTERS = {"port", "publish_only_healthy"}
DNS, OPTIONS = "dns.", "dns.options"
NOT_AN_OBJECT = marked('must be a JSON object, such as {"token": "..."}')


@router.get("/configs/{config}/endpoint-group")
def name_page(request: Request, panel: ThePanel, caller: Writer, config: Reference) -> Response:
    return _shown(request, panel, caller, config, SubmittedForm(edits=True))


@router.post("/configs/{config}/endpoint-group")
@all_at_once
def set_name(request: Request, panel: ThePanel, caller: Writer, config: Reference, form: TheForm) -> Response:
    """Give a config a name, or change it. Where users would notice, the form comes back with how, to be sent again."""
    boxes, without = _fields(panel, config)
    try:
        if _current(panel, caller, config) is None:
            made = form.read(EndpointGroupBody, boxes=boxes, without=without, whole=True)
            dns = _dns(form, DnsBody)
            if made is None or form.wrong:
                return _shown(request, panel, caller, config, form)
            calls.put_endpoint_group(panel, caller, config, made.model_copy(update={"dns": dns}), Response())
        else:
            read = form.read(ChangedEndpointGroup, boxes=boxes, keep_empty={"port"}, without=without)
            dns = _changed_dns(form)
            drawn = partial(_shown, request, panel, caller, config, form)
            if read is None or form.wrong or form.overtaken(drawn):
                return _shown(request, panel, caller, config, form)
            body = made_of(ChangedEndpointGroup, **read.given(), **dns)
            noticed = (
                [] if form.ticked("agreed") else previews.preview_endpoint_group(panel, caller, config, body).effects
            )
            if noticed:
                return _shown(request, panel, caller, config, form, noticed)
            calls.update_endpoint_group(panel, caller, config, body)
    except REFUSALS as error:
        return _shown(request, panel, caller, config, form.refused(error))
    return gone_on(request, f"/configs/{config}")


@router.get("/configs/{config}/endpoint-group/delete")
def delete_name_page(request: Request, panel: ThePanel, caller: Writer, config: Reference) -> Response:
    return _delete(request, panel, caller, config, SubmittedForm())


@router.post("/configs/{config}/endpoint-group/delete")
def delete_name(request: Request, panel: ThePanel, caller: Writer, config: Reference, form: TheForm) -> Response:
    try:
        with panel.store.write() as tx:
            row = configs.get(tx, config)
            typed_name_is(form, endpoint_groups.get(tx, row).domain)
            endpoint_groups.delete(tx, panel.vault, caller.actor, row)
    except REFUSALS as error:
        return _delete(request, panel, caller, config, form.refused(error))
    return gone_on(request, f"/configs/{config}")


def _fields(panel: Panel, config: str) -> tuple[set[str], set[str]]:
    """Return the boxes of the form of a config, and which fields it does not have: a name a node has less to be set."""
    with panel.store.read() as tx:
        independent = configs.get(tx, config).mode == configs.INDEPENDENT
    return (BOXES - OF_CLUSTERS, OF_CLUSTERS) if independent else (BOXES, set())


def _changed_dns(form: SubmittedForm) -> dict[str, Any]:
    """Return what a form changes in how the name is published, as a field of the API's body; empty: nothing.

    Another provider has nothing of the one before, so all fields count then.
    """
    same = form.unchanged(f"{DNS}provider")
    if same and (not form.get(f"{DNS}provider") or all(form.unchanged(DNS + name) for name in ChangedDns.model_fields)):
        return {}
    found = _dns(form, ChangedDns, whole=not same)
    return {"dns": None if found is None else found.given()}


def _dns(form: SubmittedForm, model: type[DnsBody] | type[ChangedDns], *, whole: bool = True) -> Any:
    """Return how the name is published, as the API's body has it; None: not at all."""
    if not form.get(f"{DNS}provider"):
        return None
    found = form.read(model, keep_empty={"zone", "record_name"}, prefix=DNS, without={"options"}, whole=whole)
    text = form.get(OPTIONS).strip()
    if not text or (not whole and form.unchanged(OPTIONS)):
        return found
    try:
        options = json.loads(text)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):
        form.wrong[OPTIONS] = NOT_AN_OBJECT
        return None
    return found and made_of(model, **{**found.model_dump(exclude_unset=True), "options": options})


def _current(panel: Panel, caller: Caller, config: str) -> calls.EndpointGroupView | None:
    with panel.store.read() as tx:
        if endpoint_groups.find(tx, configs.get(tx, config)) is None:
            return None
    try:
        return calls.show_endpoint_group(panel, caller, config)
    except NotFound:  # it was deleted meanwhile
        return None


def _shown(
    request: Request,
    panel: Panel,
    caller: Caller,
    config: str,
    form: SubmittedForm,
    noticed: list[str] | None = None,
) -> Response:
    current = _current(panel, caller, config)
    dns = None if current is None else current.dns
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        context = {
            "config": row.name,
            "independent": row.mode == configs.INDEPENDENT,
            "form": form,
            "group": current,
            "dns": dns,
            "options": json.dumps(dns.options) if dns is not None and dns.options else "",
            "providers": panel.publisher.plugins.names,
            "noticed": noticed or [],
        }
    return page(request, "endpoint_groups/edit.html", context, status=form.status)


def _delete(request: Request, panel: Panel, caller: Caller, config: str, form: SubmittedForm) -> Response:
    effects = previews.preview_endpoint_group_deletion(panel, caller, config).effects
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        context = {"config": row.name, "form": form, "effects": effects, "group": endpoint_groups.get(tx, row)}
    return page(request, "endpoint_groups/delete.html", context, status=form.status)
