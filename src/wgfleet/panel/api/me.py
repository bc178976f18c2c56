"""`/api/me`: what callers see and change of their own, whatever their scopes."""

from typing import Literal

from fastapi import status
from pydantic import Field, SecretStr

from wgfleet.panel import passwords
from wgfleet.panel.api.auth import Anyone
from wgfleet.panel.api.keys import CONFIGS, NODE_GROUPS
from wgfleet.panel.api.models import After, Body, Identifier, Limit, Page, View
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.sign_ins import SignInView, shown_page
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.errors import Invalid, NotFound
from wgfleet.panel.services.access import limits, sign_ins, users
from wgfleet.panel.services.access.callers import Caller
from wgfleet.protocol.reasons import Reason

router = subject_router("users")


class CallerView(View):
    """Who calls."""

    kind: Literal["user", "key"]
    id: str
    name: str
    scopes: list[str]
    configs: list[str] | None = Field(description=CONFIGS)
    node_groups: list[str] | None = Field(description=NODE_GROUPS)
    sign_in_id: str | None = Field(description="Null for an API key.")


class PresentPassword(Body):
    """The password that counts now."""

    password: SecretStr = Field(max_length=passwords.MOST, strict=False)


class PasswordChange(PresentPassword):
    """The password that counts now, and the next one."""

    new_password: SecretStr = Field(max_length=passwords.MOST, strict=False)


class NewSecondFactor(View):
    """What an authenticator app is given. It counts once a code of it was confirmed."""

    secret: str = Field(description="In base 32. It is never shown again.")
    address: str = Field(description="The same as an `otpauth://` address, to be shown as a QR code.")


class SecondFactorCode(Body):
    """A code of the new secret."""

    code: str = Field(max_length=16, examples=["492039"])


class RecoveryCodes(View):
    """Codes each of which lets its user in once instead of one of the app. They are never shown again."""

    recovery_codes: list[str]


@router.get("/api/me", summary="Show who calls")
def show_me(panel: ThePanel, caller: Anyone) -> CallerView:
    configs = node_groups = None
    if caller.limit is not None:
        with panel.store.read() as tx:
            configs, node_groups = limits.names(tx, caller.limit.configs, caller.limit.groups)
    return CallerView(
        configs=configs,
        node_groups=node_groups,
        kind="key" if caller.session_id is None else "user",
        id=caller.id,
        name=caller.name,
        scopes=sorted(caller.scopes),
        sign_in_id=caller.session_id,
    )


@router.post("/api/me/password", status_code=status.HTTP_204_NO_CONTENT, summary="Change your password")
def change_password(panel: ThePanel, caller: Anyone, body: PasswordChange) -> None:
    """All other sign-ins of yours end."""
    before = checked(panel, caller, body)
    new = body.new_password.get_secret_value()
    passwords.check(new, caller.name, "new_password")
    kept = passwords.hashed(new)
    with panel.store.write() as tx:
        users.set_password(tx, caller, before, kept)


@router.post("/api/me/second-factor", status_code=status.HTTP_201_CREATED, summary="Begin a second factor")
def begin_second_factor(panel: ThePanel, caller: Anyone, body: PresentPassword) -> NewSecondFactor:
    checked(panel, caller, body)
    with panel.store.write() as tx:
        secret, address = users.begin_second_factor(tx, panel.vault, caller, "wgfleet")
    return NewSecondFactor(secret=secret, address=address)


@router.post("/api/me/second-factor/confirm", summary="Confirm a second factor")
def confirm_second_factor(panel: ThePanel, caller: Anyone, body: SecondFactorCode) -> RecoveryCodes:
    """From now on a code is asked for when you sign in. Keep the recovery codes where the device is not."""
    with panel.store.write() as tx:
        return RecoveryCodes(recovery_codes=users.confirm_second_factor(tx, panel.vault, caller, body.code))


@router.post(
    "/api/me/second-factor/remove", status_code=status.HTTP_204_NO_CONTENT, summary="Remove your second factor"
)
def remove_my_second_factor(panel: ThePanel, caller: Anyone, body: PresentPassword) -> None:
    checked(panel, caller, body)
    with panel.store.write() as tx:
        users.remove_second_factor(tx, caller.actor, users.of_caller(tx, caller))


@router.post("/api/me/second-factor/recovery-codes", summary="Renew your recovery codes")
def renew_recovery_codes(panel: ThePanel, caller: Anyone, body: PresentPassword) -> RecoveryCodes:
    """Those from before count no longer."""
    checked(panel, caller, body)
    with panel.store.write() as tx:
        return RecoveryCodes(recovery_codes=users.renew_recovery_codes(tx, caller))


@router.get("/api/me/sign-ins", summary="List your sign-ins")
def list_my_sign_ins(panel: ThePanel, caller: Anyone, after: After = None, limit: Limit = 100) -> Page[SignInView]:
    with panel.store.read() as tx:
        return shown_page(sign_ins.page(tx, users.of_caller(tx, caller).id, after, limit + 1), limit)


@router.delete("/api/me/sign-ins/{sign_in}", status_code=status.HTTP_204_NO_CONTENT, summary="End a sign-in of yours")
def end_my_sign_in(panel: ThePanel, caller: Anyone, sign_in: Identifier) -> None:
    """To sign out, end the one of `sign_in_id` in `GET /api/me`."""
    with panel.store.write() as tx:
        row = sign_ins.get(tx, sign_in)
        if row.user_id != users.of_caller(tx, caller).id:
            raise NotFound(Reason("there is no sign-in {sign_in!r} of yours", sign_in=sign_in))
        sign_ins.end(tx, caller.actor, row)


def checked(panel: Panel, caller: Caller, body: PresentPassword) -> str | None:
    """Ask for the password again before access is changed: who found an open browser does not know it.

    Guesses count as those of a sign-in. Returns the hash that it was checked against.
    """
    with panel.store.read() as tx:
        kept = users.of_caller(tx, caller).password_hash
    with panel.guesses.guess(caller.name, wrong=Invalid):
        if not passwords.matches(body.password.get_secret_value(), kept):
            raise users.wrong_password(caller.name)
    return kept
