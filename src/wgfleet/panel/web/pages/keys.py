"""API keys: which there are, making one, which is shown once, and revoking one."""

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api.auth import Admin
from wgfleet.panel.api.keys import NewKey, create_key, views
from wgfleet.panel.api.keys import list_keys as keys_of_api
from wgfleet.panel.api.models import After, Reference
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.services.access import api_keys
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, typed_name_is
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()
PAGE = 50
SCOPES = (
    ("read", marked("see everything but secrets")),
    ("write", marked("change configs, peers, and nodes that are there")),
    ("nodes", marked("decide which machines get keys")),
    ("secrets", marked("read files of peers, and backups")),
    ("admin", marked("everything, and users and keys")),
)
NO_SCOPE = marked("choose at least one")


@router.get("/settings/keys")
def list_keys(request: Request, panel: ThePanel, caller: Admin, after: After = None) -> Response:
    found = keys_of_api(panel, caller, after, PAGE)
    context = {
        "keys": found.items,
        "first": "/settings/keys" if after else None,
        "following": with_query("/settings/keys", {"after": found.next}) if found.next else None,
    }
    return page(request, "keys/list.html", context)


@router.get("/settings/keys/new")
def new_key_page(request: Request, _caller: Admin) -> Response:
    return _new(request, SubmittedForm(lists={"scopes": ["read"]}))


@router.post("/settings/keys/new")
@all_at_once
def make_key(request: Request, panel: ThePanel, caller: Admin, form: TheForm) -> Response:
    """Make a key, and show it once."""
    scopes, day = form.chosen("scopes"), form.get("expires_at")
    sent = {**form.values, "scopes": " ".join(scopes), "expires_at": f"{day}T00:00:00Z" if day else ""}
    asked = SubmittedForm(sent)
    body = asked.read(NewKey, many={"scopes", "configs", "node_groups"})
    form.wrong.update(asked.wrong)
    if not scopes:
        form.wrong["scopes"] = NO_SCOPE
    if body is None:
        return _new(request, form)
    try:
        made = create_key(panel, caller, body)
    except REFUSALS as error:
        return _new(request, form.refused(error))
    return page(request, "keys/made.html", {"key": made})


@router.get("/settings/keys/{key}/revoke")
def revoke_page(request: Request, panel: ThePanel, _caller: Admin, key: Reference) -> Response:
    return _revoke(request, panel, key, SubmittedForm())


@router.post("/settings/keys/{key}/revoke")
def revoke_key(request: Request, panel: ThePanel, caller: Admin, key: Reference, form: TheForm) -> Response:
    try:
        with panel.store.write() as tx:
            row = api_keys.get_key(tx, key)
            typed_name_is(form, row.name)
            api_keys.revoke_key(tx, caller.actor, row)
    except REFUSALS as error:
        return _revoke(request, panel, key, form.refused(error))
    return gone_on(request, "/settings/keys")


def _new(request: Request, form: SubmittedForm) -> Response:
    return page(request, "keys/new.html", {"form": form, "scopes": SCOPES}, status=form.status)


def _revoke(request: Request, panel: Panel, key: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        context = {"key": views(tx, [api_keys.get_key(tx, key)])[0], "form": form}
        return page(request, "keys/revoke.html", context, status=form.status)
