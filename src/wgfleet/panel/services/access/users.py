"""People who sign in: their roles, the links with which they set a password, and their second factor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from wgfleet.panel import clock
from wgfleet.panel.domain.fields import parse_name
from wgfleet.panel.domain.limits import kept
from wgfleet.panel.errors import Conflict, Invalid, NotFound, Unauthorized
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit
from wgfleet.panel.services.access import api_keys, limits, second_factors
from wgfleet.panel.services.access.callers import ROLES, Caller, Role
from wgfleet.panel.services.fleet import ownership
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import users as user_rows
from wgfleet.panel.store.tables import PasswordLink, User
from wgfleet.panel.tokens import digest, new_token
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason

LINK_S = 3 * 86400.0


@dataclass(frozen=True, slots=True)
class UserSpec:
    """A user to be made. `configs`, `groups`: the limit, by ids or names; `device_limit` as in the row."""

    name: str
    role: Role
    configs: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    device_limit: int | None = None


class UserChanges(TypedDict, total=False):
    """What may change of a user; what is left out stays."""

    role: Role
    disabled: bool
    configs: Sequence[str] | None
    groups: Sequence[str] | None
    device_limit: int | None


def create(tx: Tx, actor: str, spec: UserSpec) -> tuple[User, str]:
    """Make a user, who cannot sign in yet; return the text of the link with which a password is set, shown once."""
    user = add(tx, actor, spec)
    return user, new_link(tx, actor, user)


def add(tx: Tx, actor: str, spec: UserSpec) -> User:
    """Make a user without a link."""
    name, role = spec.name, spec.role
    parse_name(name)
    there = user_rows.alike(tx, name)
    if there is not None:
        raise Conflict(Reason("a user named {name!r} already exists; choose another name", name=there), field="name")
    limit_configs, limit_groups = limits.resolved(tx, spec.configs, spec.groups)
    api_keys.check_limited(ROLES[role], kept(limit_configs, limit_groups), "role")
    user = User(
        id=clock.new_id(),
        name=name,
        role=role,
        disabled=False,
        password_hash=None,
        totp_sealed=None,
        totp_since=None,
        totp_step=None,
        recovery_digests=[],
        created_at=clock.now(),
        signed_in_at=None,
        limit_configs=limit_configs,
        limit_groups=limit_groups,
        device_limit=spec.device_limit,
        provider_id=None,
        subject=None,
    )
    user_rows.add(tx, user)
    values = {"configs": limit_configs, "node_groups": limit_groups} if kept(limit_configs, limit_groups) else {}
    audit.record(tx, actor, "created", "user", user.id, name=name, role=role, **values)
    return user


def get(tx: Tx, reference: str) -> User:
    """Return a user by id or name."""
    user = user_rows.find(tx, reference)
    if user is None:
        raise NotFound(Reason("there is no user {reference!r}", reference=reference), Hint(HintCode.LIST_USERS))
    return user


def page(tx: Tx, after: str | None = None, limit: int = 100) -> Sequence[User]:
    """Return users in the order they were made, starting after the id `after`."""
    return user_rows.page(tx, after, limit)


def update(tx: Tx, vault: Vault, actor: str, user: User, changes: UserChanges) -> None:
    """Change a user. Who is disabled is signed out, with all devices off; rights count from the next call on."""
    role, disabled = changes.get("role"), changes.get("disabled")
    if role is not None and role != user.role:
        _leave_an_administrator(tx, user, "loses the role")
        audit.record(tx, actor, "updated", "user", user.id, name=user.name, role=role, before=user.role)
        user.role = role
    if disabled is not None and disabled != user.disabled:
        if disabled:
            _leave_an_administrator(tx, user, "is disabled")
            _lock(tx, user)
            user_rows.end_sign_ins(tx, user.id)
        off = ownership.switch_off(tx, vault, actor, user.id) if disabled else 0
        audit.record(tx, actor, "disabled" if disabled else "enabled", "user", user.id, name=user.name, devices_off=off)
        user.disabled = disabled
    _limit(tx, actor, user, changes)
    tx.flush()


def _limit(tx: Tx, actor: str, user: User, changes: UserChanges) -> None:
    if "device_limit" in changes and changes["device_limit"] != user.device_limit:
        user.device_limit = changes["device_limit"]
        audit.record(tx, actor, "updated", "user", user.id, name=user.name, device_limit=user.device_limit)
    if "configs" in changes or "groups" in changes:
        asked = limits.resolved(tx, changes.get("configs"), changes.get("groups"))
        wanted = kept(*asked)
        configs = user.limit_configs if "configs" not in changes else asked[0] if wanted else None
        groups = user.limit_groups if "groups" not in changes else asked[1] if wanted else None
        user.limit_configs, user.limit_groups = configs, groups
        values = {"configs": configs, "node_groups": groups}
        audit.record(tx, actor, "updated", "user", user.id, name=user.name, **values)
    api_keys.check_limited(ROLES[Role(user.role)], kept(user.limit_configs, user.limit_groups), "role")


def delete(tx: Tx, actor: str, user: User, *, with_devices: bool = False) -> None:
    """Delete a user, who is signed out. Devices of the user's own go too, or else are in the way."""
    _leave_an_administrator(tx, user, "is deleted")
    _lock(tx, user)
    if (count := ownership.count(tx, user.id)) and not with_devices:
        raise Conflict(
            Reason(
                "user {user!r} has {count} devices; repeat with devices=delete to delete them too, or give them to "
                "another owner first",
                user=user.name,
                count=count,
            )
        )
    ownership.delete_all(tx, actor, user.id)
    audit.record(tx, actor, "deleted", "user", user.id, name=user.name)
    user_rows.remove(tx, user)


