"""Signing in and out: a name and a password, then a code where the user has a second factor; and setting a password."""

import contextlib
from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from wgfleet.panel import origin, passwords
from wgfleet.panel.api.auth import Anyone
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.passkeys import has_host_name
from wgfleet.panel.api.sign_ins import guessed_code, let_in_by_directory, limited
from wgfleet.panel.domain.fields import MAX_NAME
from wgfleet.panel.domain.identities import ProviderKind
from wgfleet.panel.door import VISIT as CONNECTION
from wgfleet.panel.errors import Invalid, NotFound, PanelError
from wgfleet.panel.services.access import providers, sign_ins, users
from wgfleet.panel.services.access.sign_ins import SignInRefused
from wgfleet.panel.tokens import pasted
from wgfleet.panel.web import pending_sign_ins, ways_back
from wgfleet.panel.web.doors import signed_in, signed_out
from wgfleet.panel.web.forms import SubmittedForm, TheForm
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.link_secrets import led_on, unseen
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.pending_sign_ins import PendingSignIn
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.panel.web.visitors import TheVisitor, Visitor
from wgfleet.panel.web.ways_back import Ended
from wgfleet.protocol.reasons import Reason

router = page_router()
Next = Annotated[str | None, Query(max_length=ways_back.MOST)]
AGAIN = marked("it took too long; give the password again")
DIFFERENT = marked("is not the same as the first one")


@router.get("/login")
def sign_in_page(
    request: Request,
    panel: ThePanel,
    visitor: TheVisitor,
    following: Annotated[Next, Query(alias="next")] = None,
    ended: Ended = "",
) -> Response:
    if visitor.caller is not None:
        return gone_on(request, ways_back.shown_path(request, following))
    return password_page(request, panel, SubmittedForm(), ways_back.shown_path(request, following), ended=ended)


@router.post("/login")
def sign_in(request: Request, panel: ThePanel, visitor: TheVisitor, form: TheForm) -> Response:
    """Check name and password; let the user in, or ask for the code."""
    name, following = form.get("name").strip(), ways_back.shown_path(request, form.get("next"))
    try:
        check_length(form)
        with limited(panel, request, name) as remote:
            with panel.store.read() as tx:
                claimed = sign_ins.claim(tx, name)
            program = request.headers.get("user-agent", "")
            vouched = let_in_by_directory(panel, claimed, name, form.get("password"), remote, program)
            if vouched is not None:
                return signed_in(gone_on(request, following), visitor, vouched.token)
            sign_ins.check(claimed, form.get("password"))
        if claimed.second_factor:
            ticket = pending_sign_ins.keep(panel, PendingSignIn(claimed, name, visitor.secret))
            return page(request, "sign_in/code.html", {"form": SubmittedForm(), "next": following, "ticket": ticket})
        return _begin(request, panel, visitor, PendingSignIn(claimed, name, visitor.secret), None, following)
    except PanelError as error:
        shown = SubmittedForm({"name": name}).refused(error)
        return password_page(request, panel, shown, following)


@router.post("/login/code")
def give_code(request: Request, panel: ThePanel, visitor: TheVisitor, form: TheForm) -> Response:
    """Check the code of a user whose password was right a moment ago, in this browser."""
    following, ticket = ways_back.shown_path(request, form.get("next")), form.get("ticket")
    pending = pending_sign_ins.find(panel, ticket, visitor.secret)
    if pending is None:
        shown = SubmittedForm().refused(Invalid(AGAIN))
        return password_page(request, panel, shown, following)
    try:
        with limited(panel, request, None), guessed_code(panel, pending.name):
            answer = _begin(request, panel, visitor, pending, form.get("code")[: passwords.MOST], following)
    except SignInRefused as error:
        shown = SubmittedForm().refused(error)
        context = {"form": shown, "next": following, "ticket": ticket}
        return page(request, "sign_in/code.html", context, status=error.status)
    except PanelError as error:
        shown = SubmittedForm().refused(error)
        return password_page(request, panel, shown, following)
    pending_sign_ins.forget(panel, ticket)
    return answer


