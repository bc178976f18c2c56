"""Words for states, as pages show them, and how each is marked: good, poor, bad or idle."""

from typing import NamedTuple

from wgfleet.panel.web.languages import marked


class StateWord(NamedTuple):
    """A state in words. `mark` is a class of the styles, which has a shape of its own as well as a color."""

    text: str
    mark: str


UNKNOWN = "idle"
STATES = {
    "up": StateWord(marked("up"), "good"),
    "degraded": StateWord(marked("degraded"), "poor"),
    "down": StateWord(marked("down"), "bad"),
    "unmanaged": StateWord(marked("unmanaged"), "poor"),
    "recovering": StateWord(marked("recovering"), "poor"),
    "suspect": StateWord(marked("suspect"), "poor"),
    "unknown": StateWord(marked("unknown"), UNKNOWN),
    "joining": StateWord(marked("joining"), UNKNOWN),
    "serving": StateWord(marked("serving"), "good"),
    "draining": StateWord(marked("draining"), "poor"),
    "removed": StateWord(marked("removed"), UNKNOWN),
    "running": StateWord(marked("running"), "good"),
    "done": StateWord(marked("done"), "good"),
    "failed": StateWord(marked("failed"), "bad"),
    "pending": StateWord(marked("pending"), UNKNOWN),
    "cancelled": StateWord(marked("cancelled"), UNKNOWN),
}


def state(value: object) -> StateWord:
    """Return the words for a state; one that has none is shown as it is."""
    return STATES.get(str(value), StateWord(str(value), UNKNOWN))
