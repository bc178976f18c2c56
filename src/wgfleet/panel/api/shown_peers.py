"""Answers that show peers, encoded at once; `PeerView` is what they are, and a test compares the two."""

from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import NamedTuple

from fastapi import Response
from pydantic import Field

from wgfleet.panel import clock
from wgfleet.panel.api.models import Said, Shown, View, encoded, encoded_page, utc
from wgfleet.panel.domain.held_settings import HELD, NOTHING_HELD, HeldSettings
from wgfleet.panel.services import held_settings, rule_sets, usage
from wgfleet.panel.services.fleet import node_addresses, peer_nodes, peers, tags
from wgfleet.panel.services.fleet.node_addresses import NodeAddresses
from wgfleet.panel.services.usage import Total
from wgfleet.panel.store import Tx
from wgfleet.panel.store.sessions import LastSession
from wgfleet.panel.store.shown_peers import ShownPeer

SPEED = "in bits per second, by the nearest of itself, its tags and its config; null: as fast as it can."


class SessionView(View):
    """What a node last reported about the peer."""

    node_id: str
    endpoint: str | None
    latest_handshake: datetime | None
    rx: int = Field(description="Bytes received by the node, as of the last handshake or some minutes ago.")
    tx: int = Field(description="Bytes sent by the node, likewise.")
    seen_at: datetime = Field(description="When its handshake or its endpoint was last news.")


class UsedView(View):
    """What a peer used since it was made, on all nodes."""

    received: int = Field(description="Bytes that nodes received from it.")
    sent: int = Field(description="Bytes that nodes sent to it.")
    first_at: datetime = Field(description="When usage was first counted.")
    last_at: datetime = Field(description="When usage was last counted.")


class NodeAddressesView(View):
    """The addresses of a peer in a node's slice of the pools."""

    node_id: str
    node: str
    addresses: list[str]


class PeerView(View):
    """A peer. Its secret keys are only in its file."""

    id: str
    config_id: str
    name: str
    public_key: str
    has_private_key: bool = Field(description="false: only the user has the private key.")
    has_preshared_key: bool
    addresses: list[str]
    node_addresses: list[NodeAddressesView] | None = Field(
        description="Which of them it has at which node of an independent config; null: at all nodes of a cluster."
    )
    nodes: list[str] | None = Field(
        description="Names of the nodes and node groups of an independent config that it may use, and ids of those "
        "that are gone; null: all."
    )
    networks: list[str]
    keepalive: int | None = Field(description="Its own keepalive interval in s; null: that of its tags or config.")
    tags: list[str]
    enabled: bool
    home_node_id: str | None = Field(description="The node it is placed on; in a cluster every node accepts it.")
    group_id: str | None
    owner_id: str | None = Field(description="The user whose device it is; null: nobody's.")
    session: SessionView | None
    created_at: datetime
    restricted_at: datetime | None = Field(description="Since when its limits keep it out; null: they do not.")
    restricted_because: Said | None = Field(description="Which limit, and whose it is.")
    download_speed: int | None = Field(description=f"How fast it gets, {SPEED}")
    upload_speed: int | None = Field(description=f"How fast it sends, {SPEED}")
    rule_set: str | None = Field(
        description="Name of the set of destination rules that it is held to, by the same order; null: none."
    )
    usage: UsedView | None = Field(description="null: it never used anything.")


def of_rows(tx: Tx, rows: Sequence[ShownPeer]) -> list[Shown]:
    """Return peers as they are shown, with their addresses and sessions."""
    ids = [peer.id for peer in rows]
    addresses = peers.addresses(tx, rows)
    found = addresses, peers.sessions(tx, ids), tags.names_of(tx, ids), held_of(tx, rows)
    return shown(rows, *found, usage.totals(tx, ids), at_nodes_of(tx, rows, addresses))


class AtNodes(NamedTuple):
    """What is of nodes of independent configs, by peer id: addresses, and which nodes a peer may use if not all."""

    addresses: Mapping[str, Sequence[NodeAddresses]] = MappingProxyType({})
    usable: Mapping[str, Sequence[str]] = MappingProxyType({})