def is_administered(tx: Tx) -> bool:
    """Say whether there is an administrator who can sign in."""
    return user_rows.has_enabled(tx, Role.ADMIN)


def new_link(tx: Tx, actor: str, user: User) -> str:
    """Return the text of a link with which the user's password can be set, once; one from before is worth nothing."""
    if user.provider_id is not None:
        raise Conflict(
            Reason("user {user!r} has no password here: a sign-in provider vouches for the user", user=user.name)
        )
    user_rows.lock(tx, user.id)  # of two links made at once, the later one counts
    text = new_token("wgl_")
    expires_at = clock.now() + LINK_S
    user_rows.replace_link(tx, PasswordLink(user_id=user.id, digest=digest(text), expires_at=expires_at))
    audit.record(tx, actor, "created", "password_link", user.id, name=user.name, expires_at=expires_at)
    return text


def link_expiry(tx: Tx, found: Sequence[User]) -> dict[str, float]:
    """Return when the links of users expire, by user id, of those that have one."""
    return user_rows.link_expiry(tx, [user.id for user in found])


def sign_in_counts(tx: Tx, found: Sequence[User]) -> dict[str, int]:
    """Return how many sign-ins of users last, by user id, of those that have any."""
    return user_rows.count_sign_ins(tx, [user.id for user in found], clock.now())


def of_link(tx: Tx, text: str) -> User:
    """Return whose password a link sets; raise `Unauthorized` where it does not count, or no longer."""
    user = user_rows.user_of_link(tx, digest(text), clock.now())
    if user is None or user.disabled:
        raise _no_link()
    return user


def set_password_by_link(tx: Tx, text: str, password_hash: str) -> User:
    """Use a link up, and keep a password that was checked and hashed. The user is signed out everywhere."""
    user_id = user_rows.use_link(tx, digest(text), clock.now())
    user = None if user_id is None else user_rows.lock(tx, user_id)
    if user is None or user.disabled:
        raise _no_link()
    user.password_hash = password_hash
    ended = user_rows.end_sign_ins(tx, user.id)
    audit.record(tx, f"user:{user.name}", "set", "password", user.id, name=user.name, by="link", signed_out=ended)
    return user


def set_password(tx: Tx, caller: Caller, before: str | None, password_hash: str) -> None:
    """Keep a user's own new password, unless it has changed since `before`, the hash of the old one, was checked."""
    user = _myself(tx, caller)
    if user.password_hash != before:
        raise Conflict(Reason("the password has been changed meanwhile; sign in again"))
    user.password_hash = password_hash
    ended = user_rows.end_sign_ins(tx, user.id, but=caller.session_id)
    audit.record(tx, caller.actor, "set", "password", user.id, name=user.name, by="password", signed_out=ended)


