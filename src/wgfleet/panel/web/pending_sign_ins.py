"""Sign-ins that wait for a code: whose password was right a moment ago, and in which browser.

They are in the notes alone: who waits while the panel is restarted gives the password again.
"""

from dataclasses import dataclass

import msgspec

from wgfleet.panel import clock
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.services.access.sign_ins import ClaimedUser
from wgfleet.panel.store import noted_texts, sealed
from wgfleet.panel.tokens import digest

LASTS_S = 300.0  # to find the phone
MOST = 1000
_KIND = "pending sign-in"


@dataclass(frozen=True, slots=True)
class PendingSignIn:
    """A password that was right. `visit`: the secret of the browser's visit, to which it is bound."""

    claimed: ClaimedUser
    name: str
    visit: str


def keep(panel: Panel, pending: PendingSignIn) -> str:
    """Return the ticket with which it is found again; of very many, the oldest go first."""
    ticket = clock.new_token()
    text = sealed.seal_for_browser(panel.vault, _KIND, msgspec.json.encode(pending).decode())
    with panel.notes.changing() as notes:
        noted_texts.put(notes, _KIND, digest(ticket), text, clock.monotonic() + LASTS_S, MOST)
    return ticket


def find(panel: Panel, ticket: str, visit: str) -> PendingSignIn | None:
    """Return what a ticket is for; None: it is none, or no longer, or another browser's."""
    with panel.notes.changing() as notes:
        text = noted_texts.get(notes, _KIND, digest(ticket), clock.monotonic())
    if text is None:
        return None
    pending = msgspec.json.decode(sealed.unseal_of_browser(panel.vault, _KIND, text), type=PendingSignIn)
    return pending if pending.visit == visit else None


def forget(panel: Panel, ticket: str) -> None:
    """Use a ticket up."""
    with panel.notes.changing() as notes:
        noted_texts.remove(notes, _KIND, digest(ticket))
