"""Your account: password, second factor, passkeys, and where you are signed in."""

from dataclasses import dataclass
from typing import Annotated, Literal

import segno
from fastapi import Query, Request
from pydantic import SecretStr
from starlette.responses import Response

from wgfleet.panel import passwords
from wgfleet.panel.api import me, passkeys
from wgfleet.panel.api.auth import Anyone
from wgfleet.panel.api.me import PasswordChange, PresentPassword, SecondFactorCode
from wgfleet.panel.api.models import Identifier
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.passkeys import NewPasskey, has_host_name
from wgfleet.panel.errors import Invalid, PanelError
from wgfleet.panel.services.access import passkeys as kept_passkeys
from wgfleet.panel.services.access import providers, sign_ins, users
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.pages.sign_in import check_length, check_new_password
from wgfleet.panel.web.pages.sign_in_passkey import answer_of, refused_challenge, shown_challenge
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()
DONE = {
    "password": marked("The password is changed. You are signed out everywhere else."),
    "factor": marked("The second factor is removed: the password alone lets you in."),
    "passkey": marked("The passkey is kept. Sign in with it the next time."),
    "removed": marked("The passkey is removed."),
    "ended": marked("You are signed out there."),
}
Done = Annotated[Literal["", "password", "factor", "passkey", "removed", "ended"], Query()]


@dataclass(frozen=True, slots=True)
class AskedPassword:
    """A form that asks for the present password and nothing else: where it goes, and its template's words."""

    path: str
    what: Literal["begin", "renew", "remove"]


BEGIN = AskedPassword("/profile/second-factor", "begin")
RENEW = AskedPassword("/profile/recovery-codes", "renew")
REMOVE = AskedPassword("/profile/second-factor/remove", "remove")


@router.get("/profile")
def show_profile(request: Request, panel: ThePanel, caller: Anyone, done: Done = "") -> Response:
    with panel.store.read() as tx:
        user = users.of_caller(tx, caller)
        vouching = None if user.provider_id is None else providers.get(tx, user.provider_id).name
        context = {
            "user": user,
            "provider": vouching,
            "has_host_name": has_host_name(panel, request),
            "passkeys": kept_passkeys.listed(tx, user),
            "sign_ins": [row for row, _ in sign_ins.page(tx, user.id, None, sign_ins.MOST)][::-1],
            "done": DONE.get(done),
        }
        return page(request, "profile/profile.html", context)


@router.get("/profile/password")
def password_form(request: Request, _caller: Anyone) -> Response:
    return page(request, "profile/password.html", {"form": SubmittedForm()})


@router.post("/profile/password")
def change_password(request: Request, panel: ThePanel, caller: Anyone, form: TheForm) -> Response:
    shown, new = SubmittedForm(), form.get("new_password")
    check_new_password(shown, form, "new_password")
    with shown.noting():
        passwords.check(new, caller.name, "new_password")
    with shown.noting():
        me.checked(panel, caller, _password(form))
    if shown.error is None:
        with shown.noting():
            body = PasswordChange(password=SecretStr(form.get("password")), new_password=SecretStr(new))
            me.change_password(panel, caller, body)
            return gone_on(request, "/profile?done=password")
    return page(request, "profile/password.html", {"form": shown}, status=shown.status)


@router.get("/profile/second-factor")
def second_factor_form(request: Request, _caller: Anyone) -> Response:
    return _asking(request, BEGIN)


@router.post("/profile/second-factor")
def begin_second_factor(request: Request, panel: ThePanel, caller: Anyone, form: TheForm) -> Response:
    """Show a new secret for the authenticator app, once, and ask for a code of it."""
    try:
        made = me.begin_second_factor(panel, caller, _password(form))
    except PanelError as error:
        return _asking(request, BEGIN, error)
    code = segno.make_qr(made.address, error="m").svg_data_uri(scale=5, border=4)
    context = {"form": SubmittedForm(), "secret": made.secret, "code": code}
    return page(request, "profile/second_factor.html", context)


