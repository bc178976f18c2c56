"""Panels that this agent has obeyed: of each, the newest incarnation, kept on disk. An older one is refused.

The refusal shows the newest's own proof (`protocol.panel_name`): an older panel believes that, and not an agent's word.
"""

from pathlib import Path

import msgspec
import structlog

from wgfleet.agent.state.files import DamagedFileError, DamagedFiles, read_file, write_atomic
from wgfleet.protocol.messages import Refusal
from wgfleet.protocol.panel_name import PanelName

_MAX_PANELS = 16
_log = structlog.get_logger()


class ObeyedPanels:
    """The file of the panels that were obeyed."""

    def __init__(self, path: Path, damaged: DamagedFiles) -> None:
        self._path = path
        self._damaged = damaged
        self._newest: dict[str, PanelName] = {}

    def load(self) -> None:
        """Read the file; one that is damaged is set aside, and the next panel is obeyed."""
        try:
            names = msgspec.json.decode(read_file(self._path), type=list[PanelName])
        except FileNotFoundError:
            names = []
        except (DamagedFileError, msgspec.MsgspecError, UnicodeError) as error:
            self._damaged.set_aside(self._path, error, way_out="the next panel that calls is obeyed")
            names = []
        self._newest = {name.panel: name for name in names}

    def refusal(self, header: str | None) -> Refusal | None:
        """Return why a panel is not obeyed; None: it is, and is remembered if it is the newest.

        `header` is what it sent in `PANEL_HEADER`. One of 0.1.0 sends none, and is obeyed.
        """
        caller = PanelName.parse(header)
        if caller is None:
            return None
        newest = self._newest.get(caller.panel)
        if newest is None or caller.number > newest.number:
            self._remember(caller)
            return None
        return _older(caller, newest) if newest.is_newer_than(caller) else None

    def _remember(self, name: PanelName) -> None:
        others = [each for each in self._newest.values() if each.panel != name.panel]
        self._newest = {each.panel: each for each in (*others[1 - _MAX_PANELS :], name)}
        try:
            write_atomic(self._path, msgspec.json.encode(list(self._newest.values())), self._damaged)
        except OSError as error:  # a full disk must not keep the panel out
            _log.error("panel.not_remembered", incarnation=name.number, reason=str(error))


def _older(caller: PanelName, newest: PanelName) -> Refusal:
    what = f"start {caller.number} of the panel" if caller.number < newest.number else "another copy of the panel"
    return Refusal(
        title="an older panel",
        status=409,
        detail=(
            f"this agent has obeyed start {newest.number}, and is called by {what}: one that runs on an older copy of "
            "the database. If this copy is to count, stop the other panel and run `wgfleet panel restored` where this "
            "one runs"
        ),
        reason="older_panel",
        proof=newest.proof or None,
    )