@router.post("/logout")
def sign_out(request: Request, panel: ThePanel, caller: Anyone, visitor: TheVisitor) -> Response:
    with panel.store.write() as tx, contextlib.suppress(NotFound):  # it was ended elsewhere at the same time
        sign_ins.end(tx, caller.actor, sign_ins.get(tx, caller.session_id or ""))
    return signed_out(gone_on(request, "/login"), visitor)


@router.get("/set-password")
def set_password_page(
    request: Request, visitor: TheVisitor, link: Annotated[str | None, Query(max_length=64)] = None
) -> Response:
    """Ask for the new password and the link, which scripts put in. `link`: where earlier versions had it."""
    if link is not None:
        return led_on(visitor, "/set-password", link)
    return unseen(page(request, "sign_in/set_password.html", {"form": SubmittedForm()}))


@router.post("/set-password")
def set_password(request: Request, panel: ThePanel, form: TheForm) -> Response:
    """Use up the link of an administrator; the user signs in with the new password afterwards."""
    link, password = pasted(form.get("link")), form.get("password")
    shown = SubmittedForm({"link": link})
    check_new_password(shown, form)
    with shown.noting(), limited(panel, request, None):
        with panel.store.read() as tx:
            name = users.of_link(tx, link).name
        passwords.check(password, name)
        if shown.error is None:
            kept = passwords.hashed(password)
            with panel.store.write() as tx:
                users.set_password_by_link(tx, link, kept)
            return password_page(request, panel, SubmittedForm({"name": name}), "/", password_set=True)
    return unseen(page(request, "sign_in/set_password.html", {"form": shown}, status=shown.status))


def password_page(
    request: Request,
    panel: Panel,
    form: SubmittedForm,
    following: str,
    *,
    password_set: bool = False,
    ended: Ended = "",
) -> Response:
    """Answer with the page that signs in: a name and a password, and what else there is to sign in with just now."""
    connection = getattr(request.state, CONNECTION, None)
    with panel.store.read() as tx:
        enabled = [(row.kind, row.name) for row in providers.listed(tx, enabled=True)]
    by_proxy = connection is not None and connection.of_trusted_proxy
    context = {
        "form": form,
        "next": following,
        "password_set": password_set,
        "ended": ended,
        "passkeys": has_host_name(panel, request),
        "oidc": [name for kind, name in enabled if kind == ProviderKind.OIDC],
        "directories": [name for kind, name in enabled if kind == ProviderKind.LDAP],
        "proxies": [name for kind, name in enabled if kind == ProviderKind.FORWARDED and by_proxy],
    }
    return page(request, "sign_in/password.html", context, status=form.status)


def check_new_password(shown: SubmittedForm, form: SubmittedForm, field: str = "password") -> None:
    """Note on the form that is `shown` where one of a new password has too long fields, or two that differ."""
    with shown.noting():
        check_length(form)
    if form.get(field) != form.get("password_again"):
        shown.refused(Invalid(DIFFERENT, field="password_again"))


def check_length(form: SubmittedForm) -> None:
    """Raise `Invalid` where a name or a password is longer than any is."""
    for name, most in (("name", MAX_NAME), ("password", passwords.MOST), ("new_password", passwords.MOST)):
        if len(form.get(name)) > most:
            raise Invalid(Reason("must have {max_length} characters at most", max_length=most), field=name)


def _begin(
    request: Request, panel: Panel, visitor: Visitor, pending: PendingSignIn, code: str | None, following: str
) -> Response:
    remote = origin.of(request.scope)
    program = request.headers.get("user-agent", "")
    with panel.store.write() as tx:
        _, token = sign_ins.begin(tx, panel.vault, pending.claimed, code, remote, program)
    return signed_in(gone_on(request, following), visitor, token)
