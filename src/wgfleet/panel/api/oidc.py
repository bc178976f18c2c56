"""`/api/sign-in/oidc`: signing in with an OpenID provider, for pages and programs with a browser beside them."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Request, status
from pydantic import Field, SecretStr

from wgfleet.panel.api.models import Body, Page, View
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.sign_ins import NewSignInView, limited, shown
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.fields import MAX_NAME
from wgfleet.panel.domain.identities import ProviderKind
from wgfleet.panel.errors import Invalid
from wgfleet.panel.identity import oidc
from wgfleet.panel.identity.oidc import Returned
from wgfleet.panel.services.access import external, providers
from wgfleet.protocol.reasons import Reason

router = subject_router("users")
RETURN_PATH = "/sign-in/oidc"
"""Where browsers come back to, below the panel's own address. It is registered at the provider."""
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_LONG = Annotated[str, Field(max_length=4096)]


class OpenProvider(View):
    """A provider as those see it who are not signed in."""

    name: str
    kind: ProviderKind


class OidcBeginning(Body):
    """With which provider somebody wants to sign in, and where the browser is to come back to."""

    provider: str = Field(max_length=MAX_NAME, examples=["company"])
    redirect_uri: Annotated[str, Field(max_length=256)] | None = Field(
        default=None,
        description="null: `/sign-in/oidc` of the panel, by `public_url`. A program listens on `http://127.0.0.1:PORT/`.",
    )


class OidcBegunView(View):
    """Where to send the browser, and what to keep until it is back."""

    url: str
    browser: str = Field(description="Keep it where only this browser has it, and send it when it comes back.")


class OidcReturn(Body):
    """What the browser came back with."""

    browser: SecretStr = Field(max_length=4096, strict=False)
    state: _LONG
    code: SecretStr = Field(max_length=4096, strict=False)
    iss: _LONG | None = None


@router.get("/api/sign-in/providers", summary="List with what people can sign in")
def list_open_providers(panel: ThePanel) -> Page[OpenProvider]:
    """Beside the panel's own passwords and passkeys."""
    with panel.store.read() as tx:
        return Page(items=[OpenProvider(name=row.name, kind=row.kind) for row in providers.listed(tx, enabled=True)])


@router.post("/api/sign-in/oidc/begin", summary="Begin to sign in with an OpenID provider")
def begin_oidc(panel: ThePanel, request: Request, body: OidcBeginning) -> OidcBegunView:
    uri = _redirect_uri(panel, request, body.redirect_uri)
    with limited(panel, request, None):
        with panel.store.read() as tx:
            row = providers.usable(tx, body.provider, ProviderKind.OIDC)
            options = providers.oidc(panel.vault, row)
        begun = panel.oidc.begin(panel.vault, row.id, options, uri)
    return OidcBegunView(url=begun.url, browser=begun.browser)


@router.post("/api/sign-in/oidc/finish", status_code=status.HTTP_201_CREATED, summary="Sign in with an OpenID provider")
def finish_oidc(panel: ThePanel, request: Request, body: OidcReturn) -> NewSignInView:
    """Exchange what the browser came back with for a token. Refusals are audited and limited."""
    returned = Returned(body.browser.get_secret_value(), body.state, body.code.get_secret_value(), body.iss)
    with limited(panel, request, None) as remote:
        kept = oidc.opened(panel.vault, returned)
        with panel.store.read() as tx:
            row = providers.usable(tx, str(kept["provider"]), ProviderKind.OIDC)
            options = providers.oidc(panel.vault, row)
        identity = panel.oidc.finish(kept, options, returned)
        program = request.headers.get("user-agent", "")
        with panel.store.write() as tx:
            fresh = providers.usable(tx, row.id, ProviderKind.OIDC)
            sign_in, token, name = external.let_in(tx, panel.vault, fresh, identity, remote, program)
            view = shown(sign_in, name)
    return NewSignInView(token=token, **view.model_dump())


def _redirect_uri(panel: Panel, request: Request, asked: str | None) -> str:
    """Return where the browser comes back to: to this panel, or to a program on the browser's own machine."""
    if asked is None:
        return f"{panel.address(str(request.base_url))}{RETURN_PATH}"
    try:
        url = urlsplit(asked)
        fits = url.scheme == "http" and url.hostname in _LOOPBACK and not url.query and not url.fragment
        fits = fits and url.port != 0
    except ValueError:  # no host in brackets, or a port that cannot be
        fits = False
    if not fits:
        raise Invalid(
            Reason("must be on the browser's own machine, http://127.0.0.1:PORT/, or null"), field="redirect_uri"
        )
    return asked
