"""Extension of the journal: what 0.1.0 does not know of a stored interface, in a file beside those it reads strictly.

So an agent that is rolled back to 0.1.0 starts from the journal as it is. Each entry is for exact bytes of the journal,
by digest: where another release wrote since, none fits, and the panel sends the whole.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from wgfleet.agent.state import lenient
from wgfleet.protocol import features
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings
from wgfleet.protocol.keys import PublicKey


class Extension(Struct, frozen=True, omit_defaults=True):
    """The rest of what the journal holds while `digest` is that of its bytes. `peers`: those that lack something."""

    digest: str
    history: str
    settings: InterfaceSettings
    peers: dict[PublicKey, DesiredPeer] = {}


class Extensions(Struct, frozen=True):
    """Content of the file: the entry of what is there, and that of what is about to be written."""

    entries: tuple[Extension, ...]


def extension(digest: str, desired: DesiredInterface) -> Extension:
    """Return what `desired` has beyond 0.1.0."""
    peers: dict[PublicKey, DesiredPeer] = {}
    if features.FIELDS[DesiredPeer]:
        peers = {
            key: peer for key, peer in desired.peers.items() if features.for_agent(peer, features.NONE) is not peer
        }
    return Extension(digest, desired.history, desired.settings, peers)


def encode(entries: Iterable[Extension]) -> bytes:
    """Return the content of the file."""
    return msgspec.json.encode(Extensions(tuple(entries)))


def extended(stored: DesiredInterface, digest: str, raw: bytes) -> tuple[DesiredInterface, Extension | None]:
    """Complete what the journal holds by the entry for it; without one, return it as it is."""
    try:
        found, _ = lenient.read(raw, Extensions)
    except msgspec.MsgspecError:
        return stored, None
    for entry in found.entries:
        if entry.digest == digest:
            peers = {**stored.peers, **{key: peer for key, peer in entry.peers.items() if key in stored.peers}}
            return DesiredInterface(stored.generation, entry.settings, peers, entry.history), entry
    return stored, None
