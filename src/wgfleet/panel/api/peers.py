"""`/api/configs/{config}/peers` and `/api/peers`: user devices."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, cast

from fastapi import Query, Response, status
from pydantic import AfterValidator, Field, StringConstraints

from wgfleet.panel.api import shown_peers
from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.client_settings import (
    ChangedClientSettings,
    NewClientSettings,
    PeerDetailsView,
    details,
)
from wgfleet.panel.api.held_settings import ChangedHeldSettings, NewHeldSettings
from wgfleet.panel.api.large_bodies import LargeBodies
from wgfleet.panel.api.models import (
    LINE,
    NEW_FILE,
    SOME_LINE,
    UNCHANGED,
    Body,
    Identifier,
    Limit,
    Page,
    PeersAfter,
    Reference,
    cut,
)
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.peer_batches import PeerBatchCall
from wgfleet.panel.api.shown_peers import PeerView
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain import cursors
from wgfleet.panel.domain.client_settings import SETTINGS
from wgfleet.panel.domain.fields import MAX_NETWORKS, one_spelling
from wgfleet.panel.domain.held_settings import HELD
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import configs, held_settings, rule_sets, usage
from wgfleet.panel.services.access import limits, owners
from wgfleet.panel.services.access.callers import SECRETS, Caller
from wgfleet.panel.services.clients import files
from wgfleet.panel.services.fleet import node_groups, ownership, peer_lists, peer_nodes, peers, tags
from wgfleet.panel.services.fleet.node_reach import NodeReach
from wgfleet.panel.services.fleet.peer_details import MAX_NOTES, PeerDetails
from wgfleet.panel.services.fleet.peer_lists import PeerFilter, PeerOrder
from wgfleet.panel.services.fleet.peer_nodes import MAX_PLACES
from wgfleet.panel.services.fleet.peers import MAX_BATCH, MAX_DIGITS, MAX_NAME, PeerChanges, PeerSpec
from wgfleet.panel.services.fleet.tags import MAX_NAME as MAX_TAG_NAME
from wgfleet.panel.services.fleet.tags import MAX_TAGS
from wgfleet.panel.store import Tx
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.store.tables import Peer
from wgfleet.protocol.addresses import pasted
from wgfleet.protocol.reasons import Reason

if TYPE_CHECKING:
    from wgfleet.panel.services.fleet.client_settings import ClientSettings
    from wgfleet.panel.services.held_settings import HeldChanges

router = subject_router("peers", route_class=LargeBodies)

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
MAX_KEY = 200  # with what is copied along; what is wrong with it is said by the parser
PublicKey = Annotated[
    str,
    StringConstraints(max_length=MAX_KEY),
    AfterValidator(pasted),
    Field(description="Base64 of 32 bytes, as printed by `wg pubkey`."),
]
Networks = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MAX_NETWORKS)]
Notes = Annotated[str, Field(max_length=MAX_NOTES, description="What administrators write about it.")]
Tags = Annotated[
    list[Annotated[str, Field(max_length=MAX_TAG_NAME)]],
    Field(max_length=MAX_TAGS, description="Ids or names of tags."),
]
Nodes = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=64)]],
    Field(
        min_length=1,
        max_length=MAX_PLACES,
        description="Ids or names of the nodes and node groups that it may use, of an independent config; null: all.",
    ),
]
Group = Annotated[str, Field(min_length=1, max_length=64, description="Id or name of the node group it prefers.")]
Owner = Annotated[str, Field(min_length=1, max_length=64)]
OWNER = (
    "Id or name of the user whose device it is, who can read its file; needs the scope `secrets`. "
    "A user who is disabled gets only peers that are not `enabled`. Who is limited names owners of peers within the "
    "limit alone."
)
MAX_SEARCH = 100


class NewPeer(NewClientSettings, NewHeldSettings):
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
    group: Group | None = None
    enabled: bool = Field(default=True, description="false: no node accepts it.")
    owner: Owner | None = Field(default=None, description=OWNER)
    notes: Notes = ""
    tags: Tags = Field(default=[])
    nodes: Nodes | None = None


class NewPeers(Body):
    """Either `peers`, or `count` peers named `name_prefix` and a number. Creates all of them or none."""

    # Fails fast: an error for each field of 10,000 peers would be megabytes, made while nobody else is answered.
    peers: list[NewPeer] | None = Field(default=None, min_length=1, max_length=MAX_BATCH, fail_fast=True)
    count: Annotated[int, Field(ge=1, le=MAX_BATCH)] | None = None
    name_prefix: str = Field(default="user-", max_length=MAX_NAME - MAX_DIGITS)
    first_number: Annotated[int, Field(ge=0, le=90_000_000)] | None = Field(
        default=None,
        description=f"null: one above the highest number of up to {MAX_DIGITS} digits in use with the prefix.",
    )


class ChangedPeer(ChangedClientSettings, ChangedHeldSettings):
    """The fields to change; a field that is left out, or null, keeps its value.

    Null removes `group` and `owner`, lets it use all `nodes`, and leaves settings and speeds to tags and config.
    """

    name: Name | None = UNCHANGED
    networks: Networks | None = Field(default=UNCHANGED, description="Networks behind the peer.")
    group: Group | None = UNCHANGED
    enabled: bool | None = Field(default=UNCHANGED, description="false: no node accepts it.")
    notes: Notes | None = UNCHANGED
    tags: Tags | None = Field(default=UNCHANGED, description="All tags that it is to have, by id or name.")
    nodes: Nodes | None = UNCHANGED
    public_key: PublicKey | None = UNCHANGED
    owner: Owner | None = Field(default=UNCHANGED, description=f"{OWNER} Null: nobody's.")
    rotate_keys: bool = Field(default=UNCHANGED, description="Make new keys; the user's current file stops working.")


def specs_of(panel: Panel, caller: Caller, bodies: Sequence[NewPeer]) -> list[PeerSpec]:
    """Return what a caller wants to be made, where it may be."""
    named = {body.owner for body in bodies if body.owner is not None}
    if named:
        caller.need(SECRETS, "giving a peer an owner")
    owner_ids: dict[str | None, str | None] = {None: None}
    with panel.store.read() as tx:
        owner_ids |= {each: owners.named(tx, caller, each) for each in named}
        for group in {body.group for body in bodies}:
            limits.check_named_group(tx, caller.limit, group)
        for rule_set in {body.rule_set for body in bodies}:
            rule_sets.check_named(tx, caller.limit, {"rule_set": rule_set})
        for references in {tuple(body.tags) for body in bodies if body.tags}:
            tags.check_named(tx, caller.limit, references, "tags")
        peer_nodes.check_named(tx, caller.limit, {each for body in bodies for each in body.nodes or ()})
    return [_spec(body, owner_ids[body.owner]) for body in bodies]


def _spec(body: NewPeer, owner_id: str | None) -> PeerSpec:
    return PeerSpec(
        owner_id=owner_id,
        name=body.name,
        public_key=body.public_key,
        preshared_key=body.preshared_key,
        addresses=tuple(body.addresses),
        networks=tuple(body.networks),
        keepalive=body.keepalive,
        group=body.group,
        enabled=body.enabled,
        details=_details(body),
    )


def _details(body: NewPeer) -> PeerDetails | None:
    """Return what few peers have, None where there is nothing; the keepalive is a column of each peer."""
    settings = {name: value for name in SETTINGS if (value := getattr(body, name)) is not None and name != "keepalive"}
    held = {name: value for name in HELD if (value := getattr(body, name)) is not None}
    if not (settings or held or body.notes or body.tags or body.nodes):
        return None
    nodes = tuple(body.nodes) if body.nodes else None
    settings_of_file, held_to = cast("ClientSettings", settings), cast("HeldChanges", held)
    return PeerDetails(body.notes, tuple(body.tags), settings_of_file, held_to, nodes)


@router.get("/api/configs/{config}/peers", response_model=Page[PeerView], summary="List the peers of a config")
def list_peers(
    panel: ThePanel,
    caller: Reader,
    config: Reference,
    *,
    search: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=MAX_SEARCH,
            pattern=LINE,
            description="Part of the name; or a whole public key, or address.",
        ),
    ] = None,
    tag: Annotated[
        str | None,
        Query(max_length=MAX_TAG_NAME, pattern=SOME_LINE, description="Id or name of a tag that they have."),
    ] = None,
    owner: Annotated[
        str | None,
        Query(max_length=64, pattern=SOME_LINE, description="Id or name of the user whose devices they are."),
    ] = None,
    needs_new_file: Annotated[bool | None, Query(description=NEW_FILE)] = None,
    sort: Annotated[
        Literal["created", "name", "traffic", "handshake"],
        Query(
            description="Order: oldest first, by name, by what they used in all, most first, or by their last "
            "handshake, latest first. Not of a search."
        ),
    ] = "created",
    after: PeersAfter = None,
    limit: Limit = 100,
) -> Response:
    """Follow `next` until it is null: a page of a search may have fewer peers than `limit`, or none."""
    part = peer_lists.searched(search)
    if part and sort != "created":
        raise Invalid(Reason("what is searched for comes in the order of creation"), field="sort")
    live_s = panel.settings.drain.live_s
    with panel.store.read() as tx:
        config_id = configs.id_of(tx, config)
        tag_id = tags.get(tx, tag, caller.limit).id if tag else None
        owner_id = ownership.wanted_id(tx, owner) if owner else None
        asked = (config_id, part, tag_id, sort, *filter(None, [owner]), *_words(needs_new_file))
        wanted = PeerFilter(config_ids=[config_id], tag_id=tag_id, owner_id=owner_id, needs_new_file=needs_new_file)
        after = cursors.place_of(after, *asked)
        if sort == "created":
            peer_lists.check_cursor(after)
        rows, following = _listed(tx, wanted, part, sort, live_s, after, limit)
        items = shown_peers.of_rows(tx, rows)
    return shown_peers.page(items, cursors.bound(following, *asked))


def _words(needs_new_file: bool | None) -> list[str]:
    """Return what of a filter a cursor is bound to."""
    return [] if needs_new_file is None else [f"needs_new_file={needs_new_file}"]


def _listed(
    tx: Tx, wanted: PeerFilter, part: str | None, sort: str, live_s: float, after: str | None, limit: int
) -> tuple[Sequence[ShownPeer], str | None]:
    """Return a page of the peers of one config that a filter lets through, each by the quickest way that there is."""
    [config_id] = wanted.config_ids or []
    few = wanted.owner_id is not None or wanted.needs_new_file is not None
    if part and wanted.needs_new_file is not None:
        return peer_lists.search(tx, wanted, live_s, part, after, limit)
    if part:
        rows, following = peers.search(tx, config_id, part, after, limit)
        rows = rows if wanted.tag_id is None else tags.only(tx, wanted.tag_id, rows)
        return [row for row in rows if wanted.owner_id in {None, row.owner_id}], following
    if sort == "traffic" and wanted.tag_id is None and not few:
        return usage.by_traffic(tx, config_id, after, limit)
    if sort != "created" or few:
        order = PeerOrder.MADE if sort == "created" else PeerOrder(sort)
        backwards = sort not in {"created", "name"}
        return peer_lists.page(tx, wanted, live_s, order, after, limit, backwards=backwards)
    if wanted.tag_id is not None:
        return cut(tags.peers(tx, wanted.tag_id, config_id, after, limit + 1), limit)
    return cut(peers.page(tx, config_id, after, limit + 1), limit)


@router.post(
    "/api/configs/{config}/peers",
    status_code=status.HTTP_201_CREATED,
    response_model=PeerView,
    summary="Create a peer",
)
def create_peer(panel: ThePanel, caller: Writer, config: Reference, body: NewPeer) -> Response:
    """Give it a home and an address from each pool, and update the nodes that serve it immediately."""
    drafts = peers.draft(panel.vault, specs_of(panel, caller, [body]))
    hosts = panel.hosts() if body.networks else {}
    with panel.store.write() as tx:
        ownership.hold(tx, drafts)
        row = configs.get(tx, config)
        made = peers.create(tx, caller.actor, row, drafts, panel_hosts=hosts)
    with panel.store.read() as tx:  # others write meanwhile
        names = tags.names_of(tx, [drafts[0].id]) if body.tags else {}
        held, at = shown_peers.held_of(tx, made.rows()), shown_peers.at_nodes_of(tx, made.rows(), made.addresses)
    items = shown_peers.shown(made.rows(), made.addresses, {}, names, held, at_nodes=at)
    return shown_peers.one(items[0], status.HTTP_201_CREATED)


@router.post(
    "/api/configs/{config}/peers/batch",
    status_code=status.HTTP_201_CREATED,
    response_model=Page[PeerView],
    summary="Create many peers",
)
def create_peers(panel: ThePanel, caller: Writer, config: Reference, body: NewPeers) -> Response:
    """Up to 10,000, all or none; every node gets them in one batch. Lists may show some of them before all are made."""
    if (body.peers is None) == (body.count is None):
        raise Invalid(Reason("give either peers or count"), field="peers")
    if body.peers is not None:
        drafts = peers.draft(panel.vault, specs_of(panel, caller, body.peers))
    else:
        drafts = peers.draft(panel.vault, [PeerSpec(body.name_prefix)] * (body.count or 0))
    prefix = one_spelling(body.name_prefix) if body.peers is None else None
    made = PeerBatchCall(panel, caller, config, prefix, body.first_number).make(drafts)
    # After the last commit, so that nodes get them while the answer is put together.
    with panel.store.read() as tx:
        special = {draft.id for draft in drafts if draft.spec.details}
        names, held = tags.names_of(tx, special), shown_peers.held_of(tx, made.rows(), special)
        at = shown_peers.at_nodes_of(tx, made.rows(), made.addresses)
    items = shown_peers.shown(made.rows(), made.addresses, {}, names, held, at_nodes=at)
    return shown_peers.page(items, status=status.HTTP_201_CREATED)


@router.get("/api/peers/{peer_id}", response_model=PeerView, summary="Show a peer")
def show_peer(panel: ThePanel, _caller: Reader, peer_id: Identifier) -> Response:
    with panel.store.read() as tx:
        return shown_peers.one(shown_peers.of_rows(tx, [peers.shown(tx, peer_id)])[0])


@router.get(
    "/api/peers/{peer_id}/details", summary="Show a peer's notes, the settings of its file, and what nodes hold it to"
)
def show_details(panel: ThePanel, _caller: Reader, peer_id: Identifier) -> PeerDetailsView:
    """Show the settings in effect, each with what set it: the peer, one of its tags, or its config."""
    with panel.store.read() as tx:
        peer = peers.get(tx, peer_id)
        return details(tx, peer.notes, files.settings(tx, peer), held_settings.origins(tx, peer))


def change(tx: Tx, panel: Panel, caller: Caller, peer: Peer, body: ChangedPeer) -> None:
    """Change a peer as a call asks for it."""
    # A group and settings may be taken away with null; for all else, null says the same as nothing.
    given = {name: value for name, value in body.given().items() if value is not None or name in {*SETTINGS, *HELD}}
    rule_sets.check_named(tx, caller.limit, given)
    tags.check_named(tx, caller.limit, given.get("tags", ()), "tags")
    if "nodes" in body.model_fields_set:
        given |= NodeReach(tx, caller.limit, [peer.id]).changed(peer.id, {"nodes": body.nodes})
    if "group" in body.model_fields_set:
        given.pop("group", None)
        limits.check_named_group(tx, caller.limit, body.group)
        given["group_id"] = node_groups.named(tx, body.group, "group").id if body.group else None
    if "owner" in body.model_fields_set:
        caller.need(SECRETS, "giving a peer an owner")
        given.pop("owner", None)
        owner_id = owners.named(tx, caller, body.owner) if body.owner else None
        ownership.give(tx, caller.actor, peer, owner_id, enabled=given.get("enabled"))
    if not given.get("rotate_keys"):
        given.pop("rotate_keys", None)
    changes = cast("PeerChanges", given)
    if changes:
        peers.update(tx, panel.vault, caller.actor, peer, changes, panel_hosts=panel.hosts())


@router.patch("/api/peers/{peer_id}", response_model=PeerView, summary="Change a peer")
def update_peer(panel: ThePanel, caller: Writer, peer_id: Identifier, body: ChangedPeer) -> Response:
    """Nodes are updated immediately. The user's current file keeps working unless the keys change."""
    with panel.store.write() as tx:
        change(tx, panel, caller, peers.get(tx, peer_id), body)
        tx.flush()
        items = shown_peers.of_rows(tx, [peers.shown(tx, peer_id)])
    return shown_peers.one(items[0])


@router.delete("/api/peers/{peer_id}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a peer")
def delete_peer(panel: ThePanel, caller: Writer, peer_id: Identifier) -> None:
    """All nodes stop accepting it; its addresses become free.

    A node that cannot be reached goes on until it can: `GET /api/configs/{config}/revocations` lists those.
    """
    with panel.store.write() as tx:
        peer = peers.get(tx, peer_id)
        peers.delete(tx, caller.actor, configs.get(tx, peer.config_id), [peer.id])
