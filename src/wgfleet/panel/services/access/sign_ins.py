"""Signing in with a name, a password and a second factor, and what a sign-in is worth afterwards.

A sign-in ends when it was not used for `IDLE_S`, and after `LONGEST_S` in any case.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from wgfleet.doors.strangers import source_of
from wgfleet.panel import clock, passwords
from wgfleet.panel.domain.limits import kept
from wgfleet.panel.errors import NotFound, Unauthorized
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit
from wgfleet.panel.services.access import second_factors
from wgfleet.panel.services.access.callers import ROLES, Caller, Role
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import users as user_rows
from wgfleet.panel.store.tables import SignIn, User
from wgfleet.panel.tokens import digest, new_token
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason

PREFIX = "wgs_"
IDLE_S = 12 * 3600.0
LONGEST_S = 14 * 86400.0
USE_NOTED_EVERY_S = 60.0
MOST = 50  # sign-ins of a user
_MOST_PROGRAM = 200
_WRONG = Reason("the name or the password is wrong")


class SignInRefused(Unauthorized):
    """Somebody who is not let in. `reason` is for the log: callers do not hear which of name and password is wrong."""

    def __init__(self, detail: str, reason: str, user_id: str | None, *, field: str | None = None) -> None:
        super().__init__(detail, field=field)
        self.reason = reason
        self.user_id = user_id


class CodeMissing(SignInRefused):
    """Somebody whose password was right, and who did not know that a code is asked for: no guess."""

    def __init__(self, user_id: str) -> None:
        super().__init__(Reason("a code of the authenticator app is needed"), "code missing", user_id, field="code")


@dataclass(frozen=True, slots=True)
class ClaimedUser:
    """A user's row as it was when a password was checked against it."""

    user_id: str | None
    password_hash: str | None
    second_factor: bool = False
    provider_id: str | None = None


def claim(tx: Tx, name: str) -> ClaimedUser:
    """Return what a password is to be checked against, also where there is no such user."""
    user = user_rows.find(tx, name)
    if user is None or user.name != name:
        return ClaimedUser(None, None)
    return ClaimedUser(user.id, user.password_hash, user.totp_since is not None, user.provider_id)


def is_from(tx: Tx, name: str, source: str) -> bool:
    """Tell whether the user of a name is signed in from an address, or another of the same network (`source_of`)."""
    user = user_rows.find(tx, name)
    if user is None or user.name != name:
        return False
    return any(source_of(address) == source for address in user_rows.sign_in_addresses(tx, user.id, clock.now()))


def check(claimed: ClaimedUser, password: str) -> None:
    """Raise `SignInRefused` for a wrong password; takes as long where the name is wrong. Not within a transaction."""
    if not passwords.matches(password, claimed.password_hash):
        raise SignInRefused(_WRONG, "password" if claimed.user_id else "name", claimed.user_id)


def begin(
    tx: Tx, vault: Vault, claimed: ClaimedUser, code: str | None, address: str, program: str
) -> tuple[SignIn, str]:
    """Let a user in whose password was checked; return the sign-in and its token, which is never shown again."""
    user = user_rows.lock(tx, claimed.user_id or "")
    if user is None or user.password_hash != claimed.password_hash:
        raise SignInRefused(_WRONG, "changed", claimed.user_id)
    if user.disabled:
        raise SignInRefused(
            Reason("user {name!r} is disabled; ask an administrator", name=user.name), "disabled", user.id
        )
    return add(tx, user, address, program, factor=_second_factor(vault, user, code))


def add(tx: Tx, user: User, address: str, program: str, *, factor: str) -> tuple[SignIn, str]:
    """Sign a user in who was let in; `factor`: by what, for the audit log."""
    now, text = clock.now(), new_token(PREFIX)
    row = SignIn(
        id=clock.new_id(),
        user_id=user.id,
        digest=digest(text),
        address=address,
        program=program[:_MOST_PROGRAM],
        created_at=now,
        last_used_at=now,
        expires_at=now + IDLE_S,
    )
    user_rows.add_sign_in(tx, row, MOST)
    user.signed_in_at = now
    audit.record(tx, f"user:{user.name}", "signed_in", "user", user.id, address=address, factor=factor)
    return row, text


