"""Owners that a caller names: whom of the users it may name, and no others, lest names be guessed."""

from wgfleet.panel.errors import NotFound
from wgfleet.panel.services.access.callers import ADMIN, READ, Caller
from wgfleet.panel.services.fleet import ownership
from wgfleet.panel.store import Tx
from wgfleet.panel.store import users as user_rows
from wgfleet.protocol.reasons import Reason


def named(tx: Tx, caller: Caller, reference: str) -> str:
    """Return the id of the user that a field of a body names as the owner.

    Who reads everything finds the users in the audit log. Anybody else can name whose devices can be seen: all others
    are as if there were none of the name.
    """
    if caller.may(ADMIN) or (caller.may(READ) and caller.limit is None):
        return ownership.owner_id(tx, reference)
    user = user_rows.find(tx, reference)
    seen = caller.limit.configs if caller.limit is not None else ()
    if user is None or not (caller.is_user(user.id) or ownership.is_owner_in(tx, user.id, seen)):
        raise NotFound(
            Reason(
                "no peer that you may see is {reference!r}'s; an administrator gives a user the first one",
                reference=reference,
            ),
            field="owner",
        )
    return user.id
