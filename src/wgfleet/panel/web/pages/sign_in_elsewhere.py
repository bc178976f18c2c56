"""Signing in with a provider: a browser is sent to one that speaks OpenID, or came through a proxy that vouches."""

import base64
from typing import Annotated

from fastapi import Path, Query, Request
from pydantic import SecretStr
from starlette.responses import RedirectResponse, Response

from wgfleet.panel.api.forwarded import ForwardedSignIn, sign_in_forwarded
from wgfleet.panel.api.oidc import RETURN_PATH, OidcBeginning, OidcReturn, begin_oidc, finish_oidc
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.domain.fields import MAX_NAME
from wgfleet.panel.errors import PanelError, Unauthorized
from wgfleet.panel.identity.oidc import BEGUN_S
from wgfleet.panel.web import visitors, ways_back
from wgfleet.panel.web.doors import signed_in
from wgfleet.panel.web.forms import SubmittedForm, TheForm
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.pages.sign_in import password_page
from wgfleet.panel.web.rendering import gone_on
from wgfleet.panel.web.visitors import BEGUN, TheVisitor, Visitor
from wgfleet.protocol.reasons import Reason

router = page_router()
MOST_NEXT = 1000  # what browsers keep in a cookie has an end
ERRORS = frozenset(
    {
        "access_denied", "account_selection_required", "consent_required", "interaction_required", "invalid_request",
        "invalid_scope", "login_required", "server_error", "temporarily_unavailable", "unauthorized_client",
    }
)  # fmt: skip
"""Of OAuth and OpenID Connect; anybody can write another one into a link, so nothing else is shown."""
Text = Annotated[str, Query(max_length=4096)]


@router.get("/login/with/{provider}")
def send_to_provider(
    request: Request,
    panel: ThePanel,
    visitor: TheVisitor,
    provider: Annotated[str, Path(max_length=MAX_NAME)],
    following: Annotated[Text, Query(alias="next")] = "/",
) -> Response:
    """Send the browser to a provider; it keeps what ties the answer to it, and where to go on to.

    A link, and no form: the policy of our pages lets forms lead to this site alone.
    """
    if visitor.caller is not None:  # a link of somebody else's must not make anybody another user
        return gone_on(request, ways_back.shown_path(request, following))
    try:
        begun = begin_oidc(panel, request, OidcBeginning(provider=provider))
    except PanelError as error:
        return password_page(request, panel, SubmittedForm().refused(_without_field(error)), "/")
    answer = RedirectResponse(begun.url, 303)
    kept = f"{begun.browser}.{_coded(ways_back.shown_path(request, following[:MOST_NEXT]))}"
    visitors.keep(answer, BEGUN, kept, secure=visitor.secure, lasts_s=int(BEGUN_S))
    return answer


@router.get(RETURN_PATH)
def come_back(
    request: Request,
    panel: ThePanel,
    visitor: TheVisitor,
    *,
    state: Text = "",
    code: Text = "",
    iss: Text | None = None,
    error: Text = "",
) -> Response:
    """Let in whom the provider vouches for, in the browser that began.

    A browser that did not begin guesses nothing, and is not counted: any page can send it here.
    """
    browser, following = _kept(request, visitor)
    try:
        if not browser:
            raise Unauthorized(Reason("this browser did not begin to sign in; begin here"))
        if error or not code:
            what = error if error in ERRORS else Reason("no code came back")
            raise Unauthorized(Reason("the provider did not sign you in: {what}", what=what))
        returned = OidcReturn(browser=SecretStr(browser), state=state, code=SecretStr(code), iss=iss)
        made = finish_oidc(panel, request, returned)
    except PanelError as refused:
        answer = password_page(request, panel, SubmittedForm().refused(_without_field(refused)), following)
    else:
        answer = signed_in(gone_on(request, following), visitor, made.token)
    visitors.forget(answer, BEGUN, secure=visitor.secure)
    return answer


@router.post("/login/forwarded")
def sign_in_by_proxy(request: Request, panel: ThePanel, visitor: TheVisitor, form: TheForm) -> Response:
    """Let in whom the proxy names that this request came through."""
    following = ways_back.shown_path(request, form.get("next"))
    try:
        made = sign_in_forwarded(panel, request, ForwardedSignIn(provider=form.get("provider")[:MAX_NAME]))
    except PanelError as error:
        return password_page(request, panel, SubmittedForm().refused(_without_field(error)), following)
    return signed_in(gone_on(request, following), visitor, made.token)


def _without_field(error: PanelError) -> PanelError:
    """Return a refusal that is shown above the form: it is about none of its fields."""
    error.field = None
    return error


def _kept(request: Request, visitor: Visitor) -> tuple[str, str]:
    """Return what this browser has kept since it began, and where to go on to."""
    text = request.cookies.get(visitors.name_of(BEGUN, secure=visitor.secure), "")
    browser, _, following = text.partition(".")
    try:
        path = base64.urlsafe_b64decode(following).decode()
    except ValueError:
        path = "/"
    return browser[:4096], ways_back.shown_path(request, path)


def _coded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()
