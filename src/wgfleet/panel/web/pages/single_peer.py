"""A single peer: what is known of it, when it was connected, why it is not, and the form that changes it."""

from collections.abc import Sequence
from functools import partial

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api import peers as api
from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import Identifier
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.peers import ChangedPeer
from wgfleet.panel.api.previews import preview_peer
from wgfleet.panel.api.visits import list_sessions
from wgfleet.panel.services.access import owners, users
from wgfleet.panel.services.access.callers import SECRETS, Caller
from wgfleet.panel.services.fleet import node_groups, nodes, ownership, peers, tags
from wgfleet.panel.store import Tx
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.web import peer_states
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, made_of
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.pages.peers import MOST_CONFIGS, of_peer, users_for
from wgfleet.panel.web.pages.tags import LISTS, SETTINGS_OF_FILES, left_open
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.panel.web.typed_tags import merged, there_already, typed_tags

router = page_router()
VISITS = 10
BOXES = {"enabled", "rotate_keys"}


@router.get("/peers/{peer_id}")
def show_peer(request: Request, panel: ThePanel, caller: Reader, peer_id: Identifier) -> Response:
    """Show what is known of a peer, when it was connected, and why it is not, where it is not."""
    labels = dict(SETTINGS_OF_FILES)
    details, visits = api.show_details(panel, caller, peer_id), list_sessions(panel, caller, peer_id, None, VISITS)
    with panel.store.read() as tx:
        peer = peers.shown(tx, peer_id)
        context = {
            **of_peer(tx, peer),
            "reasons": peer_states.reasons(tx, peer, panel.settings.drain.live_s),
            "live_s": panel.settings.drain.live_s,
            "notes": details.notes,
            "settings": [(labels[each.name], each) for each in details.settings],
            "visits": visits.items,
            "more_visits": visits.next is not None,
            "node_names": nodes.names(tx, {each.node_id for each in visits.items}),
            "tags": tags.of_peer(tx, peer_id),
            "owner": _owner(tx, peer),
            "with_query": with_query,
        }
        return page(request, "peers/peer.html", context, blocks={"now"})


@router.get("/peers/{peer_id}/switch")
def switch_page(request: Request, panel: ThePanel, _caller: Writer, peer_id: Identifier) -> Response:
    return _switch(request, panel, peer_id, SubmittedForm())


@router.post("/peers/{peer_id}/switch")
def switch_peer(request: Request, panel: ThePanel, caller: Writer, peer_id: Identifier, form: TheForm) -> Response:
    """Switch a peer off, or on again."""
    try:
        api.update_peer(panel, caller, peer_id, made_of(ChangedPeer, enabled=form.get("enabled") == "true"))
    except REFUSALS as error:
        return _switch(request, panel, peer_id, form.refused(error))
    return gone_on(request, f"/peers/{peer_id}")


@router.get("/peers/{peer_id}/edit")
def edit_page(request: Request, panel: ThePanel, caller: Writer, peer_id: Identifier) -> Response:
    return _edit(request, panel, caller, peer_id, SubmittedForm(edits=True))


@router.post("/peers/{peer_id}/edit")
@all_at_once
def update_peer(request: Request, panel: ThePanel, caller: Writer, peer_id: Identifier, form: TheForm) -> Response:
    """Change a peer. With new keys the file in use stops working.

    A form that has not agreed comes back with what the limits and destination rules of other tags would do at once.
    """
    more = left_open(form) | {"tags": form.chosen("tags"), "notes": form.get("notes").strip()}
    if "nodes" in form.values:
        more["nodes"] = form.words("nodes") or None
    body = form.read(
        ChangedPeer,
        many=LISTS | {"networks"},
        boxes=BOXES,
        keep_empty={"networks", "group", "owner"},
        without={*more, "nodes", "public_key"},
        more=more,
    )
    if body is None or form.overtaken(partial(_edit, request, panel, caller, peer_id, form)):
        return _edit(request, panel, caller, peer_id, form)
    try:
        noticed = [] if form.ticked("agreed") else _noticed(panel, caller, peer_id, body, form)
        if noticed:
            return _edit(request, panel, caller, peer_id, form, noticed)
        with typed_tags(panel, caller, form) as typed:
            _save(panel, caller, peer_id, body, form, typed)
    except REFUSALS as error:
        return _edit(request, panel, caller, peer_id, form.refused(error))
    return gone_on(request, f"/peers/{peer_id}")


def _noticed(panel: Panel, caller: Caller, peer_id: str, body: ChangedPeer, form: SubmittedForm) -> list[str]:
    """Say what other tags would do at once. Those that are to be made have neither limits nor rules."""
    typed = there_already(panel, caller, form)
    if not typed and "tags" not in body.model_fields_set:
        return []
    with panel.store.read() as tx:
        wanted = merged(form, [tag.id for tag in tags.of_peer(tx, peer_id)], typed)
    return preview_peer(panel, caller, peer_id, made_of(ChangedPeer, tags=wanted)).effects


def _save(
    panel: Panel, caller: Caller, peer_id: str, body: ChangedPeer, form: SubmittedForm, typed: Sequence[str]
) -> None:
    """Change a peer; of its tags, only what the form changes of those that it has by now."""
    with panel.store.write() as tx:
        peer = peers.get(tx, peer_id)
        if typed or "tags" in body.model_fields_set:
            if body.owner and caller.may(SECRETS):  # users are locked before configs
                ownership.hold_all(tx, [owners.named(tx, caller, body.owner)])
            tags.hold_configs(tx, [peer.config_id])
            wanted = merged(form, [tag.id for tag in tags.of_peer(tx, peer_id)], typed)
            body = body.model_copy(update={"tags": wanted})
        api.change(tx, panel, caller, peer, body)


def _switch(request: Request, panel: Panel, peer_id: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        context = {**of_peer(tx, peers.shown(tx, peer_id)), "form": form}
        return page(request, "peers/switch.html", context, status=form.status)


def _edit(
    request: Request, panel: Panel, caller: Caller, peer_id: str, form: SubmittedForm, noticed: Sequence[str] = ()
) -> Response:
    details = api.show_details(panel, caller, peer_id)
    with panel.store.read() as tx:
        peer = peers.shown(tx, peer_id)
        about = of_peer(tx, peer)
        groups = [each.name for each in node_groups.page(tx, None, MOST_CONFIGS, caller.limit)]
        own = about["group"].name if about["group"] else None  # which may be outside of the caller's limit
        context = {
            **about,
            "form": form,
            "noticed": noticed,
            "owner": _owner(tx, peer),
            "users": users_for(tx, caller),
            "groups": groups if own is None or own in groups else [own, *groups],
            "tags": tags.page(tx, None, MOST_CONFIGS, caller.limit),
            "notes": details.notes,
            "given": {each.name: each.value for each in details.settings if each.origin == "peer"},
        }
        return page(request, "peers/edit.html", context, status=form.status)


def _owner(tx: Tx, peer: ShownPeer) -> str | None:
    return None if peer.owner_id is None else users.get(tx, peer.owner_id).name
