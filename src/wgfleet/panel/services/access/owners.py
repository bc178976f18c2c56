"""Owners that a caller names: only those that it can know of, lest names of users be guessed."""

from wgfleet.panel.errors import NotFound
from wgfleet.panel.services.access.callers import ADMIN, READ, Caller
from wgfleet.panel.services.fleet import ownership
from wgfleet.panel.store import Tx
from wgfleet.panel.store import owners as owner_rows
from wgfleet.panel.store import users as user_rows
from wgfleet.protocol.reasons import Reason, template

NOT_SEEN = template("no peer that you may see is {reference!r}'s; an administrator gives a user the first one")


def named(tx: Tx, caller: Caller, reference: str) -> str:
    """Return the id of the user that a field of a body names as the owner.

    Who reads everything finds the users in the audit log. Anybody else can name whose devices can be seen: all others
    are as if there were none of the name.
    """
    if not (caller.may(ADMIN) or (caller.may(READ) and caller.limit is None)):
        user = user_rows.find(tx, reference)
        if user is None or not (caller.is_user(user.id) or _is_seen(tx, caller, user.id)):
            raise NotFound(Reason(NOT_SEEN, reference=reference), field="owner")
    return ownership.owner_id(tx, reference)


def _is_seen(tx: Tx, caller: Caller, user_id: str) -> bool:
    seen = caller.limit.configs if caller.limit is not None else frozenset[str]()
    return bool(seen.intersection(owner_rows.config_ids(tx, user_id)))
