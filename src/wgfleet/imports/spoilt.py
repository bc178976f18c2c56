"""Texts of a source that are in no UTF-8: kept with a sign in place of what cannot be read, and each is said.

Where a text comes from does not matter: a database, the name of a file, an escape of JSON that stands for half a
character.
"""

from collections.abc import Iterator

import msgspec

from wgfleet.imports.fleet import ImportedFleet
from wgfleet.imports.texts import SIGN
from wgfleet.protocol.reasons import Reason

SHOWN = 20
_OF_PEERS = ("name", "notes", "owner", "tags")


def findings(fleet: ImportedFleet) -> tuple[str, ...]:
    """Return a sentence for each text with a sign that stands for others, of the first 20."""
    found = list(_all(fleet))
    if len(found) > SHOWN:
        found[SHOWN:] = [Reason("and {more} more texts that are not in UTF-8", more=len(found) - SHOWN)]
    return tuple(found)


def _all(fleet: ImportedFleet) -> Iterator[str]:
    for interface in fleet.interfaces:
        yield from _of(interface, interface.name.replace(SIGN, "?"), ("name", "hooks", "endpoint"))
        for peer in interface.peers:
            place = peer.place if peer.place and SIGN not in peer.place else Reason("peer {peer}", peer=peer.public_key)
            yield from _of(peer, place, _OF_PEERS)


def _of(item: msgspec.Struct, place: str, fields: tuple[str, ...]) -> Iterator[str]:
    for field in fields:
        value = getattr(item, field)
        for text in (value,) if isinstance(value, str) else value or ():
            if SIGN in text:
                yield Reason(
                    "{place}: {field} {value!r} is not in UTF-8: it is kept with signs in place of what cannot be "
                    "read; correct it",
                    place=place,
                    field=field,
                    value=text,
                )
