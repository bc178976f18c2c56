"""Heard nodes: which other nodes of a backbone can be reached, by what was heard of each. Pure.

Times are s of the monotonic clock.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

SILENT_S = 3.0  # without a word from a node's agent
# Without anything over a node's link: its kernel answers what its agent, which may have ended, does not take (ICMP).
# Its peers' packets are answered with an error from then on.
_LINK_SILENT_S = 5.0
_NEVER = float("-inf")


@dataclass(slots=True)
class HeardNodes:
    """What was heard of each node, by its number.

    `keeping`: those that say they carry connections of users who are elsewhere.
    """

    keeping: set[int] = field(default_factory=set)
    _begun_at: float = _NEVER
    _heard_at: dict[int, float] = field(default_factory=dict)  # anything of a node
    _answered_at: dict[int, float] = field(default_factory=dict)  # that a node said it hears this one
    _received: dict[int, int] = field(default_factory=dict)  # bytes
    _received_at: dict[int, float] = field(default_factory=dict)  # anything over the link to a node

    def heard(self, number: int, now: float) -> bool:
        """Note that a node said something; return whether that is the first time."""
        first = number not in self._heard_at
        self._heard_at[number] = now
        return first

    def answered(self, number: int, now: float) -> None:
        """Note that a node said it hears this one."""
        self._answered_at[number] = now

    def received(self, received: Mapping[int, int], now: float) -> None:
        """Note how many bytes have come over the links."""
        for number, count in received.items():
            if count > self._received.get(number, count):
                self._received_at[number] = now
            self._received[number] = count

    def only(self, numbers: Collection[int]) -> set[int]:
        """Forget all nodes but some; return those that were heard of."""
        gone = self._heard_at.keys() - set(numbers)
        for number in gone:
            del self._heard_at[number]
            self._answered_at.pop(number, None)
        self.keeping &= set(numbers)
        return gone

    def begin(self, now: float) -> None:
        """Take all nodes to be reached, as they were by an agent before this one, until they had time to answer."""
        self.clear()
        self._begun_at = now

    def clear(self) -> None:
        """Forget what nodes said."""
        self._heard_at.clear()
        self._answered_at.clear()
        self.keeping.clear()

    def hears(self, number: int, now: float) -> bool:
        """Whether a node was heard lately."""
        return now - self._heard_at.get(number, _NEVER) < SILENT_S

    def answers(self, number: int, now: float) -> bool:
        """Whether a node said lately that it hears this one."""
        return now - self._answered_at.get(number, _NEVER) < SILENT_S

    def is_reached(self, number: int, now: float, *, was: bool) -> bool:
        """Whether a node can be reached: it says that it hears this one, or its agent is silent and its link is not."""
        if self.answers(number, now):
            return True
        if was and number not in self._answered_at and now - self._begun_at < SILENT_S:
            return True
        return was and self._has_ended(number) and now - self._received_at.get(number, _NEVER) < _LINK_SILENT_S

    def _has_ended(self, number: int) -> bool:
        """Whether the last that a node said is not a while after its last word that it hears this one.

        That word is not in all that it says, so the two are seldom of the same moment.
        """
        if number not in self._answered_at:
            return number not in self._heard_at
        return self._heard_at.get(number, _NEVER) - self._answered_at[number] < SILENT_S
