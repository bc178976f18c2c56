"""Settings of peers that nodes hold them to: how fast each may be, and to where it may connect.

Of peer, tags and config the nearest wins. Pure.
"""

from collections.abc import Iterable
from typing import NamedTuple

SPEEDS = ("download_speed", "upload_speed")
HELD = (*SPEEDS, "rule_set")
"""Names of the settings, the same in rows and in bodies. None leaves it to the next; 0 is no limit of speed."""


class HeldSettings(NamedTuple):
    """The settings of one peer, tag or config. Speeds in bits per second; `rule_set`: an id, "": no rules."""

    download_speed: int | None = None
    upload_speed: int | None = None
    rule_set: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all is left to others."""
        return self == NOTHING_HELD


NOTHING_HELD = HeldSettings()


def nearest(layers: Iterable[HeldSettings]) -> HeldSettings:
    """Return each setting of the nearest layer that has it."""
    found = NOTHING_HELD
    for layer in layers:
        if not layer.is_empty:
            found = HeldSettings._make(
                further if near is None else near for near, further in zip(found, layer, strict=True)
            )
    return found
