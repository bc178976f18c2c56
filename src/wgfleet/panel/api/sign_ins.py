"""`/api/sign-in` and `/api/sign-ins`: letting people in, and who is signed in."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime

from fastapi import Request, status
from pydantic import Field, SecretStr

from wgfleet.doors.strangers import source_of
from wgfleet.panel import origin, passwords
from wgfleet.panel.api.auth import Admin
from wgfleet.panel.api.models import After, Body, Identifier, Limit, Page, ReferenceFilter, View, utc
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.fields import MAX_NAME
from wgfleet.panel.domain.identities import ProviderKind
from wgfleet.panel.identity import IdentityRefused
from wgfleet.panel.identity.directory import first_to_vouch
from wgfleet.panel.services.access import external, providers, sign_ins, users
from wgfleet.panel.services.access.sign_ins import ClaimedUser, SignInRefused
from wgfleet.panel.store.tables import SignIn
from wgfleet.panel.tokens import MOST_LETTERS, pasted

router = subject_router("users")
_MAX_CODE = 64
_PASSWORD = f"{passwords.LEAST} to {passwords.MOST} characters."


class Credentials(Body):
    """Who wants to be let in."""

    name: str = Field(max_length=MAX_NAME, examples=["anna"])
    password: SecretStr = Field(max_length=passwords.MOST, strict=False)
    code: str | None = Field(
        default=None,
        max_length=_MAX_CODE,
        description="Of the authenticator app, or a recovery code.",
        examples=["492039"],
    )


class NewPassword(Body):
    """A link, and the password to set."""

    link: str = Field(
        max_length=MOST_LETTERS,
        description="From an administrator: the whole link, or its secret.",
        examples=["wgl_..."],
    )
    password: SecretStr = Field(max_length=passwords.MOST, strict=False, description=_PASSWORD)


class SignInView(View):
    """Somebody who is signed in."""

    id: str
    user_name: str
    address: str = Field(description="Where the call came from that signed in.")
    program: str = Field(description="What the client called itself: its `User-Agent`.")
    created_at: datetime
    last_used_at: datetime = Field(description="Accurate to one minute.")
    expires_at: datetime = Field(description="It ends then, or later where it is used before.")


class NewSignInView(SignInView):
    """Somebody who has just signed in."""

    token: str = Field(
        description="Send it as `Authorization: Bearer wgs_...`. It is never shown again.", examples=["wgs_..."]
    )


class NamedUser(View):
    """Whose password was set."""

    user_name: str


def shown(row: SignIn, user_name: str) -> SignInView:
    """Show a sign-in."""
    return SignInView(
        id=row.id,
        user_name=user_name,
        address=row.address,
        program=row.program,
        created_at=utc(row.created_at),
        last_used_at=utc(row.last_used_at),
        expires_at=utc(row.expires_at),
    )


def shown_page(rows: Sequence[tuple[SignIn, str]], limit: int) -> Page[SignInView]:
    """Show sign-ins that were read with `limit + 1`."""
    more = len(rows) > limit
    items = [shown(row, name) for row, name in rows[:limit]]
    return Page(items=items, next=items[-1].id if more else None)


@contextmanager
def limited(panel: Panel, request: Request, name: str | None) -> Iterator[str]:
    """Refuse those who failed too often, and count who fails now; give the caller's address."""
    remote = origin.of(request.scope)
    missing = sign_ins.CodeMissing

    def is_known() -> bool:
        with panel.store.read() as tx:
            return sign_ins.is_from(tx, name or "", source_of(remote))

    by_name = nullcontext() if name is None else panel.name_guesses.guess(name, remote, is_known, missing)
    try:
        with panel.sign_in_attempts.guess(source_of(remote), but=(missing,)), by_name:
            yield remote
    except SignInRefused as refused:
        panel.refusals.sign_in_refused(panel.store, remote, refused)
        raise
    except IdentityRefused as refused:
        panel.refusals.sign_in_refused(panel.store, remote, SignInRefused(refused.detail, refused.reason, None))
        raise


def guessed_code(panel: Panel, name: str) -> AbstractContextManager[None]:
    """Refuse a name with too many wrong codes, from wherever: who gives one has the password. For use in `limited`."""
    return panel.guesses.guess(name, but=(sign_ins.CodeMissing,))


def let_in_by_directory(
    panel: Panel, claimed: ClaimedUser, name: str, password: str, remote: str, program: str
) -> NewSignInView | None:
    """Let somebody in for whom a directory vouches; None: nobody but the panel is asked about that name."""
    with panel.store.read() as tx:
        directories = providers.directories(tx, panel.vault, claimed)
    if not directories:
        return None
    vouched = first_to_vouch(directories, name, password, panel.guesses.guess)
    with panel.store.write() as tx:
        provider = providers.usable(tx, vouched.provider_id, ProviderKind.LDAP)
        row, token, user_name = external.let_in(tx, panel.vault, provider, vouched.identity, remote, program)
        return NewSignInView(token=token, **shown(row, user_name).model_dump())


@router.post("/api/sign-in", status_code=status.HTTP_201_CREATED, summary="Sign in")
def sign_in(panel: ThePanel, request: Request, body: Credentials) -> NewSignInView:
    """Exchange a name, a password and, where the user has a second factor, a code for a token.

    401 with `field` = `code`: the password was right, and a code is missing or wrong. Refusals are audited and limited.
    """
    with limited(panel, request, body.name) as remote:
        with panel.store.read() as tx:
            claimed = sign_ins.claim(tx, body.name)
        program = request.headers.get("user-agent", "")
        vouched = let_in_by_directory(panel, claimed, body.name, body.password.get_secret_value(), remote, program)
        if vouched is not None:
            return vouched
        sign_ins.check(claimed, body.password.get_secret_value())
        with guessed_code(panel, body.name), panel.store.write() as tx:
            row, token = sign_ins.begin(tx, panel.vault, claimed, body.code, remote, program)
            view = shown(row, body.name)
    return NewSignInView(token=token, **view.model_dump())


@router.post("/api/set-password", summary="Set a password with a link")
def set_password(panel: ThePanel, request: Request, body: NewPassword) -> NamedUser:
    """Use up a link that an administrator made. The user is signed out everywhere, and signs in with the new one."""
    password, secret = body.password.get_secret_value(), pasted(body.link)
    with limited(panel, request, None):
        with panel.store.read() as tx:
            name = users.of_link(tx, secret).name
        passwords.check(password, name)
        kept = passwords.hashed(password)
        with panel.store.write() as tx:
            users.set_password_by_link(tx, secret, kept)
    return NamedUser(user_name=name)


@router.get("/api/sign-ins", summary="List who is signed in")
def list_sign_ins(
    panel: ThePanel, _caller: Admin, user: ReferenceFilter = None, after: After = None, limit: Limit = 100
) -> Page[SignInView]:
    with panel.store.read() as tx:
        user_id = None if user is None else users.get(tx, user).id
        return shown_page(sign_ins.page(tx, user_id, after, limit + 1), limit)


@router.delete("/api/sign-ins/{sign_in}", status_code=status.HTTP_204_NO_CONTENT, summary="Sign somebody out")
def end_sign_in(panel: ThePanel, caller: Admin, sign_in: Identifier) -> None:
    with panel.store.write() as tx:
        sign_ins.end(tx, caller.actor, sign_ins.get(tx, sign_in))
