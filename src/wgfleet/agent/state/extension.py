"""Extension of the journal: what 0.1.0 does not know of a stored interface, in a file beside those it reads strictly.

So an agent that is rolled back to 0.1.0 starts from the journal as it is. Each line is for exact bytes of the journal,
by digest: where another release wrote since, none fits, and the panel sends the whole.
"""

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


def extension(digest: str, desired: DesiredInterface) -> Extension:
    """Return what `desired` has beyond 0.1.0."""
    peers: dict[PublicKey, DesiredPeer] = {}
    if features.FIELDS[DesiredPeer]:
        peers = {
            key: peer for key, peer in desired.peers.items() if features.for_agent(peer, features.NONE) is not peer
        }
    return Extension(digest, desired.history, desired.settings, peers)


def encode(entry: Extension) -> bytes:
    """Return a line of the file."""
    return msgspec.json.encode(entry) + b"\n"


def extended(stored: DesiredInterface, digest: str, raw: bytes) -> tuple[DesiredInterface, bytes]:
    """Complete what the journal holds by the line for it, which is returned too; without one, return it as it is."""
    for line in reversed(raw.splitlines(keepends=True)):
        if digest.encode() not in line:
            continue
        try:
            entry, _ = lenient.read(line, Extension)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            continue
        if entry.digest == digest:
            peers = {**stored.peers, **{key: peer for key, peer in entry.peers.items() if key in stored.peers}}
            return DesiredInterface(stored.generation, entry.settings, peers, entry.history), line
    return stored, b""