def at_nodes_of(tx: Tx, rows: Sequence[ShownPeer], addresses: Mapping[str, Sequence[str]]) -> AtNodes:
    """Return what of peers is of nodes of their configs."""
    found = node_addresses.of_peers(tx, rows, addresses)
    return AtNodes(found, peer_nodes.names_of(tx, found)) if found else NO_NODES


NO_NODES = AtNodes()


def held_of(tx: Tx, rows: Sequence[ShownPeer], special: Container[str] | None = None) -> dict[str, HeldSettings]:
    """Return what counts for peers, by id, with names of sets of rules; as `held_settings.of_peers`."""
    found = held_settings.of_peers(tx, rows, special)
    names = rule_sets.names(tx, {each.rule_set for each in found.values()})
    if len(names) > 1:
        return {peer_id: each._replace(rule_set=names.get(each.rule_set or "")) for peer_id, each in found.items()}
    return found


def shown(
    rows: Sequence[ShownPeer],
    addresses: Mapping[str, list[str]],
    sessions: Mapping[str, LastSession],
    tag_names: Mapping[str, list[str]],
    held: Mapping[str, HeldSettings],
    totals: Mapping[str, Total] = MappingProxyType({}),
    at_nodes: AtNodes = NO_NODES,
) -> list[Shown]:
    """Return peers as they are shown, with what is known of them by id."""
    ahead_s = clock.by_wall(0.0)  # from the clock that sessions have their times of
    held_shown = {each: _held(each) for each in {NOTHING_HELD, *held.values()}}  # few are unlike others
    return [
        {
            **_peer(
                peer,
                _at_nodes(peer.id, addresses.get(peer.id, []), at_nodes),
                sessions.get(peer.id),
                tag_names.get(peer.id, []),
                ahead_s,
            ),
            **held_shown[held.get(peer.id, NOTHING_HELD)],
            "usage": None if (used := totals.get(peer.id)) is None else _used(used),
        }
        for peer in rows
    ]


def _at_nodes(peer_id: str, addresses: list[str], at_nodes: AtNodes) -> Shown:
    by_node = at_nodes.addresses.get(peer_id)
    if by_node is None:
        return {"addresses": addresses, "node_addresses": None, "nodes": None}
    usable = {address for each in by_node for address in each.addresses}
    return {
        "addresses": [each for each in addresses if each in usable],
        "node_addresses": [each._asdict() for each in by_node],
        "nodes": at_nodes.usable.get(peer_id),
    }


def _peer(peer: ShownPeer, where: Shown, session: LastSession | None, tag_names: list[str], ahead_s: float) -> Shown:
    return {
        "id": peer.id,
        "config_id": peer.config_id,
        "name": peer.name,
        "public_key": peer.public_key,
        "has_private_key": peer.has_private_key,
        "has_preshared_key": peer.has_preshared_key,
        **where,
        "networks": peer.networks,
        "keepalive": peer.keepalive,
        "tags": tag_names,
        "enabled": peer.enabled,
        "home_node_id": peer.home_node_id,
        "group_id": peer.group_id,
        "owner_id": peer.owner_id,
        "session": None if session is None else _session(session, ahead_s),
        "created_at": utc(peer.created_at),
        "restricted_at": utc(peer.restricted_at),
        "restricted_because": peer.restricted_because,
    }


def _held(held: HeldSettings) -> Shown:
    return {name: getattr(held, name) or None for name in HELD}


def _session(session: LastSession, ahead_s: float) -> Shown:
    return {
        "node_id": session.node_id,
        "endpoint": session.endpoint,
        "latest_handshake": utc(ahead_s + session.latest_handshake) if session.latest_handshake else None,
        "rx": session.rx,
        "tx": session.tx,
        "seen_at": utc(ahead_s + session.seen_at),
    }


def _used(used: Total) -> Shown:
    return {
        "received": used.received,
        "sent": used.sent,
        "first_at": utc(used.first_at),
        "last_at": utc(used.last_at),
    }


def one(peer: Shown, status: int = HTTPStatus.OK) -> Response:
    """Answer with a peer."""
    return encoded(peer, status)


page = encoded_page
"""Answers with a page of peers."""
