"""Guesses at the password of a name, from one address and from many: slowed, and nobody is kept out by strangers.

What is counted against a name costs those who guess, and not its owner: the more failures a name has, the fewer tries
each address has that the owner is not signed in from; with very many, each network. An owner who is signed in from an
address has the usual number of tries there, whatever strangers do, and passkeys are not guessed at all.
"""

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from wgfleet.doors.strangers import source_of
from wgfleet.panel.api.attempts import Attempts
from wgfleet.panel.errors import PanelError, TooMany, Unauthorized
from wgfleet.panel.store.notes import Notes
from wgfleet.protocol.reasons import Reason

WITHIN_S = 3600.0
FROM_ONE = 20  # failures of a name from an address: more than its owner makes
FEW, MANY = 50, 500  # failures of a name in all, beyond which addresses, and then networks, have one try
_WIDER = {4: 24, 6: 40}  # bits of such a network
_WHAT = Reason("refused passwords")


class NameGuesses:
    """Failures by name, which all processes that share `notes` count together."""

    def __init__(self, notes: Notes) -> None:
        self._some = Attempts(_WHAT, FROM_ONE, WITHIN_S, notes)
        self._one = Attempts(_WHAT, 1, WITHIN_S, notes)
        self._few = Attempts(_WHAT, FEW, WITHIN_S, notes)
        self._many = Attempts(_WHAT, MANY, WITHIN_S, notes)

    @contextmanager
    def guess(
        self, name: str, address: str, is_known: Callable[[], bool], no_guess: type[PanelError]
    ) -> Iterator[None]:
        """As `Attempts.guess`. `is_known`: whether the owner is signed in from the address; asked if need be.

        Raises `TooMany` where such a name, from there, has had its tries.
        """
        tries, source = self._some, source_of(address)
        strangers = self._few.is_full(name) and not is_known()
        if strangers:
            tries, source = self._one, _wider(address) if self._many.is_full(name) else source
        key = Reason("{name} from {source}", name=name, source=source)
        if strangers:
            with self._explained():
                tries.check(key)
        try:
            with tries.guess(key, but=(no_guess,)):
                yield
        except no_guess:
            raise
        except Unauthorized:
            self._few.failed(name)
            self._many.failed(name)
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except TooMany as refused:
            raise TooMany(
                Reason(
                    "{refused}; many guess at this name now: sign in with a passkey, or from an address where you are "
                    "signed in",
                    refused=refused.said or refused.detail,
                ),
                retry_after_s=refused.retry_after_s,
            ) from None


def _wider(address: str) -> str:
    """Return the network around an address that counts as one; what is none stands for itself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, _WIDER[found.version]), strict=False))