@router.post("/profile/second-factor/confirm")
def confirm_second_factor(request: Request, panel: ThePanel, caller: Anyone, form: TheForm) -> Response:
    try:
        body = form.read(SecondFactorCode)
        if body is None:
            raise Invalid(form.wrong.get("code", ""), field="code")
        made = me.confirm_second_factor(panel, caller, body)
    except PanelError as error:
        shown = SubmittedForm().refused(error)
        context = {"form": shown, "secret": None, "code": None}
        return page(request, "profile/second_factor.html", context, status=shown.status)
    return page(request, "profile/recovery_codes.html", {"codes": made.recovery_codes})


@router.get("/profile/recovery-codes")
def recovery_codes_form(request: Request, _caller: Anyone) -> Response:
    return _asking(request, RENEW)


@router.post("/profile/recovery-codes")
def renew_recovery_codes(request: Request, panel: ThePanel, caller: Anyone, form: TheForm) -> Response:
    try:
        made = me.renew_recovery_codes(panel, caller, _password(form))
    except PanelError as error:
        return _asking(request, RENEW, error)
    return page(request, "profile/recovery_codes.html", {"codes": made.recovery_codes})


@router.get("/profile/second-factor/remove")
def removal_form(request: Request, _caller: Anyone) -> Response:
    return _asking(request, REMOVE)


@router.post("/profile/second-factor/remove")
def remove_second_factor(request: Request, panel: ThePanel, caller: Anyone, form: TheForm) -> Response:
    try:
        me.remove_my_second_factor(panel, caller, _password(form))
    except PanelError as error:
        return _asking(request, REMOVE, error)
    return gone_on(request, "/profile?done=factor")


@router.get("/profile/passkeys/new")
def passkey_form(request: Request, _caller: Anyone) -> Response:
    return page(request, "profile/passkey.html", {"form": SubmittedForm(), "longest": kept_passkeys.MAX_NAME})


@router.post("/profile/passkeys/begin")
def begin_passkey(request: Request, panel: ThePanel, caller: Anyone, form: TheForm) -> Response:
    """Give the script what the authenticator is to answer, to who knows the password."""
    try:
        name = _passkey_name(form)
        body = passkeys.WantedPasskey(password=_password(form).password, name=name)
        return shown_challenge(passkeys.begin_passkey(panel, request, caller, body))
    except REFUSALS as error:
        return refused_challenge(request, error)


@router.post("/profile/passkeys/new")
def add_passkey(request: Request, panel: ThePanel, caller: Anyone, form: TheForm) -> Response:
    try:
        passkeys.add_passkey(panel, request, caller, NewPasskey(name=_passkey_name(form), **answer_of(form)))
    except REFUSALS as error:
        shown = SubmittedForm({"name": form.get("name")}).refused(error)
        return page(
            request, "profile/passkey.html", {"form": shown, "longest": kept_passkeys.MAX_NAME}, status=shown.status
        )
    return gone_on(request, "/profile?done=passkey")


@router.post("/profile/passkeys/{passkey}/remove")
def remove_passkey(request: Request, panel: ThePanel, caller: Anyone, passkey: Identifier) -> Response:
    passkeys.remove_my_passkey(panel, caller, passkey)
    return gone_on(request, "/profile?done=removed")


@router.post("/profile/sign-ins/{sign_in}/end")
def end_sign_in(request: Request, panel: ThePanel, caller: Anyone, sign_in: Identifier) -> Response:
    me.end_my_sign_in(panel, caller, sign_in)
    return gone_on(request, "/profile?done=ended")


@router.post("/profile/sign-ins/end-others")
def end_other_sign_ins(request: Request, panel: ThePanel, caller: Anyone) -> Response:
    with panel.store.write() as tx:
        sign_ins.end_others(tx, caller)
    return gone_on(request, "/profile?done=ended")


def _asking(request: Request, asked: AskedPassword, error: PanelError | None = None) -> Response:
    form = SubmittedForm() if error is None else SubmittedForm().refused(error)
    return page(request, "profile/present_password.html", {"form": form, "asked": asked}, status=form.status)


def _passkey_name(form: SubmittedForm) -> str:
    return kept_passkeys.checked_name(form.get("name").strip())


def _password(form: SubmittedForm) -> PresentPassword:
    check_length(form)
    return PresentPassword(password=SecretStr(form.get("password")))
