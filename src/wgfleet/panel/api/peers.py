"""`/api/configs/{config}/peers` and `/api/peers`: user devices."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, cast

from fastapi import APIRouter, Query, status
from pydantic import Field

from wgfleet.panel import clock
from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.large_bodies import LargeBodies
from wgfleet.panel.api.models import (
    UNCHANGED,
    After,
    Body,
    Identifier,
    Limit,
    Page,
    PatchBody,
    Reference,
    View,
    page,
    utc,
)
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.domain.fields import MAX_LIST
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import node_groups, peers
from wgfleet.panel.services.fleet.peers import MAX_BATCH, MAX_KEEPALIVE_S, MAX_NAME, PeerChanges, PeerSpec
from wgfleet.panel.store import Tx
from wgfleet.panel.store.sessions import LastSession
from wgfleet.panel.store.tables import Peer

router = APIRouter(tags=["peers"], route_class=LargeBodies)

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
PublicKey = Annotated[str, Field(max_length=44, description="Base64 of 32 bytes, as printed by `wg pubkey`.")]
Networks = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MAX_LIST)]
Keepalive = Annotated[int, Field(ge=0, le=MAX_KEEPALIVE_S)]
Group = Annotated[str, Field(min_length=1, max_length=64, description="Id or name of the node group it prefers.")]
MAX_SEARCH = 100


class NewPeer(Body):
    """The peer to create."""

    name: Name = Field(examples=["anna-phone"])
    public_key: PublicKey | None = Field(
        default=None, description="The user's own public key; null: the panel creates the key pair."
    )
    preshared_key: bool = Field(default=True, description="Create a preshared key too.")
    addresses: Networks = Field(
        default=[], description="Wanted addresses, at most one from each pool; the others are chosen."
    )
    networks: Networks = Field(default=[], description="Networks behind the peer.", examples=[["192.168.7.0/24"]])
    keepalive: Keepalive | None = Field(
        default=None, description="Keepalive interval in seconds; 0 turns it off; null: the config's."
    )
    group: Group | None = None
    enabled: bool = Field(default=True, description="false: no node accepts it.")


class NewPeers(Body):
    """Either `peers`, or `count` peers named `name_prefix` and a number. Creates all of them or none."""

    # Fails fast: an error for each field of 10,000 peers would be megabytes, made while nobody else is answered.
    peers: list[NewPeer] | None = Field(default=None, min_length=1, max_length=MAX_BATCH, fail_fast=True)
    count: Annotated[int, Field(ge=1, le=MAX_BATCH)] | None = None
    name_prefix: str = Field(default="user-", max_length=MAX_NAME - 8)
    first_number: Annotated[int, Field(ge=0, le=90_000_000)] | None = Field(
        default=None, description="null: one above the highest number in use with the prefix."
    )


class ChangedPeer(PatchBody):
    """The fields to change; a field that is left out, or null, keeps its value. `group` null removes the group."""

    name: Name | None = UNCHANGED
    networks: Networks | None = Field(default=UNCHANGED, description="Networks behind the peer.")
    keepalive: Keepalive | None = Field(default=UNCHANGED, description="Keepalive interval in seconds; 0 turns it off.")
    group: Group | None = UNCHANGED
    enabled: bool | None = Field(default=UNCHANGED, description="false: no node accepts it.")
    public_key: PublicKey | None = UNCHANGED
    rotate_keys: bool = Field(default=UNCHANGED, description="Make new keys; the user's current file stops working.")


class SessionView(View):
    """What a node last reported about the peer."""

    node_id: str
    endpoint: str | None
    latest_handshake: datetime | None
    rx: int = Field(description="Bytes received by the node.")
    tx: int = Field(description="Bytes sent by the node.")
    seen_at: datetime = Field(description="When its handshake or its endpoint was last news.")


class PeerView(View):
    """A peer. Its secret keys are only in its file."""

    id: str
    config_id: str
    name: str
    public_key: str
    has_private_key: bool = Field(description="false: only the user has the private key.")
    has_preshared_key: bool
    addresses: list[str]
    networks: list[str]
    keepalive: int
    enabled: bool
    home_node_id: str | None = Field(description="The node it is placed on; in a cluster every node accepts it.")
    group_id: str | None
    session: SessionView | None
    created_at: datetime


def _views(tx: Tx, rows: Sequence[Peer]) -> list[PeerView]:
    return _shown(rows, peers.addresses(tx, rows), peers.sessions(tx, [peer.id for peer in rows]))


def _shown(
    rows: Sequence[Peer], addresses: Mapping[str, list[str]], sessions: Mapping[str, LastSession]
) -> list[PeerView]:
    ahead_s = clock.by_wall(0.0)  # from the clock that sessions have their times of
    return [
        PeerView(
            id=peer.id,
            config_id=peer.config_id,
            name=peer.name,
            public_key=peer.public_key,
            has_private_key=peer.private_key_sealed is not None,
            has_preshared_key=peer.preshared_key_sealed is not None,
            addresses=addresses.get(peer.id, []),
            networks=peer.networks,
            keepalive=peer.keepalive,
            enabled=peer.enabled,
            home_node_id=peer.home_node_id,
            group_id=peer.group_id,
            session=SessionView(
                node_id=session.node_id,
                endpoint=session.endpoint,
                latest_handshake=utc(ahead_s + session.latest_handshake if session.latest_handshake else None),
                rx=session.rx,
                tx=session.tx,
                seen_at=utc(ahead_s + session.seen_at),
            )
            if (session := sessions.get(peer.id))
            else None,
            created_at=utc(peer.created_at),
        )
        for peer in rows
    ]


def _spec(body: NewPeer) -> PeerSpec:
    return PeerSpec(
        name=body.name,
        public_key=body.public_key,
        preshared_key=body.preshared_key,
        addresses=tuple(body.addresses),
        networks=tuple(body.networks),
        keepalive=body.keepalive,
        group=body.group,
        enabled=body.enabled,
    )


@router.get("/api/configs/{config}/peers", summary="List the peers of a config")
def list_peers(
    panel: ThePanel,
    _caller: Reader,
    config: Reference,
    *,
    search: Annotated[
        str | None,
        Query(max_length=MAX_SEARCH, pattern=r"^[^\x00-\x1f]*$", description="Text to find in names and public keys."),
    ] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[PeerView]:
    """Follow `next` until it is null: a page of a search may have fewer peers than `limit`, or none."""
    with panel.store.read() as tx:
        config_id = configs.get(tx, config).id
        if search:
            found = peers.search(tx, config_id, search, after, limit)
            return Page(items=_views(tx, found.peers), next=found.looked_up_to)
        return page(peers.page(tx, config_id, after, limit + 1), limit, lambda shown: _views(tx, shown))


@router.post("/api/configs/{config}/peers", status_code=status.HTTP_201_CREATED, summary="Create a peer")
def create_peer(panel: ThePanel, caller: Writer, config: Reference, body: NewPeer) -> PeerView:
    """Give it a home and an address from each pool, and update the nodes that serve it immediately."""
    drafts = peers.draft(panel.vault, [_spec(body)])
    with panel.store.write() as tx:
        row = configs.get(tx, config)
        made = peers.create(tx, caller.actor, row, drafts, panel_hosts=panel.hosts())
    return _shown(made.peers(), made.addresses, {})[0]


@router.post("/api/configs/{config}/peers/batch", status_code=status.HTTP_201_CREATED, summary="Create many peers")
def create_peers(panel: ThePanel, caller: Writer, config: Reference, body: NewPeers) -> Page[PeerView]:
    """Up to 10,000 in one transaction; every node gets them in one batch."""
    if (body.peers is None) == (body.count is None):
        raise Invalid("give either peers or count", field="peers")
    if body.peers is not None:
        drafts = peers.draft(panel.vault, [_spec(peer) for peer in body.peers])
    else:
        drafts = peers.draft(panel.vault, [PeerSpec(body.name_prefix)] * (body.count or 0))
    with panel.store.write() as tx:
        row = configs.get(tx, config)
        if body.peers is None:
            drafts = peers.numbered(tx, row, body.name_prefix, drafts, body.first_number)
        made = peers.create(tx, caller.actor, row, drafts, field="peers", panel_hosts=panel.hosts())
    # After the commit, so that nodes get them while the answer is put together.
    return Page(items=_shown(made.peers(), made.addresses, {}))


@router.get("/api/peers/{peer_id}", summary="Show a peer")
def show_peer(panel: ThePanel, _caller: Reader, peer_id: Identifier) -> PeerView:
    with panel.store.read() as tx:
        return _views(tx, [peers.get(tx, peer_id)])[0]


@router.patch("/api/peers/{peer_id}", summary="Change a peer")
def update_peer(panel: ThePanel, caller: Writer, peer_id: Identifier, body: ChangedPeer) -> PeerView:
    """Nodes are updated immediately. The user's current file keeps working unless the keys change."""
    with panel.store.write() as tx:
        peer = peers.get(tx, peer_id)
        # A group may be taken away with null; for all else, null says the same as nothing.
        given = {name: value for name, value in body.given().items() if value is not None}
        if "group" in body.model_fields_set:
            given.pop("group", None)
            given["group_id"] = node_groups.named(tx, body.group, "group").id if body.group else None
        changes = cast("PeerChanges", given)
        changed = peers.update(tx, panel.vault, caller.actor, peer, changes, panel_hosts=panel.hosts())
        return _views(tx, [changed])[0]


@router.delete("/api/peers/{peer_id}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a peer")
def delete_peer(panel: ThePanel, caller: Writer, peer_id: Identifier) -> None:
    """All nodes stop accepting it; its addresses become free.

    A node that cannot be reached goes on until it can: `GET /api/configs/{config}/revocations` lists those.
    """
    with panel.store.write() as tx:
        peer = peers.get(tx, peer_id)
        peers.delete(tx, caller.actor, configs.get(tx, peer.config_id), [peer.id])
