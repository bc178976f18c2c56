"""Messages of a watch stream, read from its lines: those of later releases are skipped, and what cannot be left out."""

import contextlib
from typing import get_args

import msgspec
import structlog

from wgfleet.doors.folding import Folding
from wgfleet.panel import clock
from wgfleet.panel.agents import answers, claims
from wgfleet.protocol.messages import InterfaceReport, WatchMessage

KINDS_LOGGED = 8  # of an agent that sends what this version does not know
REPORTS_LOGGED = 5  # kinds of trouble a minute with what one agent reports

log = structlog.get_logger()
_decoder: msgspec.json.Decoder[WatchMessage] = msgspec.json.Decoder(WatchMessage)
_KINDS = frozenset(kind.__struct_config__.tag for kind in get_args(WatchMessage))


class _Kind(msgspec.Struct):
    """What every watch message has."""

    type: str


_report_decoder: msgspec.json.Decoder[InterfaceReport] = msgspec.json.Decoder(InterfaceReport)
_kind_decoder: msgspec.json.Decoder[_Kind] = msgspec.json.Decoder(_Kind)


class WatchMessages:
    """Reads the lines of one agent, which errors and the log call `label`."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._skipped: set[str] = set()
        self._left_out: Folding[str] = Folding("various", capacity=REPORTS_LOGGED)

    def read(self, line: bytes) -> WatchMessage | None:
        """Decode a line. None: it is of a kind that this version does not know.

        A report of an interface that cannot be is left out, and stops no other.
        """
        try:
            return _decoder.decode(line)
        except answers.UNREADABLE as error:
            trouble: Exception = error
        if self._is_of_later_release(line):
            return None
        with contextlib.suppress(*answers.UNREADABLE):
            parts = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            reports = msgspec.json.decode(parts.get("interfaces", b""), type=list[msgspec.Raw])
            # No machine has more; each that is looked at by itself takes time of the loop.
            if len(reports) <= claims.MAX_REPORTED:
                parts["interfaces"] = msgspec.Raw(
                    b"[%b]" % b",".join([report for report in reports if _is_possible(report)])
                )
                kept = _decoder.decode(msgspec.json.encode(parts))
                self._log_left_out(claims.words(str(trouble)))
                return kept
        raise answers.nonsense(self._label, trouble)

    def _log_left_out(self, trouble: str) -> None:
        now = clock.monotonic()
        for error, more in self._left_out.ended(now):
            log.warning("watch.left_out_again", agent=self._label, error=error, count=more)
        if (told := self._left_out.note(trouble, now)) is not None:
            log.warning("watch.left_out", agent=self._label, error=told)

    def _is_of_later_release(self, line: bytes) -> bool:
        """Tell whether a message is of a kind that this panel does not know; each is logged once."""
        kind = answers.decode(self._label, _kind_decoder, line).type
        if kind in _KINDS:
            return False
        if kind not in self._skipped and len(self._skipped) < KINDS_LOGGED:
            self._skipped.add(kind)
            log.info(
                "watch.skipped", agent=self._label, kind=claims.words(kind, 80), reason="not known to this version"
            )
        return True


def _is_possible(report: msgspec.Raw) -> bool:
    try:
        _report_decoder.decode(report)
    except answers.UNREADABLE:
        return False
    return True
