"""`/api/configs/{config}/peers/changes`: all peers that a filter lets through are changed by one call."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Response, status
from pydantic import Field

from wgfleet.panel import clock
from wgfleet.panel.api import jobs
from wgfleet.panel.api.auth import Writer
from wgfleet.panel.api.held_settings import DOWNLOAD, UPLOAD, Speed
from wgfleet.panel.api.jobs import NewJob
from wgfleet.panel.api.models import MAX_PAGE, NEW_FILE, SOME_LINE, Body, Reference, Said, View
from wgfleet.panel.api.operations import OperationView, lead_to, view
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.held_settings import SPEEDS
from wgfleet.panel.domain.peer_changes import PeerAction
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import configs, peer_changes
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.fleet import node_reach, nodes, ownership, peer_lists, peer_nodes, tags
from wgfleet.panel.services.fleet.peer_nodes import MAX_PLACES
from wgfleet.panel.services.fleet.tags import MAX_NAME as MAX_TAG_NAME
from wgfleet.panel.services.moves import peer_moves
from wgfleet.panel.services.peer_changes import PeerChangeSpec
from wgfleet.panel.store import Tx, listed_peers
from wgfleet.panel.store.listed_peers import PeerFilter
from wgfleet.protocol.reasons import Reason, template

if TYPE_CHECKING:
    from wgfleet.panel.services.held_settings import HeldChanges

router = subject_router("peers")
Text = Annotated[str, Field(min_length=1, max_length=100, pattern=SOME_LINE)]
TagName = Annotated[str, Field(min_length=1, max_length=MAX_TAG_NAME)]


class WantedPeers(Body):
    """Which peers of the config: those that all of it is true of. Nothing: all of them."""

    search: Text | None = Field(default=None, description="Part of the name; or a whole public key, or address.")
    tag: TagName | None = Field(default=None, description="Id or name of a tag that they have.")
    node: Text | None = Field(default=None, description="Id or name of the node that is their home.")
    owner: Text | None = Field(default=None, description="Id or name of the user whose devices they are.")
    enabled: bool | None = None
    live: bool | None = Field(default=None, description="Whether they are connected now.")
    restricted: bool | None = Field(default=None, description="Whether a limit keeps them out.")
    needs_new_file: bool | None = Field(default=None, description=NEW_FILE)
    peers: list[Text] | None = Field(
        default=None, min_length=1, max_length=MAX_PAGE, description="These alone, by their ids. All are of the config."
    )


class PeersToChange(Body):
    """What is to be done to which peers."""

    filter: WantedPeers = Field(default_factory=WantedPeers)
    action: Annotated[PeerAction, Field(strict=False)] = Field(
        description="`add_tag` and `remove_tag` take `tag`, `set_job` takes `job`; `set_group` takes `group`, which "
        "counts from the next rebalance on; `set_speeds` takes one speed or both, and one that is left out stays; "
        "`move` takes `to`; `set_nodes` takes `nodes`."
    )
    tag: TagName | None = Field(default=None, description="Id or name of the tag that they get, or lose.")
    job: NewJob | None = Field(default=None, description="In the place of their own jobs of the same field.")
    group: Text | None = Field(default=None, description="Id or name of the node group that they prefer; null: none.")
    nodes: list[Text] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_PLACES,
        description="`set_nodes`: ids or names of the nodes and node groups of an independent config that they may "
        "use; null: all.",
    )
    to: Text | None = Field(
        default=None,
        description="`move`: id or name of the node that becomes their home, or of the node group whose nodes do, and "
        "which they prefer from then on. There is room for all of them, or it is refused.",
    )
    download_speed: Speed = Field(default=None, description=DOWNLOAD)
    upload_speed: Speed = Field(default=None, description=UPLOAD)


class PeersToChangeNow(PeersToChange):
    """The same, and who that is."""

    expect: Annotated[str, Field(pattern=r"^[0-9]{1,9}-[0-9a-f]{32}$")] = Field(
        description="`who` of the preview. Refused (409) where others fit by now."
    )


class PeersFoundView(View):
    """Whom a change would be about."""

    peers: int = Field(description="How many.")
    who: str = Field(description="What stands for who they are: to be sent as `expect`.")
    live: int = Field(description="How many of them are connected now.")
    names: list[str] = Field(description="The first 100 names.")
    effects: list[Said] = Field(description="Sentences for people, each about users who would notice; empty: nobody.")
    stay: list[Said] = Field(description="How many of them stay as they are, and why; empty: none does, or a move.")


@router.post("/api/configs/{config}/peers/changes/preview", summary="Show whom a change of many peers would be about")
def preview_change(panel: ThePanel, caller: Writer, config: Reference, body: PeersToChange) -> PeersFoundView:
    return found(panel, caller, config, body)


@router.post("/api/configs/{config}/peers/changes", status_code=status.HTTP_202_ACCEPTED, summary="Change many peers")
def change_peers(
    panel: ThePanel, caller: Writer, config: Reference, body: PeersToChangeNow, response: Response
) -> OperationView:
    """Change all peers that fit now. Those who come to fit later stay as they are.

    The operation goes on after a restart; each peer has its entry in the audit log. There is one for a config at a
    time. Cancelled, it leaves the rest as they are.
    """
    shown = begun(panel, caller, config, body)
    lead_to(response, panel, shown)
    return shown


def found(panel: Panel, caller: Caller, config: str, body: PeersToChange) -> PeersFoundView:
    """Say whom a change would be about."""
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        spec = _spec(tx, panel, caller, body)
        it = peer_changes.look(tx, filter_of(tx, panel, caller, row.id, body.filter, "filter.search"), spec)
        return PeersFoundView(
            peers=it.peers, who=it.who, live=it.live, names=it.names, effects=it.effects, stay=it.stay
        )


def begun(panel: Panel, caller: Caller, config: str, body: PeersToChangeNow) -> OperationView:
    """Begin a change."""
    with panel.store.write() as tx:
        row = configs.get(tx, config)
        spec = _spec(tx, panel, caller, body)
        wanted = filter_of(tx, panel, caller, row.id, body.filter, "filter.search")
        operation = peer_changes.start(tx, caller.actor, row, wanted, spec, body.expect)
        tx.refresh(operation)
        return view(tx, operation)


def filter_of(
    tx: Tx, panel: Panel, caller: Caller, config_id: str, wanted: WantedPeers, field: str = "search"
) -> PeerFilter:
    """Return which peers of a config are meant; refuse what the caller does not see; `field`: of the search."""
    part = peer_lists.searched(wanted.search, field)
    if wanted.node is not None:
        limits.check(tx, caller.limit, "node", wanted.node, "filter")
    if wanted.peers is not None:
        _check_of_config(tx, config_id, wanted.peers)
    return PeerFilter(
        config_ids=[config_id],
        ids=wanted.peers,
        node_id=None if wanted.node is None else nodes.get(tx, wanted.node).id,
        owner_id=None if wanted.owner is None else ownership.wanted_id(tx, wanted.owner),
        enabled=wanted.enabled,
        live=wanted.live,
        live_since=clock.steady() - panel.settings.drain.live_s,
        restricted=wanted.restricted,
        needs_new_file=wanted.needs_new_file,
        tag_id=None if wanted.tag is None else tags.get(tx, wanted.tag, caller.limit).id,
        part=part,
    )


def _check_of_config(tx: Tx, config_id: str, peer_ids: Sequence[str]) -> None:
    """Refuse peers that are not of a config: one that was deleted, or whom the call would silently leave as it is."""
    of_it, _ = listed_peers.extent(tx, PeerFilter(config_ids=[config_id], ids=peer_ids))
    if others := len(set(peer_ids)) - of_it:
        text = template("{count} of these peers are not of this config, or no more; give those of one config")
        raise Invalid(Reason(text, count=others), field="filter.peers")


def _spec(tx: Tx, panel: Panel, caller: Caller, body: PeersToChange) -> PeerChangeSpec:
    """Return what is to be done; refuse a tag, a node group, or a node, that the caller does not see."""
    limits.check_named_group(tx, caller.limit, body.group)
    if body.tag is not None:
        tags.check_named(tx, caller.limit, [body.tag], "tag")
    peer_nodes.check_named(tx, caller.limit, body.nodes or ())
    if body.action is PeerAction.SET_NODES and not body.nodes:
        node_reach.check_all(caller.limit)
    to = body.to
    if to is not None and caller.limit is not None:
        to = peer_moves.destination(tx, to, caller.limit).id  # what the caller does not see may have the same name
    words = {name: str(value) for name, value in body.filter.model_dump(exclude_none=True, exclude={"peers"}).items()}
    if body.filter.peers is not None:
        words["peers"] = str(len(body.filter.peers))
    job = None if body.job is None else jobs.spec_of(body.job)
    speeds = {name: getattr(body, name) for name in SPEEDS if name in body.model_fields_set}
    return PeerChangeSpec(
        body.action,
        words,
        body.tag,
        job,
        body.group,
        cast("HeldChanges", speeds) if speeds else None,
        to,
        panel.settings.drain.live_s,
        panel.settings.drain.grace_s,
        tuple(body.nodes or ()),
        None if caller.limit is None else tuple(sorted(caller.limit.groups)),
    )
