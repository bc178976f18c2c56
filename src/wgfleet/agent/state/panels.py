"""Panels that this agent has obeyed: of each, the newest incarnation, kept on disk. An older one is refused.

Every start of a panel is an incarnation, with a higher number than the last. A lower number is a panel on an older copy
of the database; the same number with another id is one of two that were started from the same copy.
"""

from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from wgfleet.agent.state.files import DamagedFileError, DamagedFiles, read_file, write_atomic
from wgfleet.protocol.messages import Refusal

_MAX_PANELS = 16
_log = structlog.get_logger()


class PanelStart(Struct, frozen=True):
    """A start of a panel."""

    number: int
    id: str


class ObeyedPanels:
    """The file of the panels that were obeyed, by the panel's id."""

    def __init__(self, path: Path, damaged: DamagedFiles) -> None:
        self._path = path
        self._damaged = damaged
        self._newest: dict[str, PanelStart] = {}

    def load(self) -> None:
        """Read the file; one that is damaged is set aside, and the next panel is obeyed."""
        try:
            self._newest = msgspec.json.decode(read_file(self._path), type=dict[str, PanelStart])
        except FileNotFoundError:
            self._newest = {}
        except (DamagedFileError, msgspec.MsgspecError, UnicodeError) as error:
            self._damaged.set_aside(self._path, error, way_out="the next panel that calls is obeyed")

    def refusal(self, name: str | None) -> Refusal | None:
        """Return why a panel is not obeyed; None: it is, and is remembered if it is the newest.

        `name` is what it sent in `PANEL_HEADER`: its id, number and id of its incarnation. One of 0.1.0 sends none,
        and is obeyed.
        """
        parts = (name or "").split()
        if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdigit()):  # noqa: PLR2004 - as said above
            return None
        panel, caller = parts[0], PanelStart(int(parts[1]), parts[2])
        newest = self._newest.get(panel)
        if newest is None or caller.number > newest.number:
            self._remember(panel, caller)
            return None
        return None if caller == newest else _older(caller, newest)

    def _remember(self, panel: str, incarnation: PanelStart) -> None:
        others = [(each, newest) for each, newest in self._newest.items() if each != panel]
        self._newest = dict([*others[1 - _MAX_PANELS :], (panel, incarnation)])
        try:
            write_atomic(self._path, msgspec.json.encode(self._newest), self._damaged)
        except OSError as error:  # a full disk must not keep the panel out
            _log.error("panel.not_remembered", incarnation=incarnation.number, reason=str(error))


def _older(caller: PanelStart, newest: PanelStart) -> Refusal:
    what = f"start {caller.number} of the panel" if caller.number < newest.number else "another copy of the panel"
    return Refusal(
        title="an older panel",
        status=409,
        detail=(
            f"this agent has obeyed start {newest.number}, and is called by {what}: one that runs on an older copy of "
            "the database. If this copy is to count, stop the other panel, run `wgfleet panel restored` and start it"
        ),
        reason="older_panel",
    )
