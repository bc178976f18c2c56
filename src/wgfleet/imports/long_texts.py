"""Texts of a source that are longer than an import takes: the rest is cut off. Names get another one later."""

import msgspec

from wgfleet.imports.fleet import ImportedFleet, ImportedInterface, ImportedPeer
from wgfleet.protocol.reasons import Reason

SHORT, LONG = 256, 4000  # characters that the panel takes of a name, and of notes or a hook
MOST_HOOKS = 100


def shortened(fleet: ImportedFleet) -> ImportedFleet:
    """Return a fleet whose texts are no longer than the panel takes; hooks beyond the first 100 are counted."""
    said = [
        Reason("{name}: {more} more hooks are not listed", name=each.name, more=len(each.hooks) - MOST_HOOKS)
        for each in fleet.interfaces
        if len(each.hooks) > MOST_HOOKS
    ]
    said += [
        Reason("{place}: the notes are cut off after {most} characters", place=peer.place or peer.public_key, most=LONG)
        for each in fleet.interfaces
        for peer in each.peers
        if len(peer.notes) > LONG
    ]
    interfaces = tuple(map(_interface, fleet.interfaces))
    return msgspec.structs.replace(fleet, interfaces=interfaces, warnings=(*fleet.warnings, *said))


def _interface(found: ImportedInterface) -> ImportedInterface:
    return msgspec.structs.replace(
        found,
        hooks=tuple(each[:LONG] for each in found.hooks[:MOST_HOOKS]),
        peers=tuple(map(_peer, found.peers)),
    )


def _peer(found: ImportedPeer) -> ImportedPeer:
    return msgspec.structs.replace(
        found,
        name=found.name[:SHORT],
        notes=found.notes[:LONG],
        owner=None if found.owner is None else found.owner[:SHORT],
        place=found.place[:SHORT],
    )
