"""Own devices: what a user makes, renews and deletes of its own, with file and code; all that some users see."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api import files as file_answers
from wgfleet.panel.api import shown_peers
from wgfleet.panel.api.auth import Owner
from wgfleet.panel.api.devices import DeviceKeys, NewDevice, answered
from wgfleet.panel.api.models import After, Identifier, ReferenceFilter, cut
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import devices
from wgfleet.panel.services.access.callers import DEVICES, Caller
from wgfleet.panel.services.clients import files
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store import Tx
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.web import peer_states
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, typed_name_is
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.pages.jobs import told_to_user
from wgfleet.panel.web.rendering import gone_on, page

if TYPE_CHECKING:
    from wgfleet.panel.services.clients.files import ClientFile
from wgfleet.panel.services.clients.platforms import Platform

router = page_router()
SECTIONS = (Section(marked("My devices"), "/devices", 75, DEVICES),)
PAGE = 50


@router.get("/devices")
def list_devices(request: Request, panel: ThePanel, caller: Owner, after: After = None) -> Response:
    """Show the caller's devices, and how many more there may be."""
    with panel.store.read() as tx:
        rows, following = cut(devices.page(tx, caller, after, PAGE + 1), PAGE)
        context = {
            "devices": _shown(tx, rows),
            "allowance": devices.allowance(tx, caller, panel.settings.self_service.devices),
            "first": "/devices" if after else None,
            "following": with_query("/devices", {"after": following}) if following else None,
        }
        return page(request, "devices/list.html", context)


@router.get("/devices/new")
def new_device_page(request: Request, panel: ThePanel, caller: Owner) -> Response:
    return _new(request, panel, caller, SubmittedForm())


@router.post("/devices/new")
@all_at_once
def create_device(request: Request, panel: ThePanel, caller: Owner, form: TheForm) -> Response:
    """Make a device and go on to its file and code."""
    body = form.read(NewDevice)
    if body is None:
        return _new(request, panel, caller, form)
    try:
        draft = devices.draft(panel.vault, caller, body.name, body.public_key)
        with panel.store.write() as tx:
            made = devices.create(tx, caller, body.config, draft, panel.settings.self_service.devices)
    except REFUSALS as error:
        return _new(request, panel, caller, form.refused(error))
    return gone_on(request, f"/devices/{made.rows()[0].id}/access")


@router.get("/devices/{device_id}")
def show_device(request: Request, panel: ThePanel, caller: Owner, device_id: Identifier) -> Response:
    with panel.store.read() as tx:
        context = _of_device(tx, caller, device_id) | told_to_user(tx, device_id)
        return page(request, "devices/device.html", context)


@router.get("/devices/{device_id}/access")
def show_access(request: Request, panel: ThePanel, caller: Owner, device_id: Identifier) -> Response:
    """Show the file as text and as a code. That is audited."""
    with panel.store.read() as tx:
        context = _of_device(tx, caller, device_id)
        served = files.refusal(tx, configs.get(tx, context["device"]["config_id"])) is None
    found: Sequence[ClientFile] = ()
    with contextlib.suppress(Conflict), panel.store.write() as tx:  # no node serves the config, or none that it may use
        found = files.files(tx, panel.vault, caller.actor, devices.get(tx, caller, device_id))
    return page(request, "devices/access.html", {**context, "files": found, "served": served})


@router.get("/devices/{device_id}/file")
def download_file(
    panel: ThePanel,
    caller: Owner,
    device_id: Identifier,
    *,
    platform: file_answers.ForPlatform = Platform.CONF,
    node: ReferenceFilter = None,
) -> Response:
    return answered(panel, caller, device_id, lambda file: file_answers.for_platform(file, platform), node)


@router.get("/devices/{device_id}/qr")
def show_code(panel: ThePanel, caller: Owner, device_id: Identifier, node: ReferenceFilter = None) -> Response:
    return answered(panel, caller, device_id, lambda file: file_answers.qr(file, "png"), node)


@router.get("/devices/{device_id}/rotate")
def rotate_page(request: Request, panel: ThePanel, caller: Owner, device_id: Identifier) -> Response:
    return _ask(request, panel, caller, device_id, "devices/rotate.html", SubmittedForm())


@router.post("/devices/{device_id}/rotate")
def rotate_device(request: Request, panel: ThePanel, caller: Owner, device_id: Identifier, form: TheForm) -> Response:
    """Give it new keys and go on to the new file."""
    body = form.read(DeviceKeys)
    if body is None:
        return _ask(request, panel, caller, device_id, "devices/rotate.html", form)
    try:
        with panel.store.write() as tx:
            devices.rotate(tx, panel.vault, caller, devices.get(tx, caller, device_id), body.public_key)
    except REFUSALS as error:
        return _ask(request, panel, caller, device_id, "devices/rotate.html", form.refused(error))
    return gone_on(request, f"/devices/{device_id}/access")


@router.get("/devices/{device_id}/delete")
def delete_page(request: Request, panel: ThePanel, caller: Owner, device_id: Identifier) -> Response:
    return _ask(request, panel, caller, device_id, "devices/delete.html", SubmittedForm())


@router.post("/devices/{device_id}/delete")
def delete_device(request: Request, panel: ThePanel, caller: Owner, device_id: Identifier, form: TheForm) -> Response:
    try:
        with panel.store.write() as tx:
            device = devices.get(tx, caller, device_id)
            typed_name_is(form, device.name)
            devices.delete(tx, caller, device)
    except REFUSALS as error:
        return _ask(request, panel, caller, device_id, "devices/delete.html", form.refused(error))
    return gone_on(request, "/devices")


def _new(request: Request, panel: Panel, caller: Caller, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        may = devices.allowance(tx, caller, panel.settings.self_service.devices)
        return page(request, "devices/new.html", {"form": form, "allowance": may}, status=form.status)


def _ask(
    request: Request, panel: Panel, caller: Caller, device_id: str, template: str, form: SubmittedForm
) -> Response:
    with panel.store.read() as tx:
        return page(request, template, {**_of_device(tx, caller, device_id), "form": form}, status=form.status)


def _of_device(tx: Tx, caller: Caller, device_id: str) -> dict[str, Any]:
    own = devices.get(tx, caller, device_id)
    return {"device": _shown(tx, [peers.shown(tx, own.id)])[0]}


def _shown(tx: Tx, rows: Sequence[ShownPeer]) -> list[dict[str, Any]]:
    """Return devices as the API shows them, with the names of their configs."""
    names = {each: configs.get(tx, each).name for each in {row.config_id for row in rows}}
    shown: list[dict[str, Any]] = [dict(each) for each in shown_peers.of_rows(tx, rows)]
    for each in shown:
        each["config_name"] = names[each["config_id"]]
        each["live"] = peer_states.is_live(each["session"])
    return shown
