"""`/api/me/passkeys` and `/api/sign-in/passkey`: keys of people's own authenticators (WebAuthn)."""

import ipaddress
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

from fastapi import Request, status
from pydantic import Field

from wgfleet.panel.api.auth import Admin, Anyone
from wgfleet.panel.api.me import PresentPassword, checked
from wgfleet.panel.api.models import Body, Identifier, Page, Reference, View, utc
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.sign_ins import NewSignInView, limited, shown
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services.access import passkeys, users
from wgfleet.panel.services.access.passkeys import Asked, Site
from wgfleet.panel.store.tables import Passkey
from wgfleet.protocol.reasons import Reason

router = subject_router("users")
_CHALLENGE = "Give it back with the answer, within five minutes."


class PasskeyView(View):
    """A key of somebody's authenticator."""

    id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None


class AskedView(View):
    """What a browser hands to `navigator.credentials`, as JSON that its `parse...FromJSON` functions take."""

    options: dict[str, Any]
    challenge: str = Field(description=_CHALLENGE)


class PasskeyAnswer(Body):
    """What an authenticator answered, as `toJSON` of the credential writes it."""

    challenge: str = Field(max_length=1024, description=_CHALLENGE)
    credential: dict[str, Any]


class WantedPasskey(PresentPassword):
    """The password that counts now, and what the passkey is to be called."""

    name: str | None = Field(
        default=None,
        max_length=passkeys.MAX_NAME,
        description="Checked before an authenticator makes a key, which would be left there where the name is refused.",
        examples=["laptop"],
    )


class NewPasskey(PasskeyAnswer):
    """The passkey to keep."""

    name: str = Field(max_length=passkeys.MAX_NAME, examples=["laptop"])


def _views(rows: Sequence[Passkey]) -> Page[PasskeyView]:
    return Page(items=[_view(row) for row in rows])


def _view(row: Passkey) -> PasskeyView:
    return PasskeyView(id=row.id, name=row.name, created_at=utc(row.created_at), last_used_at=utc(row.last_used_at))


def _asked(asked: Asked) -> AskedView:
    return AskedView(options=asked.options, challenge=asked.challenge)


@router.get("/api/me/passkeys", summary="List your passkeys")
def list_my_passkeys(panel: ThePanel, caller: Anyone) -> Page[PasskeyView]:
    """All of them; there are 20 at most."""
    with panel.store.read() as tx:
        return _views(passkeys.listed(tx, users.of_caller(tx, caller)))


@router.post("/api/me/passkeys/begin", summary="Begin to add a passkey")
def begin_passkey(panel: ThePanel, request: Request, caller: Anyone, body: WantedPasskey) -> AskedView:
    checked(panel, caller, body)
    if body.name is not None:
        passkeys.checked_name(body.name)
    with panel.store.read() as tx:
        return _asked(passkeys.begin_registration(tx, panel.vault, caller, site_of(panel, request)))


@router.post("/api/me/passkeys", status_code=status.HTTP_201_CREATED, summary="Add a passkey")
def add_passkey(panel: ThePanel, request: Request, caller: Anyone, body: NewPasskey) -> PasskeyView:
    site = site_of(panel, request)
    with panel.store.write() as tx:
        return _view(passkeys.register(tx, panel.vault, caller, site, body.challenge, body.name, body.credential))


@router.delete(
    "/api/me/passkeys/{passkey}", status_code=status.HTTP_204_NO_CONTENT, summary="Remove a passkey of yours"
)
def remove_my_passkey(panel: ThePanel, caller: Anyone, passkey: Identifier) -> None:
    with panel.store.write() as tx:
        passkeys.remove(tx, caller.actor, users.of_caller(tx, caller), passkey)


@router.get("/api/users/{user}/passkeys", summary="List the passkeys of a user")
def list_passkeys(panel: ThePanel, _caller: Admin, user: Reference) -> Page[PasskeyView]:
    """All of them; there are 20 at most."""
    with panel.store.read() as tx:
        return _views(passkeys.listed(tx, users.get(tx, user)))


@router.delete(
    "/api/users/{user}/passkeys/{passkey}", status_code=status.HTTP_204_NO_CONTENT, summary="Remove a user's passkey"
)
def remove_passkey(panel: ThePanel, caller: Admin, user: Reference, passkey: Identifier) -> None:
    """For a device that was lost. Sign-ins that were made with it stay: end those by themselves."""
    with panel.store.write() as tx:
        passkeys.remove(tx, caller.actor, users.get(tx, user), passkey)


@router.post("/api/sign-in/passkey/begin", summary="Begin to sign in with a passkey")
def begin_passkey_sign_in(panel: ThePanel, request: Request) -> AskedView:
    """No name is asked for: the authenticator shows whose passkeys it has."""
    return _asked(passkeys.begin_sign_in(panel.vault, site_of(panel, request)))


@router.post("/api/sign-in/passkey/finish", status_code=status.HTTP_201_CREATED, summary="Sign in with a passkey")
def finish_passkey_sign_in(panel: ThePanel, request: Request, body: PasskeyAnswer) -> NewSignInView:
    """No second factor is asked for: the authenticator has asked for a finger, a face or a PIN."""
    site, program = site_of(panel, request), request.headers.get("user-agent", "")
    with limited(panel, request, None) as remote, panel.store.write() as tx:
        row, token, name = passkeys.sign_in(tx, panel.vault, site, body.challenge, body.credential, remote, program)
        view = shown(row, name)
    return NewSignInView(token=token, **view.model_dump())


def site_of(panel: Panel, request: Request) -> Site:
    """Return what browsers know this panel by; raise `Conflict` where it has no host name."""
    if not has_host_name(panel, request):
        raise Conflict(Reason("passkeys belong to a host name: reach the panel by one, and set public_url to it"))
    url = _address(panel, request)
    return Site(url.hostname or "", f"{url.scheme}://{url.netloc}")


def has_host_name(panel: Panel, request: Request) -> bool:
    """Say whether browsers know this panel by a name: authenticators take no addresses."""
    try:
        ipaddress.ip_address(_address(panel, request).hostname or "")
    except ValueError:
        return True
    return False


def _address(panel: Panel, request: Request) -> SplitResult:
    return urlsplit(panel.address(str(request.base_url)))
