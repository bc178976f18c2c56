"""Tags: words for some peers, of any config, with settings of their files; listed, made, changed and deleted."""

from functools import partial
from typing import Any

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api import tags as api
from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import After
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.tags import ChangedTag, NewTag, TagReference, TagView
from wgfleet.panel.domain.client_settings import SETTINGS
from wgfleet.panel.services.access.callers import READ
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, typed_name_is
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()
SECTIONS = (Section(marked("Tags"), "/tags", 22, READ, whole=True, forms=("/new/tag",)),)
PAGE = 50
LISTS = {"client_allowed_ips", "excluded_networks", "dns"}
SETTINGS_OF_FILES = (
    ("dns", marked("DNS servers for devices")),
    ("client_allowed_ips", marked("Networks through the tunnel")),
    ("excluded_networks", marked("Networks beside the tunnel")),
    ("keepalive", marked("Keepalive in seconds")),
    ("mtu", marked("MTU")),
    ("endpoint_port", marked("Port in the files")),
)


def left_open(form: SubmittedForm) -> dict[str, Any]:
    """Return the settings of files that a form leaves to those further away."""
    return {name: None for name in SETTINGS if not form.get(name).strip()}


@router.get("/tags")
def list_tags(request: Request, panel: ThePanel, caller: Reader, after: After = None) -> Response:
    found = api.list_tags(panel, caller, after, PAGE)
    context = {
        "tags": found.items,
        "settings": SETTINGS_OF_FILES,
        "with_query": with_query,
        "first": "/tags" if after else None,
        "following": with_query("/tags", {"after": found.next}) if found.next else None,
    }
    return page(request, "tags/list.html", context)


@router.get("/new/tag")
def new_tag_page(request: Request, _caller: Writer) -> Response:
    return _new(request, SubmittedForm())


@router.post("/new/tag")
@all_at_once
def create_tag(request: Request, panel: ThePanel, caller: Writer, form: TheForm) -> Response:
    body = form.read(NewTag, many=LISTS)
    if body is None:
        return _new(request, form)
    try:
        made = api.create_tag(panel, caller, body)
    except REFUSALS as error:
        return _new(request, form.refused(error))
    return gone_on(request, f"/tags/{made.id}")


@router.get("/tags/{tag}")
def tag_page(request: Request, panel: ThePanel, caller: Reader, tag: TagReference) -> Response:
    """Show a tag; who may change it has the form for that."""
    return _edit(request, api.show_tag(panel, caller, tag), SubmittedForm(edits=True))


@router.post("/tags/{tag}")
@all_at_once
def update_tag(request: Request, panel: ThePanel, caller: Writer, tag: TagReference, form: TheForm) -> Response:
    """Change a tag. Files that users have stay as they are."""
    shown = api.show_tag(panel, caller, tag)
    body = form.read(ChangedTag, many=LISTS, more=left_open(form))
    if body is None or form.overtaken(partial(_edit, request, shown, form)):
        return _edit(request, shown, form)
    try:
        api.update_tag(panel, caller, shown.id, body)
    except REFUSALS as error:
        return _edit(request, shown, form.refused(error))
    return gone_on(request, "/tags")


@router.get("/tags/{tag}/delete")
def delete_page(request: Request, panel: ThePanel, caller: Writer, tag: TagReference) -> Response:
    return _delete(request, api.show_tag(panel, caller, tag), SubmittedForm())


@router.post("/tags/{tag}/delete")
def delete_tag(request: Request, panel: ThePanel, caller: Writer, tag: TagReference, form: TheForm) -> Response:
    """Delete a tag; its peers stay."""
    shown = api.show_tag(panel, caller, tag)
    try:
        typed_name_is(form, shown.name)
        api.delete_tag(panel, caller, shown.id)
    except REFUSALS as error:
        return _delete(request, shown, form.refused(error))
    return gone_on(request, "/tags")


def _new(request: Request, form: SubmittedForm) -> Response:
    return page(request, "tags/new.html", {"form": form}, status=form.status)


def _edit(request: Request, tag: TagView, form: SubmittedForm) -> Response:
    given = {name: value for name in SETTINGS if (value := getattr(tag, name)) is not None}
    context = {"tag": tag, "given": given, "settings": SETTINGS_OF_FILES, "form": form, "with_query": with_query}
    return page(request, "tags/tag.html", context, status=form.status)


def _delete(request: Request, tag: TagView, form: SubmittedForm) -> Response:
    return page(request, "tags/delete.html", {"tag": tag, "form": form}, status=form.status)
