"""The processes that serve the API of one panel: what each has in common with the others.

Their crowds are how many connections each has, so that new ones go to whom has the fewest. See `store.notes` and
`places` for the rest.
"""

import mmap
from dataclasses import dataclass, field
from pathlib import Path

from wgfleet.panel.places import Places
from wgfleet.panel.store.notes import Notes

_WORD = 4


class Crowds:
    """How many connections each process has, in memory that all share: each writes its own number, and reads all."""

    def __init__(self, count: int = 1) -> None:
        self._numbers = memoryview(mmap.mmap(-1, count * _WORD)).cast("I")

    def set(self, number: int, connections: int) -> None:
        """Note how many the process with that number, from 1 on, has now."""
        self._numbers[number - 1] = connections

    def is_smallest(self, number: int) -> bool:
        """Tell whether no other process has fewer."""
        return min(self._numbers) >= self._numbers[number - 1]


@dataclass(frozen=True, slots=True)
class Siblings:
    """One of `count` processes, the one with this `number`, from 1 on; by default the only one."""

    count: int = 1
    number: int = 1
    notes: Notes = field(default_factory=Notes)
    places: Places = field(default_factory=Places)
    crowds: Crowds = field(default_factory=Crowds)

    @classmethod
    def begin(cls, count: int, directory: Path) -> "tuple[Siblings, ...]":
        """Return what each of `count` processes is to be forked with. `directory`: for their notes."""
        notes, places, crowds = Notes.begin(directory), Places(), Crowds(count)
        return tuple(cls(count, number, notes, places, crowds) for number in range(1, count + 1))

    def share_of(self, most: int) -> int:
        """Return how many of what all may have this one may have."""
        return -(-most // self.count)
