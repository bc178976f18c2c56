"""Peers: the list with its filters, one peer with what is known of it, and making, changing and deleting one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Query, Request
from starlette.responses import Response

from wgfleet.panel.api import files as file_answers
from wgfleet.panel.api import shown_peers
from wgfleet.panel.api.auth import Reader, SecretReader, Writer
from wgfleet.panel.api.models import LINE, Identifier, PeersAfter, ReferenceFilter
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.peers import MAX_SEARCH, NewPeer, specs_of
from wgfleet.panel.domain import cursors
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import limits, users
from wgfleet.panel.services.access.callers import ADMIN, READ, Caller
from wgfleet.panel.services.clients import files
from wgfleet.panel.services.fleet import (
    assignments,
    endpoint_groups,
    node_groups,
    nodes,
    ownership,
    peer_lists,
    peer_nodes,
    peers,
    tags,
)
from wgfleet.panel.services.fleet.peer_lists import PeerFilter, PeerOrder
from wgfleet.panel.store import Tx
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.store.tables import Config
from wgfleet.panel.web import peer_states
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, typed_name_is
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.panel.web.typed_tags import typed_tags

if TYPE_CHECKING:
    from wgfleet.panel.services.clients.files import ClientFile
from wgfleet.panel.services.clients.platforms import Platform

router = page_router()
SECTIONS = (Section(marked("Peers"), "/peers", 20, READ),)
PAGE = 50
MOST_CONFIGS = 1000
LISTS, BOXES = {"addresses", "networks", "nodes"}, {"preshared_key", "enabled"}

Search = Annotated[str, Query(max_length=MAX_SEARCH, pattern=LINE)]
Chosen = Annotated[str, Query(max_length=64, pattern=r"^[!-~]*$")]  # a form sends also what is left empty
Owner = Annotated[str, Query(max_length=64, pattern=LINE)]
Live = Annotated[Literal["", "yes", "no"], Query()]
Sort = Annotated[Literal["made", "-made", "name", "-name", "traffic", "-traffic", "handshake", "-handshake"], Query()]


@router.get("/peers")
def list_peers(
    request: Request,
    panel: ThePanel,
    caller: Reader,
    *,
    config: Chosen = "",
    node: Chosen = "",
    search: Search = "",
    tag: Search = "",
    owner: Owner = "",
    live: Live = "",
    enabled: Live = "",
    needs_new_file: Live = "",
    sort: Sort = "made",
    after: PeersAfter = None,
) -> Response:
    """Show a page of peers. What is chosen is in the address, so that it can be kept and passed on."""
    search = search.strip()
    chosen = {"config": config, "node": node, "search": search, "tag": tag, "owner": owner.strip()}
    chosen |= {"live": live, "enabled": enabled, "needs_new_file": needs_new_file, "sort": sort}
    given = {name: value for name, value in chosen.items() if value and (name, value) != ("sort", "made")}
    place = cursors.place_of(after, *chosen.values())
    with panel.store.read() as tx:
        seen = configs.page(tx, None, MOST_CONFIGS, caller.limit)
        if node:
            limits.check(tx, caller.limit, "node", node)
        wanted = PeerFilter(
            config_ids=_config_ids(tx, caller, config or None, [each.id for each in seen]),
            node_id=nodes.get(tx, node).id if node else None,
            live={"yes": True, "no": False}.get(live),
            enabled={"yes": True, "no": False}.get(enabled),
            needs_new_file={"yes": True, "no": False}.get(needs_new_file),
            tag_id=tags.get(tx, tag, caller.limit).id if tag else None,
            owner_id=ownership.wanted_id(tx, chosen["owner"]) if chosen["owner"] else None,
        )
        live_s = panel.settings.drain.live_s
        if search:
            found = peer_lists.search(tx, wanted, live_s, search, place, PAGE)
        else:
            order, backwards = PeerOrder(sort.removeprefix("-")), sort.startswith("-")
            found = peer_lists.page(tx, wanted, live_s, order, place, PAGE, backwards=backwards)
        following = cursors.bound(found.looked_up_to, *chosen.values())
        context = {
            "peers": _rows(tx, found.peers),
            "configs": seen,
            "nodes": nodes.page(tx, None, MOST_CONFIGS, caller.limit),
            "tags": tags.page(tx, None, MOST_CONFIGS, caller.limit),
            "users": users_for(tx, caller),
            "given": given,
            "chosen": {name: value or "" for name, value in chosen.items()},
            "chips": [(name, value, with_query("/peers", {**given, name: ""})) for name, value in given.items()],
            "here": with_query("/peers", {**given, "after": after}),
            "first": with_query("/peers", given) if after else None,
            "following": with_query("/peers", {**given, "after": following}) if following else None,
            "sort": sort,
            "no_files": files.refusal(tx, configs.get(tx, config)) if config else None,
            "with_query": with_query,
        }
        return page(request, "peers/list.html", context, blocks={"results"})


@router.get("/peers/new")
def new_peer_page(request: Request, panel: ThePanel, caller: Writer, config: ReferenceFilter = None) -> Response:
    return _new(request, panel, caller, SubmittedForm({"config": config} if config else {}))


@router.post("/peers/new")
@all_at_once
def create_peer(request: Request, panel: ThePanel, caller: Writer, form: TheForm) -> Response:
    """Make a peer and go on to its file, or to the peer where the caller may read no secrets."""
    more = {"tags": form.chosen("tags")}
    body = form.read(NewPeer, many=LISTS, boxes=BOXES, without=more, more=more)
    if body is None:
        return _new(request, panel, caller, form)
    try:
        with typed_tags(panel, caller, form) as typed:
            made = _made(panel, caller, form.get("config"), body.model_copy(update={"tags": [*body.tags, *typed]}))
    except REFUSALS as error:
        return _new(request, panel, caller, form.refused(error))
    peer_id = made.rows()[0].id
    return gone_on(request, f"/peers/{peer_id}/access" if caller.may("secrets") else f"/peers/{peer_id}")


def _made(panel: Panel, caller: Caller, config: str, body: NewPeer) -> peers.Created:
    drafts = peers.draft(panel.vault, specs_of(panel, caller, [body]))
    hosts = panel.hosts() if body.networks else {}
    with panel.store.write() as tx:
        ownership.hold(tx, drafts)
        limits.check(tx, caller.limit, "config", config, "config")
        return peers.create(tx, caller.actor, configs.get(tx, config, "config"), drafts, panel_hosts=hosts)


@router.get("/peers/{peer_id}/access")
def show_access(request: Request, panel: ThePanel, caller: SecretReader, peer_id: Identifier) -> Response:
    """Show the file of a peer as text and as a code. That is audited."""
    with panel.store.read() as tx:
        context = of_peer(tx, peers.shown(tx, peer_id))
        nameless = context["config"].mode == configs.CLUSTER and endpoint_groups.find(tx, context["config"]) is None
        none_served = files.refusal(tx, context["config"]) is not None
    found: Sequence[ClientFile] = ()
    limited: Conflict | None = None
    try:
        with panel.store.write() as tx:
            found = files.files(tx, panel.vault, caller.actor, peers.get(tx, peer_id))
    except Conflict as error:  # no node serves it yet, or none that it may use: the page waits for one
        limited = None if none_served else error
    joining = [] if found else _joining(panel, context["config"], peer_id)
    context |= {"files": found, "joining": joining, "nameless": nameless, "limited": limited}
    return page(request, "peers/access.html", context)


def _joining(panel: Panel, config: Config, peer_id: str) -> list[str]:
    """Return the names of the nodes that are about to serve a config, and that a peer may use."""
    with panel.store.read() as tx:
        nodes_of = [each.node for each in assignments.listing(tx, config.id) if each.assignment.phase == Phase.JOINING]
        return [node.name for node in peer_nodes.usable(tx, peer_id, nodes_of)]


@router.get("/peers/{peer_id}/file")
def download_file(
    panel: ThePanel,
    caller: SecretReader,
    peer_id: Identifier,
    *,
    platform: file_answers.ForPlatform = Platform.CONF,
    node: ReferenceFilter = None,
) -> Response:
    return file_answers.of_peer(
        panel, caller, peer_id, lambda found: file_answers.for_platform(file_answers.choose(found, node), platform)
    )


@router.get("/peers/{peer_id}/files")
def download_files(panel: ThePanel, caller: SecretReader, peer_id: Identifier) -> Response:
    with panel.store.write() as tx:
        peer = peers.get(tx, peer_id)
        return file_answers.zipped(files.files(tx, panel.vault, caller.actor, peer), peer.name, peer.id)


@router.get("/peers/{peer_id}/qr")
def show_code(panel: ThePanel, caller: SecretReader, peer_id: Identifier, node: ReferenceFilter = None) -> Response:
    return file_answers.of_peer(
        panel, caller, peer_id, lambda found: file_answers.qr(file_answers.choose(found, node), "png")
    )


@router.get("/peers/{peer_id}/delete")
def delete_page(request: Request, panel: ThePanel, _caller: Writer, peer_id: Identifier) -> Response:
    return _delete(request, panel, peer_id, SubmittedForm())


@router.post("/peers/{peer_id}/delete")
def delete_peer(request: Request, panel: ThePanel, caller: Writer, peer_id: Identifier, form: TheForm) -> Response:
    try:
        with panel.store.write() as tx:
            peer = peers.get(tx, peer_id)
            typed_name_is(form, peer.name)
            peers.delete(tx, caller.actor, configs.get(tx, peer.config_id), [peer.id])
    except REFUSALS as error:
        return _delete(request, panel, peer_id, form.refused(error))
    return gone_on(request, "/peers")


def _new(request: Request, panel: Panel, caller: Caller, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        context = {
            "form": form,
            "configs": configs.page(tx, None, MOST_CONFIGS, caller.limit),
            "groups": node_groups.page(tx, None, MOST_CONFIGS, caller.limit),
            "users": users_for(tx, caller),
            "tags": tags.page(tx, None, MOST_CONFIGS, caller.limit),
        }
        return page(request, "peers/new.html", context, status=form.status)


def _delete(request: Request, panel: Panel, peer_id: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        context = {**of_peer(tx, peers.shown(tx, peer_id)), "form": form, "live_s": panel.settings.drain.live_s}
        return page(request, "peers/delete.html", context, status=form.status)


def users_for(tx: Tx, caller: Caller) -> list[str]:
    """Return the names of users that a field of an owner proposes: those who see the users have them all."""
    return [user.name for user in users.page(tx, None, MOST_CONFIGS)] if caller.may(ADMIN) else []


def _config_ids(tx: Tx, caller: Caller, reference: str | None, seen: Sequence[str]) -> list[str] | None:
    """Return the configs whose peers are listed; None: those of all."""
    if reference is not None:
        limits.check(tx, caller.limit, "config", reference)
        return [configs.id_of(tx, reference)]
    return None if caller.limit is None else list(seen)


def of_peer(tx: Tx, peer: ShownPeer) -> dict[str, Any]:
    """Return what each page of a peer begins with."""
    group = None if peer.group_id is None else node_groups.get(tx, peer.group_id)
    return {"peer": _rows(tx, [peer])[0], "config": configs.get(tx, peer.config_id), "group": group}


def _rows(tx: Tx, found: Sequence[ShownPeer]) -> list[dict[str, Any]]:
    """Return peers as the API shows them, with the names of their configs and nodes."""
    config_names = {each: configs.get(tx, each).name for each in {peer.config_id for peer in found}}
    shown: list[dict[str, Any]] = [dict(each) for each in shown_peers.of_rows(tx, found)]
    sessions = [each["session"] for each in shown if each["session"] is not None]
    wanted = {each["home_node_id"] for each in shown} | {session["node_id"] for session in sessions}
    node_names = {each: nodes.get(tx, each).name for each in wanted if each is not None}
    for each in shown:
        each["config_name"] = config_names[each["config_id"]]
        each["home"] = node_names.get(each["home_node_id"])
        each["served_by"] = node_names.get(each["session"]["node_id"]) if each["session"] is not None else None
        each["live"] = peer_states.is_live(each["session"])
    return shown
