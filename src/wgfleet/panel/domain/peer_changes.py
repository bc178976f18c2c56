"""Changes of many peers at once, as values: what is done to each, and what that means for those who notice."""

import hashlib
from collections.abc import Iterable
from enum import StrEnum

from wgfleet.panel.errors import Invalid
from wgfleet.protocol.reasons import Reason


class PeerAction(StrEnum):
    """What is done to each peer."""

    ENABLE = "enable"
    DISABLE = "disable"
    DELETE = "delete"
    ADD_TAG = "add_tag"
    REMOVE_TAG = "remove_tag"
    SET_JOB = "set_job"
    """It gets a job, in the place of its own ones of the same field."""
    SET_GROUP = "set_group"
    """It prefers another node group, or none; a rebalance brings it there."""
    SET_SPEEDS = "set_speeds"
    """Nodes hold it to other speeds."""
    SET_NODES = "set_nodes"
    """It may use some nodes of an independent config only, or all."""
    MOVE = "move"
    """It gets a home on a node, or on the nodes of a group, and its session is brought there."""


OF_TAGS = frozenset({PeerAction.ADD_TAG, PeerAction.REMOVE_TAG})


def who(peer_ids: Iterable[str]) -> str:
    """Return what stands for some peers: how many there are, and a digest of who they are."""
    ids = sorted(peer_ids)
    return f"{len(ids)}-{hashlib.sha256(' '.join(ids).encode()).hexdigest()[:32]}"


def noticed(action: PeerAction, peers: int, on: int, live: int) -> list[str]:
    """Say who notices a change of some peers, `on` of which are enabled, and `live` connected now."""
    if action is PeerAction.DELETE and peers:
        return [
            Reason("{peers} deleted, and their files never work again; {live}", peers=_peers(peers), live=_live(live))
        ]
    if action is PeerAction.DISABLE and on:
        return [Reason("{peers} cut off on all nodes until enabled again; {live}", peers=_peers(on), live=_live(live))]
    if action is PeerAction.ENABLE and peers - on:
        return [Reason("{peers} let in again, where no limit keeps them out", peers=_peers(peers - on))]
    return []


def check_given(
    action: PeerAction, *, tag: bool, job: bool, group: bool, to: bool, speeds: bool, nodes: bool = False
) -> None:
    """Refuse what an action does not take, and what it lacks. Each says whether it was given."""
    if nodes and action is not PeerAction.SET_NODES:
        raise Invalid(Reason("{action!r} takes no nodes", action=action.value), field="nodes")
    if group and action is not PeerAction.SET_GROUP:
        raise Invalid(Reason("{action!r} takes no group", action=action.value), field="group")
    for field, given, wanted, some, none in (
        ("tag", tag, action in OF_TAGS, Reason("a tag"), Reason("no tag")),
        ("job", job, action is PeerAction.SET_JOB, Reason("a job"), Reason("no job")),
        ("to", to, action is PeerAction.MOVE, Reason("a node or a node group"), Reason("none")),
        ("download_speed", speeds, action is PeerAction.SET_SPEEDS, Reason("one speed or both"), Reason("no speeds")),
    ):
        if given != wanted:
            takes = some if wanted else none
            raise Invalid(Reason("{action!r} takes {takes}", action=action.value, takes=takes), field=field)


def _peers(count: int) -> str:
    return Reason("1 peer is") if count == 1 else Reason("{count} peers are", count=count)


def _live(count: int) -> str:
    return Reason("{count} connected now", count=count) if count else Reason("none is connected now")
