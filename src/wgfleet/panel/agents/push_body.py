"""The body of a push, in parts as they are sent: what many nodes get is in memory once, however many get it at once."""

from collections.abc import Iterator

import msgspec

from wgfleet.panel.agents.calls import PART
from wgfleet.protocol.desired import DesiredInterface

# In a text, quotes stand behind a backslash: only the field itself looks so.
_PEERS = b'"peers":{'


class PushBody:
    """A whole with JSON members of its peers, `shared`, beyond its own; of two of the same key, its own counts."""

    def __init__(self, push: DesiredInterface, shared: bytes) -> None:
        head, found, tail = msgspec.json.encode(push).partition(_PEERS)
        own_follow = not tail.startswith(b"}")
        self._parts = (head + found, shared, b"," + tail if own_follow else tail)

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[bytes]:
        """Give what is sent, a part after another."""
        for part in self._parts:
            for start in range(0, len(part), PART):
                yield part[start : start + PART]
