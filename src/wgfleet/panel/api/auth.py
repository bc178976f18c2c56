"""Authentication and scopes: who calls, and whether the route allows it, by the type of its `caller`."""

import contextlib
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from wgfleet.panel.api import limits
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.errors import Unauthorized, Unavailable
from wgfleet.panel.services.access import credentials
from wgfleet.panel.services.access.callers import ADMIN, DEVICES, NODES, OWN, READ, SECRETS, WRITE, Caller

# Paths that need no key, each with its reason. A test holds every other route to a scope.
OPEN_PATHS = {
    "/healthz": "a load balancer has no key, and learns nothing",
    "/readyz": "as above",
    "/api/enroll": "a new agent has a join token instead",
    "/api/ca.pem": "a certificate is public; agents check it against the fingerprint",
    "/api/sign-in": "a person has a name and a password instead",
    "/api/sign-in/providers": "who signs in sees with what",
    "/api/sign-in/oidc/begin": "a person has a provider that vouches instead",
    "/api/sign-in/oidc/finish": "as above",
    "/api/sign-in/passkey/begin": "a person has a passkey instead",
    "/api/sign-in/passkey/finish": "as above",
    "/api/sign-in/forwarded": "a trusted proxy vouches instead",
    "/api/set-password": "a new user has a link instead",
}

CALLER = "caller"
"""Under which name the state of a request has the `Caller`."""
NO_KEY = "send an API key: Authorization: Bearer wgf_..., or X-API-Key: wgf_..."

_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", description="`Authorization: Bearer wgf_...`")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="header", description="`X-API-Key: wgf_...`")


async def _caller(
    panel: ThePanel,
    request: Request,
    scopes: SecurityScopes,
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    _header: Annotated[str | None, Depends(_header)],
) -> Caller:
    """Return whom the doorkeeper let in; the headers are asked for so that the API's document names them."""
    caller: Caller | None = getattr(request.state, CALLER, None)
    if caller is None:
        raise Unauthorized(NO_KEY)
    for scope in scopes.scopes:
        caller.need(scope)
    if caller.limit is not None and not {OWN, DEVICES} & set(scopes.scopes):  # what is one's own, no limit concerns
        await run_in_threadpool(limits.check, panel.store, caller, request)
    if caller.stale_use:
        await run_in_threadpool(_note_use, panel, caller)
    return caller


def _note_use(panel: Panel, caller: Caller) -> None:
    # Reads must work while the database cannot be written; the next use is noted then.
    with contextlib.suppress(Unavailable), panel.store.write() as tx:
        credentials.note_use(tx, caller)


Owner = Annotated[Caller, Security(_caller, scopes=[DEVICES])]
Anyone = Annotated[Caller, Security(_caller, scopes=[OWN])]
Reader = Annotated[Caller, Security(_caller, scopes=[READ])]
Writer = Annotated[Caller, Security(_caller, scopes=[WRITE])]
NodeAdmin = Annotated[Caller, Security(_caller, scopes=[NODES])]
SecretReader = Annotated[Caller, Security(_caller, scopes=[SECRETS])]
Admin = Annotated[Caller, Security(_caller, scopes=[ADMIN])]
