"""Signing in with a passkey: a script has the browser's authenticator answer, and sends the answer as a form."""

from typing import Any

from fastapi import Request
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.responses import JSONResponse, Response

from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.passkeys import AskedView, PasskeyAnswer, begin_passkey_sign_in, finish_passkey_sign_in
from wgfleet.panel.errors import Invalid, PanelError
from wgfleet.panel.web import ways_back
from wgfleet.panel.web.doors import signed_in
from wgfleet.panel.web.forms import SubmittedForm, TheForm
from wgfleet.panel.web.languages import translations
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.pages.sign_in import password_page
from wgfleet.panel.web.reasons import in_words
from wgfleet.panel.web.rendering import gone_on, visitor_of
from wgfleet.panel.web.visitors import TheVisitor
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

router = page_router()


@router.post("/login/passkey/begin")
def begin_with_passkey(request: Request, panel: ThePanel) -> Response:
    """Give the script what the authenticator is to answer."""
    try:
        return shown_challenge(begin_passkey_sign_in(panel, request))
    except PanelError as error:
        return refused_challenge(request, error)


@router.post("/login/passkey")
def sign_in_with_passkey(request: Request, panel: ThePanel, visitor: TheVisitor, form: TheForm) -> Response:
    following = ways_back.shown_path(request, form.get("next"))
    try:
        made = finish_passkey_sign_in(panel, request, PasskeyAnswer(**answer_of(form)))
    except PanelError as error:
        error.field = None  # the form has none that people fill in
        return password_page(request, panel, SubmittedForm().refused(error), following)
    return signed_in(gone_on(request, following), visitor, made.token)


def shown_challenge(asked: AskedView) -> Response:
    """Answer the script of a page."""
    return JSONResponse(asked.model_dump(mode="json"))


def refused_challenge(request: Request, error: PanelError | FieldError) -> Response:
    """Tell the script of a page why there is nothing to answer, in the reader's language."""
    refused = Invalid(error.said or error.detail, field=error.field) if isinstance(error, FieldError) else error
    translate = translations(visitor_of(request).language).gettext
    words = in_words(translate, refused.said or refused.detail)
    field = {"name": translate("Name"), "password": translate("Current password")}.get(refused.field or "")
    return JSONResponse({"detail": f"{field}: {words}" if field else words}, refused.status, refused.retry_headers)


def answer_of(form: SubmittedForm) -> dict[str, Any]:
    """Return what an authenticator answered, as the script has put it into a form."""
    try:
        given = {"challenge": form.get("challenge"), "credential": from_json(form.get("credential"))}
        return PasskeyAnswer.model_validate(given).model_dump()
    except (ValidationError, ValueError):
        raise Invalid(Reason("is no answer of an authenticator; try again"), field="credential") from None
