"""Changes of many peers at once, as values: what is done to each, and what that means for those who notice."""

import hashlib
from collections.abc import Iterable
from enum import StrEnum


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
        return [f"{_peers(peers)} deleted, and their files never work again; {_live(live)}"]
    if action is PeerAction.DISABLE and on:
        return [f"{_peers(on)} cut off on all nodes until enabled again; {_live(live)}"]
    if action is PeerAction.ENABLE and peers - on:
        return [f"{_peers(peers - on)} let in again, where no limit keeps them out"]
    return []


def _peers(count: int) -> str:
    return "1 peer is" if count == 1 else f"{count} peers are"


def _live(count: int) -> str:
    return "none is connected now" if not count else f"{count} connected now"
