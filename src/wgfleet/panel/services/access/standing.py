"""Standing: whether who began something that takes long may still do it, a slice later.

A key that was revoked, and a user who was deleted, disabled or lost the right, change nothing more: what they began
stops at its next step, and what is done stays. A key that has expired, and a user who signed out, had the right when it
began; that counts until the end.
"""

from wgfleet.panel.domain.limits import Limit, kept
from wgfleet.panel.errors import Forbidden
from wgfleet.panel.services.access.callers import ADMIN, ROLES, WRITE, Caller, Role
from wgfleet.panel.store import Tx
from wgfleet.panel.store import access as access_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import users as user_rows
from wgfleet.panel.store.tables import Operation
from wgfleet.protocol.reasons import Reason

_KEY, _USER = "key", "user"
_NAMES = {_KEY: "API key", _USER: "user"}


def of_key(key_id: str) -> str:
    """Return `Caller.reference` of a key."""
    return f"{_KEY}:{key_id}"


def of_user(user_id: str) -> str:
    """Return `Caller.reference` of a user."""
    return f"{_USER}:{user_id}"


def of_operation(tx: Tx, operation: Operation) -> str | None:
    """Say why an operation must not go on for whom began it; None: it may."""
    if operation.requester is None:
        return None
    found = _found(tx, operation.requester)
    if isinstance(found, str):
        return _said(operation.requester, operation.requested_by.partition(":")[2], found)
    if found is not None and not operation_rows.seen(tx, operation.id, found):
        return _said(
            operation.requester, operation.requested_by.partition(":")[2], Reason("may not change this any more")
        )
    return None


def check(tx: Tx, caller: Caller, config_id: str) -> None:
    """Raise `Forbidden` where a caller who was let in may not go on to change a config."""
    found = _found(tx, caller.reference)
    if found is None or (isinstance(found, Limit) and config_id in found.configs):
        return
    why = found if isinstance(found, str) else Reason("may not change this any more")
    raise Forbidden(Reason("{what}; nothing of it stays", what=_said(caller.reference, caller.name, why)))


def _found(tx: Tx, requester: str) -> Limit | str | None:
    """Return what has become of somebody who might change things: the limit, None: there is none; or why not."""
    kind, _, identifier = requester.partition(":")
    if kind == _KEY:
        key = access_rows.find_key(tx, identifier)
        if key is None or key.id != identifier:
            return Reason("was revoked")
        return kept(key.limit_configs, key.limit_groups)
    user = user_rows.find(tx, identifier)
    if user is None or user.id != identifier:
        return Reason("was deleted")
    if user.disabled:
        return Reason("was disabled")
    if not {WRITE, ADMIN} & ROLES[Role(user.role)]:
        return Reason("may change nothing any more")
    return kept(user.limit_configs, user.limit_groups)


def _said(requester: str, name: str, what: str) -> str:
    kind = requester.partition(":")[0]
    if kind == _KEY:
        return Reason("API key {name!r}, which began it, {what}", name=name, what=what)
    return Reason("user {name!r}, who began it, {what}", name=name, what=what)
