"""Wakes: what a transaction changed, for those who act on it once it is committed. A wake carries no data."""

from dataclasses import dataclass
from enum import StrEnum

from wgfleet.panel.domain.operations import OperationKind


class Topic(StrEnum):
    """What kind of thing changed. The reconcilers act on the first group; the second only feeds the event stream."""

    CONFIG = "config"
    """A config, its endpoint group or its assignments; concerns the config's nodes and its DNS name."""
    PEERS = "peers"
    """Peers of a config (the id is the config's), and nothing else of it; concerns the config's nodes."""
    NEW_PEERS = "new_peers"
    """As `PEERS`, where some were made and nothing else: of many such changes nodes may get some a little later."""
    NODE = "node"
    """A node, its cordon, or an interface that it has to delete."""
    OPERATION = "operation"
    """An operation that was requested, or whose next step may be possible now. The wake has its kind."""
    ASSIGNMENT = "assignment"
    """The health or the phase of an assignment; concerns the DNS name of its config."""
    FLOATING = "floating"
    """The floating addresses of a config (the id is the config's): who holds or publishes one."""
    FENCED = "fenced"
    """A node dropped sessions that others took over later than in time: those clients are called again.

    The id is that of its assignment, or of the operation that removed it, where it has deleted its interface.
    """
    RELAY = "relay"
    """What the relays of a node are to do (the id is the node's), or who is relayed."""
    FREEZE = "freeze"
    """Whether nodes that do not answer are left in use until a person decides; the id is that of the freeze."""
    DNS = "dns"
    """What a DNS name is to list, or that it is to be checked now."""

    PROGRESS = "progress"
    """How far an operation is. Its reconciler wrote it, and must not wake itself."""
    DNS_PUBLISHED = "dns_published"
    """The result of a DNS sync."""
    RELAYED = "relayed"
    """Who is relayed by a node, as its agent says (the id is the node's)."""
    NODE_HEARD = "node_heard"
    """Whether a node's agent is connected."""
    ADDRESS_TRIED = "address_tried"
    """The result of a call to an address provider (the id is the config's)."""

    @property
    def shown_as(self) -> str:
        """Return the kind under which the event stream shows it."""
        return _SHOWN_AS.get(self, self).value


_SHOWN_AS = {
    Topic.PEERS: Topic.CONFIG,
    Topic.NEW_PEERS: Topic.CONFIG,
    Topic.FENCED: Topic.ASSIGNMENT,
    Topic.PROGRESS: Topic.OPERATION,
    Topic.RELAYED: Topic.RELAY,
    Topic.NODE_HEARD: Topic.NODE,
    Topic.DNS_PUBLISHED: Topic.DNS,
    Topic.ADDRESS_TRIED: Topic.FLOATING,
}


@dataclass(frozen=True, slots=True)
class Wake:
    """Something changed. `kind` is that of an operation, so that nobody has to read it; all other topics have none."""

    topic: Topic
    id: str
    kind: OperationKind | None = None

    def __post_init__(self) -> None:
        if (self.topic is Topic.OPERATION) is (self.kind is None):
            raise ValueError(f"a wake has the kind of an operation, and only then: {self}")
