"""Words for states, as pages show them, and how each is marked: good, poor, bad or idle."""

from typing import NamedTuple

from wgfleet.panel.web.languages import marked


class StateWord(NamedTuple):
    """A state in words. `mark` is a class of the styles, which has a shape of its own as well as a color."""

    text: str
    mark: str


UNKNOWN = "idle"
STATES = {
    # of nodes
    "serving": StateWord(marked("serving"), "good"),
    "suspect": StateWord(marked("doubtful"), "poor"),
    "unmanaged": StateWord(marked("unmanaged"), "poor"),
    "down": StateWord(marked("down"), "bad"),
    "recovering": StateWord(marked("recovering"), "poor"),
    "joining": StateWord(marked("joining"), UNKNOWN),
    "draining": StateWord(marked("draining"), "poor"),
    "removed": StateWord(marked("removed"), UNKNOWN),
    # of operations
    "pending": StateWord(marked("pending"), UNKNOWN),
    "running": StateWord(marked("running"), "good"),
    "succeeded": StateWord(marked("succeeded"), "good"),
    "failed": StateWord(marked("failed"), "bad"),
    # of DNS names
    "synced": StateWord(marked("published"), "good"),
    "failing": StateWord(marked("failing"), "bad"),
    "conflict": StateWord(marked("conflict"), "bad"),
    "approval": StateWord(marked("waits for approval"), "poor"),
    "cancelled": StateWord(marked("cancelled"), UNKNOWN),
}


def state(value: object) -> StateWord:
    """Return the words for a state; one that has none is shown as it is."""
    return STATES.get(str(value), StateWord(str(value), UNKNOWN))