def wrong_password(name: str) -> Invalid:
    """Return what a user hears who is asked for the present password and gives another."""
    return Invalid(Reason("is not the present password of {name!r}", name=name), field="password")


def begin_second_factor(tx: Tx, vault: Vault, caller: Caller, panel: str) -> tuple[str, str]:
    """Return a new secret and its `otpauth://` address. It counts once a code of it was shown."""
    user = _myself(tx, caller)
    if user.totp_since is not None:
        raise Conflict(Reason("there is a second factor already; remove it first"))
    secret = second_factors.new_secret()
    user.totp_sealed = sealed.seal(vault, User.totp_sealed, user.id, secret)
    user.totp_step = None
    return secret, second_factors.address_of(secret, user.name, panel)


def confirm_second_factor(tx: Tx, vault: Vault, caller: Caller, code: str) -> list[str]:
    """Have the secret count from now on, if the code is right; return recovery codes, which are never shown again."""
    user = _myself(tx, caller)
    if user.totp_sealed is None or user.totp_since is not None:
        raise Conflict(Reason("no second factor waits to be confirmed; begin with a new secret"))
    now = clock.now()
    step = second_factors.step_of(sealed.unseal(vault, User.totp_sealed, user), code, now, user.totp_step)
    if step is None:
        raise Invalid(
            Reason("is not a code of this secret at this time; look at the clock of the device"), field="code"
        )
    codes = second_factors.new_recovery_codes()
    user.totp_since, user.totp_step = now, step
    user.recovery_digests = [second_factors.digest_of_code(each) for each in codes]
    audit.record(tx, caller.actor, "set", "second_factor", user.id, name=user.name)
    return codes


def renew_recovery_codes(tx: Tx, caller: Caller) -> list[str]:
    """Return new recovery codes, which are never shown again; those from before count no longer."""
    user = _myself(tx, caller)
    if user.totp_since is None:
        raise Conflict(Reason("there is no second factor that they would be codes for; begin with one"))
    codes = second_factors.new_recovery_codes()
    user.recovery_digests = [second_factors.digest_of_code(each) for each in codes]
    audit.record(tx, caller.actor, "renewed", "recovery_codes", user.id, name=user.name)
    return codes


def remove_second_factor(tx: Tx, actor: str, user: User) -> None:
    """Have the password alone let the user in."""
    if user.totp_sealed is None:
        raise Conflict(Reason("user {user!r} has no second factor", user=user.name))
    user.totp_sealed = user.totp_since = user.totp_step = None
    user.recovery_digests = []
    audit.record(tx, actor, "removed", "second_factor", user.id, name=user.name)


def of_caller(tx: Tx, caller: Caller) -> User:
    """Return the user who calls; raise `Conflict` for an API key, which is nobody."""
    if caller.session_id is None:
        raise Conflict(Reason("an API key is no user: sign in for this"))
    return get(tx, caller.id)


def _myself(tx: Tx, caller: Caller) -> User:
    user = user_rows.lock(tx, of_caller(tx, caller).id)
    if user is None:
        raise Conflict(Reason("the user has been deleted meanwhile"))
    return user


def _lock(tx: Tx, user: User) -> None:
    """Have nobody make devices for a user until the transaction ends. Call it after what locks all users."""
    if user_rows.lock(tx, user.id) is None:
        raise NotFound(
            Reason("there is no user {user!r}; it was deleted meanwhile", user=user.name), Hint(HintCode.LIST_USERS)
        )


def _leave_an_administrator(tx: Tx, user: User, why: str) -> None:
    """Raise `Conflict` where administrators sign in, and after this none could."""
    if user.role != Role.ADMIN or user.disabled or user.password_hash is None:
        return
    others = [each for each in user_rows.lock_all(tx) if each.id != user.id]
    if not any(each.role == Role.ADMIN and not each.disabled and each.password_hash is not None for each in others):
        raise Conflict(
            Reason(
                "nobody could sign in as an administrator if user {user!r} {why}; give another user that role first",
                user=user.name,
                why=why,
            )
        )


def _no_link() -> Unauthorized:
    return Unauthorized(Reason("the link has been used, has expired or is unknown; ask an administrator for a new one"))
