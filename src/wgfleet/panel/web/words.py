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


class OperationWords(NamedTuple):
    """A kind of operation in words. `steps`: as rows name them, in order; `ending`: what it means to cancel it."""

    title: str
    steps: tuple[str, ...]
    ending: str = ""


_MOVES = ("place", "takeover", "confirm", "close")
OPERATIONS = {
    "remove_node": OperationWords(
        marked("Removal of"),
        ("backup", "place", "takeover", "retire", "clean", "close"),
        marked("The node serves on. Peers that have a new home keep it."),
    ),
    "failover": OperationWords(marked("Failover of"), _MOVES),
    "drain": OperationWords(
        marked("Drain of"), _MOVES, marked("The node is uncordoned. Peers that have a new home keep it.")
    ),
    "rebalance": OperationWords(marked("Rebalance"), _MOVES, marked("Peers that have a new home keep it.")),
    "move_address": OperationWords(marked("Move of a floating address"), _MOVES),
    "drain_group": OperationWords(
        marked("Drain of a node group"), (), marked("All nodes of the group are uncordoned, and their drains end.")
    ),
    "move_peers": OperationWords(marked("Move of many peers"), _MOVES, marked("Peers that have a new home keep it.")),
    "change_peers": OperationWords(
        marked("Change of many peers"), (), marked("The rest of the peers stay as they are.")
    ),
}
STEPS = {
    "backup": marked("the interface and its peers are saved"),
    "place": marked("peers get new homes"),
    "takeover": marked("connected devices are called by their new nodes"),
    "retire": marked("the node stops serving the config"),
    "clean": marked("the node deletes its interface"),
    "confirm": marked("the nodes that lost sessions confirm it"),
    "close": marked("it ends"),
}


def operation_words(kind: object) -> OperationWords:
    """Return the words for a kind of operation; one that has none is shown as it is."""
    return OPERATIONS.get(str(kind), OperationWords(str(kind), ()))
