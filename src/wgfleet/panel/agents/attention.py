"""Attention to one agent: how much is read of it, so that none takes up the loop that all share."""

from wgfleet.panel import clock
from wgfleet.panel.agents.allowance import Allowance
from wgfleet.panel.errors import TransientError
from wgfleet.protocol.reasons import Reason

# Rows do not say all that a node carries: it keeps the peers of a deleted config until the panel has it delete them,
# and after a restore those that the copy lacks.
MESSAGE_LIMIT = 8 * 2**20  # bytes of a line or an answer: 50,000 peers in use, which the loop takes in within 0.2 s
PEER_LIMIT = 2**10  # bytes more for each peer that the rows have; it needs some 140
FULL_MESSAGES_AT_ONCE = 2
BYTES_A_SECOND, PEER_BYTES_A_SECOND = 512 * 2**10, 2**9
PIECE = 2**10  # bytes that each message, and each piece that one arrives in, counts for more: it takes time too
LEFT_ALONE_S = 10.0  # a node that sends more


class Attention:
    """How much is still read of an agent, which errors call `label`. `peers`: how many its node carries."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.peers = 0
        self._allowance = Allowance(0.0, 0.0)

    @property
    def limit(self) -> int:
        """How many bytes one message may have."""
        return MESSAGE_LIMIT + PEER_LIMIT * self.peers

    def check(self, what: str, size: int) -> None:
        """Raise TransientError where a message or an answer is longer than the peers of the node need."""
        if size > self.limit:
            raise TransientError(
                Reason(
                    "{node}: {what} has more than {limit} bytes, too many for {peers} peers",
                    node=self.label,
                    what=what,
                    limit=self.limit,
                    peers=self.peers,
                )
            )

    def count(self, size: int, pieces: int = 1) -> None:
        """Raise TransientError where an agent sends more than is read of one node."""
        self._allowance.burst = FULL_MESSAGES_AT_ONCE * self.limit
        self._allowance.rate = BYTES_A_SECOND + PEER_BYTES_A_SECOND * self.peers
        if not self._allowance.take(size + pieces * PIECE, clock.monotonic()):
            raise TransientError(
                Reason(
                    "{node}: sends more than the panel reads of one node ({rate:.0f} kB/s); "
                    "look at that machine, its agent is broken or not ours",
                    node=self.label,
                    rate=self._allowance.rate / 1024,
                ),
                retry_after_s=LEFT_ALONE_S,
            )
