"""Users that a provider vouches for: made, given their role and let in at a sign-in, disabled when they are gone."""

from collections.abc import Mapping
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.domain.identities import VouchedPerson, role_of, user_name
from wgfleet.panel.errors import Conflict
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit
from wgfleet.panel.services.access import sign_ins, users
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.access.sign_ins import SignInRefused
from wgfleet.panel.services.access.users import UserSpec
from wgfleet.panel.store import Tx
from wgfleet.panel.store import sign_in_providers as provider_rows
from wgfleet.panel.store import users as user_rows
from wgfleet.panel.store.tables import SignIn, SignInProvider, User
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason

_FEW = 3


@dataclass(frozen=True, slots=True)
class Synced:
    """What a look at who is still in a directory did: names of users who were disabled, or have another role."""

    disabled: list[str]
    changed: list[str]


def let_in(
    tx: Tx, vault: Vault, provider: SignInProvider, identity: VouchedPerson, address: str, program: str
) -> tuple[SignIn, str, str]:
    """Let somebody in for whom a provider vouches; return the sign-in, its token, and the user's name."""
    role = _role(provider, identity)
    user = provider_rows.lock_user(tx, provider.id, identity.subject)
    if role is None:
        raise SignInRefused(
            Reason(
                "{provider} knows you, and none of your groups has a role here; ask an administrator",
                provider=provider.name,
            ),
            "role",
            user.id if user else None,
        )
    if user is None:
        user = _made(tx, provider, identity, role)
    if user.disabled:
        raise SignInRefused(
            Reason("user {user!r} is disabled; ask an administrator", user=user.name), "disabled", user.id
        )
    if user.role != role:
        users.update(tx, vault, f"provider:{provider.name}", user, {"role": role})
    row, text = sign_ins.add(tx, user, address, program, factor=provider.name)
    return row, text, user.name


def sync(
    tx: Tx, vault: Vault, provider: SignInProvider, present: Mapping[str, VouchedPerson], *, force: bool = False
) -> Synced:
    """Disable users who are gone, or have no role any more, and give the others theirs. Nobody is enabled again.

    Refused without `force` where most would be disabled: more often than that people leave, somebody writes a filter.
    """
    done = Synced([], [])
    actor = f"provider:{provider.name}"
    users_then = [user for user in provider_rows.users(tx, provider.id) if not user.disabled]
    roles = {user.id: _role(provider, present.get(user.subject or "")) for user in users_then}
    gone = [user for user in users_then if roles.get(user.id) is None]
    if len(gone) > max(_FEW, len(users_then) // 2) and not force:
        raise Conflict(
            Reason(
                "{count} of {all} users who sign in with {provider!r} would be disabled, since the "
                "directory does not show them any more or their groups have no role; look at its settings",
                count=len(gone),
                all=len(users_then),
                provider=provider.name,
            ),
            Hint(HintCode.FORCE),
        )
    for user in gone:
        users.update(tx, vault, actor, user, {"disabled": True})
        done.disabled.append(user.name)
    for user in users_then:
        role = roles.get(user.id)
        if role is not None and role != user.role:
            users.update(tx, vault, actor, user, {"role": role})
            done.changed.append(user.name)
    provider.synced_at, provider.sync_error = clock.now(), None
    tx.flush()
    return done


def failed(tx: Tx, provider_id: str, error: str) -> None:
    """Note that it could not be found out who is still there."""
    provider = provider_rows.find(tx, provider_id)
    if provider is not None:
        provider.sync_error = error
        tx.flush()


def _role(provider: SignInProvider, identity: VouchedPerson | None) -> Role | None:
    if identity is None:
        return None
    found = role_of(identity.groups, provider.roles, provider.default_role, list(Role))
    return None if found is None else Role(found)


def _made(tx: Tx, provider: SignInProvider, identity: VouchedPerson, role: Role) -> User:
    """Make the user of a first sign-in. One of the same name is somebody else's: nobody comes into it like this."""
    if not provider.makes_users:
        raise SignInRefused(
            Reason("{provider} knows you, and nobody has made you a user here", provider=provider.name), "no user", None
        )
    name = user_name(identity.name)
    if not name:
        raise SignInRefused(
            Reason("{provider} gives no name that could be a user's here", provider=provider.name), "name", None
        )
    there = user_rows.alike(tx, name)
    if there is not None:
        raise SignInRefused(
            Reason(
                "there is a user {name!r} already, who does not sign in with {provider}; ask an administrator",
                name=there,
                provider=provider.name,
            ),
            "name taken",
            None,
        )
    user = users.add(tx, f"provider:{provider.name}", UserSpec(name, role))
    user.provider_id, user.subject = provider.id, identity.subject
    audit.record(tx, f"provider:{provider.name}", "linked", "user", user.id, name=name, subject=identity.subject)
    tx.flush()
    return user
