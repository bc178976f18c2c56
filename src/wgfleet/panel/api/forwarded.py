"""`/api/sign-in/forwarded`: signing in by the word of a proxy that has signed people in before they come here."""

from typing import Annotated

from fastapi import Request, status
from pydantic import Field

from wgfleet.panel.api.models import Body
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.sign_ins import NewSignInView, limited, shown
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.fields import MAX_NAME
from wgfleet.panel.domain.identities import ProviderKind, VouchedPerson
from wgfleet.panel.door import VISIT
from wgfleet.panel.services.access import external, providers
from wgfleet.panel.services.access.sign_ins import SignInRefused
from wgfleet.panel.store.tables import SignInProvider
from wgfleet.protocol.reasons import Reason

router = subject_router("users")


class ForwardedSignIn(Body):
    """The provider whose headers the proxy sends."""

    provider: Annotated[str, Field(max_length=MAX_NAME)] = Field(examples=["proxy"])


@router.post(
    "/api/sign-in/forwarded", status_code=status.HTTP_201_CREATED, summary="Sign in by the word of a trusted proxy"
)
def sign_in_forwarded(panel: ThePanel, request: Request, body: ForwardedSignIn) -> NewSignInView:
    """Refused from anywhere but the proxies in `door.trusted_proxies`, and where there is no such provider."""
    with limited(panel, request, None) as remote, panel.store.write() as tx:
        provider = providers.usable(tx, body.provider, ProviderKind.FORWARDED)
        identity = _identity(request, provider)
        program = request.headers.get("user-agent", "")
        row, token, name = external.let_in(tx, panel.vault, provider, identity, remote, program)
        view = shown(row, name)
    return NewSignInView(token=token, **view.model_dump())


def _identity(request: Request, provider: SignInProvider) -> VouchedPerson:
    """Return who a proxy says it is. The connection must be the proxy's: a header with an address can be forged."""
    visit = getattr(request.state, VISIT, None)
    if visit is None or not visit.of_trusted_proxy:
        raise SignInRefused(Reason("this did not come from a proxy that door.trusted_proxies names"), "proxy", None)
    names = request.headers.getlist(provider.options["user_header"])
    if len(names) != 1 or not names[0].strip():  # two: one of them may be the client's own
        raise SignInRefused(Reason("the proxy does not say who you are, or more than once"), "header", None)
    name = names[0].strip()
    groups_header = provider.options.get("groups_header")
    groups = request.headers.getlist(groups_header) if groups_header else []
    if len(groups) > 1:
        raise SignInRefused(Reason("the proxy gives your groups more than once"), "header", None)
    return VouchedPerson(name, name, [part.strip() for group in groups for part in group.split(",") if part.strip()])
