"""Users: who may sign in and do what; invited by a link, limited, disabled, signed out and deleted."""

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api.auth import Admin
from wgfleet.panel.api.models import After, Identifier, Reference, cut
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.sign_ins import shown_page
from wgfleet.panel.api.users import NewUser, UserChange, views
from wgfleet.panel.services.access import sign_ins, users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.access.users import UserSpec
from wgfleet.panel.web.addresses import from_outside, with_query
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, typed_name_is
from wgfleet.panel.web.link_secrets import link_to
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

if TYPE_CHECKING:
    from wgfleet.panel.services.access.users import UserChanges

router = page_router()
PAGE = 50
SIGN_INS = 100
LISTS = {"configs", "node_groups"}


@router.get("/settings/users")
def list_users(request: Request, panel: ThePanel, _caller: Admin, after: After = None) -> Response:
    with panel.store.read() as tx:
        rows, following = cut(users.page(tx, after, PAGE + 1), PAGE)
        context = {
            "users": views(tx, rows),
            "first": "/settings/users" if after else None,
            "following": with_query("/settings/users", {"after": following}) if following else None,
        }
        return page(request, "users/list.html", context)


@router.get("/new/user")
def new_user_page(request: Request, _caller: Admin) -> Response:
    return _new(request, SubmittedForm())


@router.post("/new/user")
@all_at_once
def create_user(request: Request, panel: ThePanel, caller: Admin, form: TheForm) -> Response:
    """Make a user, and show the link with which the user sets a password; it is shown once."""
    body = form.read(NewUser, many=LISTS)
    if body is None:
        return _new(request, form)
    try:
        with panel.store.write() as tx:
            spec = UserSpec(body.name, body.role, body.configs, body.node_groups, body.device_limit)
            _, link = users.create(tx, caller.actor, spec)
    except REFUSALS as error:
        return _new(request, form.refused(error))
    return _link(request, panel, body.name, link)


@router.get("/settings/users/{user}")
def show_user(request: Request, panel: ThePanel, _caller: Admin, user: Reference) -> Response:
    with panel.store.read() as tx:
        row = users.get(tx, user)
        signed_in = shown_page(sign_ins.page(tx, row.id, None, SIGN_INS), SIGN_INS).items
        return page(request, "users/user.html", {"user": views(tx, [row])[0], "sign_ins": signed_in})


@router.get("/settings/users/{user}/edit")
def edit_page(request: Request, panel: ThePanel, _caller: Admin, user: Reference) -> Response:
    return _about(request, panel, user, "users/edit.html", SubmittedForm(edits=True))


@router.post("/settings/users/{user}/edit")
@all_at_once
def update_user(request: Request, panel: ThePanel, caller: Admin, user: Reference, form: TheForm) -> Response:
    """Change a user; a limit that is left empty is none."""
    body = form.read(UserChange, many=LISTS, boxes={"disabled"})
    if body is None or form.overtaken(partial(_about, request, panel, user, "users/edit.html", form)):
        return _about(request, panel, user, "users/edit.html", form)
    given = body.given()
    fields = ("role", "disabled", "configs", "node_groups", "device_limit")
    sent = {field: given.get(field) for field in fields if not form.unchanged(field)}
    changes = cast("UserChanges", {"groups" if field == "node_groups" else field: sent[field] for field in sent})
    try:
        with panel.store.write() as tx:
            users.update(tx, panel.vault, caller.actor, users.get(tx, user), changes)
    except REFUSALS as error:
        return _about(request, panel, user, "users/edit.html", form.refused(error))
    return gone_on(request, f"/settings/users/{user}")


@router.post("/settings/users/{user}/link")
def make_link(request: Request, panel: ThePanel, caller: Admin, user: Reference) -> Response:
    """Make a new link, and show it once. The one before is worth nothing."""
    with panel.store.write() as tx:
        row = users.get(tx, user)
        name, link = row.name, users.new_link(tx, caller.actor, row)
    return _link(request, panel, name, link)


@router.post("/settings/users/{user}/second-factor")
def remove_second_factor(request: Request, panel: ThePanel, caller: Admin, user: Reference) -> Response:
    with panel.store.write() as tx:
        users.remove_second_factor(tx, caller.actor, users.get(tx, user))
    return gone_on(request, f"/settings/users/{user}")


@router.post("/settings/users/{user}/sign-out")
def sign_out(request: Request, panel: ThePanel, caller: Admin, user: Reference) -> Response:
    """End all sign-ins of a user."""
    with panel.store.write() as tx:
        for row, _ in sign_ins.page(tx, users.get(tx, user).id, None, SIGN_INS):
            sign_ins.end(tx, caller.actor, row)
    return gone_on(request, f"/settings/users/{user}")


@router.get("/settings/users/{user}/delete")
def delete_page(request: Request, panel: ThePanel, _caller: Admin, user: Reference) -> Response:
    return _about(request, panel, user, "users/delete.html", SubmittedForm())


@router.post("/settings/users/{user}/delete")
def delete_user(request: Request, panel: ThePanel, caller: Admin, user: Reference, form: TheForm) -> Response:
    try:
        with panel.store.write() as tx:
            row = users.get(tx, user)
            typed_name_is(form, row.name)
            users.delete(tx, caller.actor, row, with_devices=form.ticked("with_devices"))
    except REFUSALS as error:
        return _about(request, panel, user, "users/delete.html", form.refused(error))
    return gone_on(request, "/settings/users")


@router.get("/settings/sign-ins")
def list_sign_ins(request: Request, panel: ThePanel, _caller: Admin, after: After = None) -> Response:
    """Show who is signed in."""
    with panel.store.read() as tx:
        found = shown_page(sign_ins.page(tx, None, after, PAGE + 1), PAGE)
    context = {
        "sign_ins": found.items,
        "first": "/settings/sign-ins" if after else None,
        "following": with_query("/settings/sign-ins", {"after": found.next}) if found.next else None,
    }
    return page(request, "users/sign_ins.html", context)


@router.post("/settings/sign-ins/{sign_in}/end")
def end_sign_in(request: Request, panel: ThePanel, caller: Admin, sign_in: Identifier) -> Response:
    with panel.store.write() as tx:
        sign_ins.end(tx, caller.actor, sign_ins.get(tx, sign_in))
    return gone_on(request, "/settings/sign-ins")


def _new(request: Request, form: SubmittedForm) -> Response:
    return page(request, "users/new.html", {"form": form, "roles": list(Role)}, status=form.status)


def _about(request: Request, panel: Panel, user: str, template: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        context: dict[str, Any] = {"user": views(tx, [users.get(tx, user)])[0], "form": form, "roles": list(Role)}
        return page(request, template, context, status=form.status)


def _link(request: Request, panel: Panel, name: str, link: str) -> Response:
    """Show where the user sets a password: at the address under which the panel is known, or was asked at."""
    address = from_outside(request, panel, link_to("/set-password", link))
    with panel.store.read() as tx:
        return page(request, "users/link.html", {"user": views(tx, [users.get(tx, name)])[0], "address": address})
