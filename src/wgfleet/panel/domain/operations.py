"""Operations as values: their kinds and states, and for each kind what it was asked, how far it is, and its result.

The three are kept as JSON objects with the names of these fields; None is a field that is not there (yet).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class OperationKind(StrEnum):
    """What an operation does."""

    REMOVE_NODE = "remove_node"  # a node leaves a config
    FAILOVER = "failover"  # a node that went down is replaced
    DRAIN = "drain"  # a node is emptied, and stays assigned
    REBALANCE = "rebalance"  # a config's homes are spread again
    MOVE_ADDRESS = "move_address"  # a floating address goes to another node
    DRAIN_GROUP = "drain_group"  # the nodes of a group are emptied, one after the other
    CHANGE_PEERS = "change_peers"  # all peers that a filter lets through are changed
    MOVE_PEERS = "move_peers"  # all peers that a filter lets through get homes on a node, or on those of a group


class OperationState(StrEnum):
    """Where an operation stands. In the last two it has ended."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveOptions:
    """Of all kinds that move peers. `drain_window_s`: how long to wait for sessions that do not follow."""

    drain_window_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayOptions:
    """Of a drain, and of a removal, which earlier releases wrote without.

    `relay_s`: for how long the node then passes on the packets of clients that nobody else can call; None: it does not.
    `force`: clients that are live may be cut off, as removals of earlier releases did.
    """

    relay_s: float | None = None
    force: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainOptions(MoveOptions):
    """Of a drain, and of a removal. `force`: even where too few nodes or too little room are left.

    `relay_s`: as in `RelayOptions`.
    """

    force: bool
    relay_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverOptions(MoveOptions):
    """Of a failover. `reason`: why the node was found to be down."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressMoveOptions(MoveOptions):
    """Of an address move. `from_node_id`: None where no node holds the address."""

    from_node_id: str | None
    to_node_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerMoveOptions(MoveOptions):
    """Of a move of chosen peers. `filter`: as it was given; `to`: the name of the node or group; `nodes`: their ids."""

    filter: dict[str, str]
    to: str
    nodes: tuple[str, ...]
    group_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDrainOptions:
    """Of a group's drain. `nodes`: their ids, in the order in which they are emptied; `relay_s`: see `RelayOptions`."""

    force: bool
    drain_window_s: float | None
    grace_s: float
    nodes: tuple[str, ...]
    relay_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerChangeOptions:
    """Of a change of many peers. `filter`: as it was given, to be shown; `job`: as `services.jobs.commands.plain`.

    `action`: one of `PeerAction`, or `table`: each peer gets what a line of a table says. `within`: ids of the node
    groups that who began it is limited to; of nodes, all else stays with the peers that have it.
    """

    action: str
    filter: dict[str, str]
    tag_id: str | None = None
    tag: str | None = None
    job: dict[str, Any] | None = None
    group_id: str | None = None
    group: str | None = None
    speeds: dict[str, int | None] | None = None
    nodes: list[str] | None = None
    within: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveCounts:
    """An operation's moves: all, those of live sessions, those done, sessions taken over, sessions left behind."""

    peers: int | None = None
    live: int | None = None
    moved: int | None = None
    taken_over: int | None = None
    left: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveProgress(MoveCounts):
    """Of all kinds that move peers. Times in s since the epoch.

    `drain_ends_at`: when waiting for sessions ends; there from the moment that the moves are written.
    `dropped_generation`: from here on the nodes that lost sessions have dropped those peers.
    """

    drain_ends_at: float | None = None
    started_at: float | None = None
    dropped_generation: int | None = None

    @property
    def placed(self) -> bool:
        """Whether peers have their new homes, and the moves are written."""
        return self.drain_ends_at is not None

    @property
    def window_ends_at(self) -> float:
        """When waiting for sessions ends; 0 where nothing was placed."""
        return self.drain_ends_at or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalProgress(MoveProgress):
    """Of a removal. `clean_ends_at`: when waiting for the node to delete its interface ends."""

    backup_id: str | None = None
    clean_ends_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDrainProgress:
    """Of a group's drain. `drains`: the operations of each node that was begun with, by the node's id.

    `node`: the name of the one that was begun with last; `nodes_begun` of `nodes` in all.
    """

    drains: dict[str, tuple[str, ...]] | None = None
    node: str | None = None
    nodes_begun: int | None = None
    nodes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerChangeProgress:
    """Of a change of many peers: how many there are, and are done. `refused`: why, by name, the first 100."""

    peers: int | None = None
    changed: int | None = None
    refused: dict[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveResult:
    """Of all kinds that move peers. `reason`: why it ended before everything had moved; `ways_out`: codes of hints.

    `unconfirmed`: names of the nodes that could not say that they dropped the sessions that others took over. `left`:
    names of the peers that are left behind, the first 100. `warnings`: sentences on what is not as one would think.
    `relayed`: names of the peers whose packets the node passes on, the first 100; `relay_ends_at`: until when at most.
    """

    peers_migrated: int = 0
    sessions_taken_over: int = 0
    left_behind: int = 0
    seconds: float = 0.0
    unconfirmed: tuple[str, ...] | None = None
    left: tuple[str, ...] | None = None
    relayed: tuple[str, ...] | None = None
    relay_ends_at: float | None = None
    warnings: tuple[str, ...] | None = None
    reason: str | None = None
    ways_out: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalResult(MoveResult):
    """Of a removal. `interface`: `deleted`, `cleanup owed` where the node could not be reached, or `kept`."""

    interface: str
    backup_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDrainResult(MoveResult):
    """Of a group's drain: sums over its nodes. `not_drained`: why, by the node's name."""

    nodes: int
    not_drained: dict[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerChangeResult:
    """Of a change of many peers. `peers_left`: not reached, where it ended before its time, for a `reason`."""

    peers_changed: int
    peers_left: int
    seconds: float
    refused: dict[str, str] | None = None
    reason: str | None = None


Options = MoveOptions | GroupDrainOptions | PeerChangeOptions
Progress = MoveProgress | GroupDrainProgress | PeerChangeProgress
Result = MoveResult | PeerChangeResult
