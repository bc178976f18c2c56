"""Sessions that ended with a node's interface, and whose peers its agent called: what one agent says, until written."""

from collections.abc import Sequence
from dataclasses import dataclass

from wgfleet.panel import clock
from wgfleet.panel.agents.allowance import Allowance
from wgfleet.panel.services import audit
from wgfleet.panel.services.operations import subject
from wgfleet.panel.store import Tx
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.protocol.messages import CallBack

MAX_DUE, DUE_A_SECOND = 20, 0.2  # an agent may be in the wrong hands
FRESH_S = 60.0


@dataclass(frozen=True, slots=True)
class ReportedCallBack:
    """A call of a config's peers, and what the agent says of it for people."""

    config_id: str
    call: CallBack
    summary: str


class CallBackBuffer:
    """What is still to be written of one node. An agent repeats the last call of each interface as long as it runs."""

    def __init__(self) -> None:
        self._last: dict[str, CallBack] = {}
        self._due: list[ReportedCallBack] = []
        self._allowance = Allowance(MAX_DUE, DUE_A_SECOND)

    def note(self, interface: str, config_id: str, call: CallBack | None, summary: str, agents_now: float) -> None:
        """Take a report. `agents_now`, by the clock of the agent: an old call was written before this panel's start."""
        if call is None or self._last.get(interface) == call:
            return
        known = interface in self._last
        self._last[interface] = call
        if (known or agents_now - call.at < FRESH_S) and self._allowance.take(1, clock.monotonic()):
            self._due = [*self._due, ReportedCallBack(config_id, call, summary)][-MAX_DUE:]

    def forget(self, interface: str) -> None:
        """Forget an interface that the node does not have any more."""
        self._last.pop(interface, None)

    def take(self) -> list[ReportedCallBack]:
        """Return what is due, and forget it."""
        due, self._due = self._due, []
        return due

    def give_back(self, due: Sequence[ReportedCallBack]) -> None:
        """Keep for later what could not be written."""
        self._due = [*due, *self._due][-MAX_DUE:]


def record(tx: Tx, node_id: str, due: Sequence[ReportedCallBack]) -> None:
    """Write them into the audit log, and into the node's summary, of which events tell."""
    for each in due:
        assignment = assignment_rows.get(tx, each.config_id, node_id)
        if assignment is None:
            continue
        about = subject(each.config_id, node_id)
        audit.record(
            tx,
            audit.PANEL,
            "called_back",
            "config_node",
            about,
            sessions=each.call.called,
            answered=each.call.answered,
            seconds=round(each.call.seconds, 2),
        )
        assignment_rows.applied(tx, assignment.id, summary=each.summary)