def authenticate(tx: Tx, text: str) -> Caller:
    """Return who is signed in by this token; raises `Unauthorized` where nobody is, or no longer."""
    now = clock.now()
    row = user_rows.sign_in_by_digest(tx, digest(text))
    if row is None or row.disabled or row.expires_at <= now:
        raise Unauthorized(Reason("you are signed out; sign in again"))
    return Caller(
        id=row.user_id,
        name=row.name,
        scopes=ROLES[Role(row.role)],
        stale_use=now - row.last_used_at >= USE_NOTED_EVERY_S,
        session_id=row.id,
        limit=kept(row.limit_configs, row.limit_groups),
    )


def is_valid(tx: Tx, caller: Caller) -> bool:
    """Say whether a sign-in that was accepted earlier would be accepted now, with the same rights."""
    row = user_rows.sign_in(tx, caller.session_id or "")
    user = None if row is None else user_rows.find(tx, row.user_id)
    if row is None or user is None or user.disabled or row.expires_at <= clock.now():
        return False
    return ROLES[Role(user.role)] >= caller.scopes and kept(user.limit_configs, user.limit_groups) == caller.limit


def note_use(tx: Tx, caller: Caller) -> None:
    """Keep the time of the last use, and let the sign-in last from then on."""
    row = user_rows.sign_in(tx, caller.session_id or "")
    if row is not None:
        now = clock.now()
        user_rows.touch_sign_in(tx, row.id, now, min(now + IDLE_S, row.created_at + LONGEST_S))


def page(tx: Tx, user_id: str | None, after: str | None = None, limit: int = 100) -> Sequence[tuple[SignIn, str]]:
    """Return sign-ins that last, with their users' names, in the order they were made, after the id `after`."""
    return user_rows.sign_ins(tx, user_id, after, limit, clock.now())


def get(tx: Tx, sign_in_id: str) -> SignIn:
    """Return a sign-in."""
    row = user_rows.sign_in(tx, sign_in_id)
    if row is None:
        raise NotFound(
            Reason("there is no sign-in {sign_in_id!r}", sign_in_id=sign_in_id), Hint(HintCode.LIST_SIGN_INS)
        )
    return row


def end(tx: Tx, actor: str, row: SignIn) -> None:
    """Sign somebody out; of two who do at once, one did."""
    if user_rows.end_sign_in(tx, row.id):
        audit.record(tx, actor, "signed_out", "user", row.user_id, address=row.address)


def end_others(tx: Tx, caller: Caller) -> int:
    """Sign a user out everywhere but where this is asked for; return how many sign-ins have ended."""
    ended = user_rows.end_sign_ins(tx, caller.id, but=caller.session_id)
    if ended:
        audit.record(tx, caller.actor, "signed_out", "user", caller.id, others=ended)
    return ended


def record_refusal(tx: Tx, reason: str, user_id: str, remote: str, count: int = 1) -> None:
    """Audit that people were not let in. `remote` is where they came from: an address, or a network of them."""
    audit.record_refused(tx, remote, "anonymous", "sign_in", user_id, reason=reason, remote=remote, count=count)


def _second_factor(vault: Vault, user: User, code: str | None) -> str:
    """Use a code up; return which kind of factor let the user in, for the audit log."""
    if user.totp_since is None:
        return "password"
    if code is None:
        raise CodeMissing(user.id)
    secret = sealed.unseal(vault, User.totp_sealed, user)
    step = second_factors.step_of(secret, code, clock.now(), user.totp_step)
    if step is not None:
        user.totp_step = step
        return "totp"
    kept = second_factors.digest_of_code(code)
    if not any(hmac.compare_digest(kept, each) for each in user.recovery_digests):
        raise SignInRefused(
            Reason("the code is wrong or was used; wait for the next one, or give a recovery code"),
            "code",
            user.id,
            field="code",
        )
    user.recovery_digests = [each for each in user.recovery_digests if each != kept]
    return "recovery code"
