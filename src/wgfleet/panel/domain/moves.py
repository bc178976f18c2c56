"""The order of steps of an operation that moves peers. Pure: everything is read off rows, so a restart changes nothing.

A removal goes BACKUP, PLACE, TAKEOVER, RETIRE, CLEAN, RECALL, CLOSE; the others PLACE, TAKEOVER, CONFIRM, RECALL,
CLOSE. Each step may be done again without harm.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from wgfleet.panel.domain.operations import OperationKind


class MoveState(StrEnum):
    """Where one peer's move stands."""

    PENDING = "pending"
    MOVED = "moved"  # the new node has it, or its session
    LEFT = "left"  # the session did not follow in time; it comes by itself with the client's next handshake


class MoveStep(StrEnum):
    """What is done next."""

    BACKUP = "backup"
    PLACE = "place"  # peers get new homes, and the moves are written
    TAKEOVER = "takeover"  # live sessions are taken over; also the wait for the drain window
    RETIRE = "retire"  # the interface is to be deleted: written down before it is asked for
    CLEAN = "clean"  # the node deletes it, if it can be reached
    CONFIRM = "confirm"  # the nodes that lost sessions say that they have dropped those peers
    RECALL = "recall"  # whom they were slow to drop, and may have turned back until then, is called once more
    CLOSE = "close"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveView:
    """An operation as its rows stand. Times in s since the epoch.

    `begun_at`: when it was asked for. `over`: there is nothing more to move, though not everything has. `unsettled`:
    moves that are neither done nor given up. `drain_ends_at`: when waiting for them ends. `sources`: the nodes whose
    sessions have to be known first. `unconfirmed`: the nodes that have yet to drop peers, or an address. `taken_over`:
    sessions that were; `unchecked`: whether those nodes dropped them in time has not been looked at. `urgent`: the node
    is out of use, so that its clients have none. Of a removal alone: `cancelled`, in time; `backed_up`; `retired`, the
    assignment's phase is `removed`; `owed`, the node still has the interface; `clean_ends_at`, when waiting for its
    deletion ends.
    """

    kind: OperationKind
    finished: bool
    begun_at: float = math.inf
    config_id: str = ""
    over: bool = False
    placed: bool = False
    unsettled: int = 0
    drain_ends_at: float = 0.0
    sources: tuple[str, ...] = ()
    unconfirmed: tuple[str, ...] = ()
    taken_over: int = 0
    unchecked: bool = False
    urgent: bool = False
    cancelled: bool = False
    backed_up: bool = False
    retired: bool = False
    owed: bool = False
    clean_ends_at: float = 0.0

    @property
    def removes(self) -> bool:
        """Whether a node leaves the config for good."""
        return self.kind is OperationKind.REMOVE_NODE


def resumed(view: MoveView, started_at: float, grace_s: float) -> MoveView:
    """Return the view as a panel sees it that has run since `started_at`.

    Of time that ran out while no panel was there, it gives back `grace_s`: agents connect and say who is live, clients
    are called, and nodes drop them, before anything is given up.
    """
    if view.begun_at >= started_at:
        return view
    until = started_at + grace_s
    return replace(view, drain_ends_at=max(view.drain_ends_at, until), clean_ends_at=max(view.clean_ends_at, until))


def next_step(view: MoveView, now: float, *, confirm_within_s: float) -> MoveStep:
    """Name the next step. `confirm_within_s`: how long after the drain window nodes may still confirm."""
    if view.finished:
        return MoveStep.DONE
    if view.cancelled:
        return MoveStep.CLOSE
    if view.removes and not view.backed_up:
        return MoveStep.BACKUP
    if not view.placed and not view.over:
        return MoveStep.PLACE
    if not view.retired and not view.over and view.unsettled and now < view.drain_ends_at:
        return MoveStep.TAKEOVER
    return _last_steps(view, now, confirm_within_s)


def _last_steps(view: MoveView, now: float, confirm_within_s: float) -> MoveStep:
    """Name the next step once no session is waited for any more."""
    if view.removes and not view.retired:
        return MoveStep.RETIRE
    if view.removes and view.owed and now < view.clean_ends_at:
        return MoveStep.CLEAN
    if not view.removes and view.unconfirmed and now < view.drain_ends_at + confirm_within_s:
        return MoveStep.CONFIRM
    return MoveStep.RECALL if view.unchecked else MoveStep.CLOSE


def may_be_turned(view: MoveView) -> bool:
    """Tell whether nodes that lost sessions may have turned clients back before they dropped them.

    One that is out of use has not: those are called when it returns, and its own packets are held back before.
    """
    return bool(view.taken_over) and not view.urgent and view.kind is not OperationKind.FAILOVER


def needs_sessions(view: MoveView, step: MoveStep) -> bool:
    """Tell whether the sessions of the view's sources have to be known before a step is done.

    A removal gives nobody a second chance, so it looks again before each step that gives a session up. Who is called
    once more is where the nodes last saw him, which a panel that was dead does not know yet.
    """
    return step in {MoveStep.PLACE, MoveStep.RECALL} or (view.removes and step in {MoveStep.TAKEOVER, MoveStep.RETIRE})


def may_begin(view: MoveView, step: MoveStep) -> bool:
    """Tell whether a step that needs sessions may be done with those that were reported before a node fell silent.

    Clients whose node dies in the middle of its removal are called at once, as in a failover; the last look is later.
    """
    return view.removes and step in {MoveStep.PLACE, MoveStep.TAKEOVER}
