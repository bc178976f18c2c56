"""Credentials of calls: the text of an API key, or the token of a sign-in; whose it is, and whether it still counts."""

from wgfleet.panel.services.access import api_keys, sign_ins
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.store import Tx


def authenticate(tx: Tx, text: str) -> Caller:
    """Return who calls with this credential; raises `Unauthorized` where it is unknown or no longer counts."""
    return sign_ins.authenticate(tx, text) if text.startswith(sign_ins.PREFIX) else api_keys.authenticate(tx, text)


def is_valid(tx: Tx, caller: Caller) -> bool:
    """Say whether a caller who was let in earlier would be now."""
    return api_keys.is_valid(tx, caller) if caller.session_id is None else sign_ins.is_valid(tx, caller)


def note_use(tx: Tx, caller: Caller) -> None:
    """Keep the time of the credential's last use."""
    return api_keys.note_use(tx, caller) if caller.session_id is None else sign_ins.note_use(tx, caller)
