"""The name by which a panel calls agents, in the header `PANEL_HEADER` of each request. Pure.

Every start of a panel is an incarnation, with a higher number than the last. A lower number is a panel on an older copy
of the database; the same number with another id is one of two that were started from the same copy.
"""

from typing import Self

from msgspec import Struct

MAX_NAME = 1000  # characters; one has some 250

_PARTS = range(3, 5)


class PanelName(Struct, frozen=True, omit_defaults=True):
    """The panel's id, and the number and id of its incarnation.

    `proof` is the same, sealed by the panel: agents keep it and show it to older panels, which can open it as they have
    the same master key. No agent can make one.
    """

    panel: str
    number: int
    id: str
    proof: str = ""

    def __str__(self) -> str:
        """Return the value of the header."""
        return " ".join(filter(None, (self.panel, str(self.number), self.id, self.proof)))

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Read the value of the header; None: none that says anything, as from a panel of 0.1.0."""
        parts = (text or "")[: MAX_NAME + 1].split()
        if len(text or "") > MAX_NAME or len(parts) not in _PARTS:
            return None
        if not (parts[1].isascii() and parts[1].isdigit()):
            return None
        return cls(parts[0], int(parts[1]), parts[2], *parts[3:])

    def is_newer_than(self, other: "PanelName") -> bool:
        """Tell whether an agent that obeyed this one refuses the other: it is older, or another copy of it."""
        return self.panel == other.panel and (
            self.number > other.number or (self.number == other.number and self.id != other.id)
        )
