"""Rule sets of a peer, a config or a tag: which one counts, and the form that gives another one after a look."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.configs import ChangedConfig, update_config
from wgfleet.panel.api.models import Identifier, Reference
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.peers import ChangedPeer, update_peer
from wgfleet.panel.api.previews import EffectsView, preview_config, preview_peer, preview_tag
from wgfleet.panel.api.tags import ChangedTag, TagReference, update_tag
from wgfleet.panel.services import configs, held_settings, rule_sets
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.fleet import peers, tags
from wgfleet.panel.store import Tx
from wgfleet.panel.web.forms import REFUSALS, Model, SubmittedForm, TheForm, made_of
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.protocol.destinations import MAX_SETS

router = page_router()
INHERIT, NONE = "inherit", "none"


class _Ruled(NamedTuple):
    """A peer, a config or a tag: its name and page, the list that it is in, and the set that it has.

    `counts`, `origin`: the id of the set that counts for a peer, and what has it. `inherits`: whether one further away
    may count in place of none.
    """

    name: str
    kind: str
    list: str
    path: str
    own: str | None
    counts: str | None = None
    origin: str | None = None
    inherits: bool = True


@router.get("/peers/{peer_id}/rules")
def show_peer_rules(request: Request, panel: ThePanel, caller: Reader, peer_id: Identifier) -> Response:
    """Show which set counts for a peer, and whose it is."""
    return _show(request, panel, caller, lambda tx: _peer(tx, peer_id), SubmittedForm(edits=True))


@router.post("/peers/{peer_id}/rules")
def give_peer_rules(request: Request, panel: ThePanel, caller: Writer, peer_id: Identifier, form: TheForm) -> Response:
    """Give a peer a set of its own. A form that has not agreed comes back with what it reaches no more."""
    return _give(
        request, panel, caller, form, lambda tx: _peer(tx, peer_id), ChangedPeer,
        lambda body: preview_peer(panel, caller, peer_id, body),
        lambda body: update_peer(panel, caller, peer_id, body),
    )  # fmt: skip


@router.get("/configs/{config}/rules")
def show_config_rules(request: Request, panel: ThePanel, caller: Reader, config: Reference) -> Response:
    """Show the set of a config, which counts for each of its peers without a nearer one."""
    return _show(request, panel, caller, lambda tx: _config(tx, config), SubmittedForm(edits=True))


@router.post("/configs/{config}/rules")
def give_config_rules(request: Request, panel: ThePanel, caller: Writer, config: Reference, form: TheForm) -> Response:
    """Give a config a set; as for a peer."""
    return _give(
        request, panel, caller, form, lambda tx: _config(tx, config), ChangedConfig,
        lambda body: preview_config(panel, caller, config, body),
        lambda body: update_config(panel, caller, config, body),
    )  # fmt: skip


@router.get("/tags/{tag}/rules")
def show_tag_rules(request: Request, panel: ThePanel, caller: Reader, tag: TagReference) -> Response:
    """Show the set of a tag, which counts for each of its peers without one of its own."""
    return _show(request, panel, caller, lambda tx: _tag(tx, tag), SubmittedForm(edits=True))


@router.post("/tags/{tag}/rules")
def give_tag_rules(request: Request, panel: ThePanel, caller: Writer, tag: TagReference, form: TheForm) -> Response:
    """Give a tag a set; as for a peer."""
    return _give(
        request, panel, caller, form, lambda tx: _tag(tx, tag), ChangedTag,
        lambda body: preview_tag(panel, caller, tag, body),
        lambda body: update_tag(panel, caller, tag, body),
    )  # fmt: skip


def _peer(tx: Tx, peer_id: str) -> _Ruled:
    peer = peers.get(tx, peer_id)
    held = held_settings.origins(tx, peer)["rule_set"]
    return _Ruled(
        peer.name, marked("Peers"), "/peers", f"/peers/{peer.id}", peer.rule_set, held.value or "", held.origin
    )


def _config(tx: Tx, config: str) -> _Ruled:
    row = configs.get(tx, config)
    return _Ruled(row.name, marked("Configs"), "/configs", f"/configs/{row.name}", row.rule_set, inherits=False)


def _tag(tx: Tx, tag: str) -> _Ruled:
    row = tags.get(tx, tag)
    return _Ruled(row.name, marked("Tags"), "/tags", f"/tags/{row.id}", row.rule_set)


def _wanted(form: SubmittedForm) -> str | None:
    chosen = form.get("rule_set", INHERIT)
    return None if chosen == INHERIT else "" if chosen == NONE else chosen


def _give(
    request: Request,
    panel: Panel,
    caller: Caller,
    form: SubmittedForm,
    find: Callable[[Tx], _Ruled],
    model: type[Model],
    look: Callable[[Model], EffectsView],
    give: Callable[[Model], Any],
) -> Response:
    if form.overtaken(partial(_show, request, panel, caller, find, form)):
        return _show(request, panel, caller, find, form)
    try:
        body = made_of(model, **({} if form.unchanged("rule_set") else {"rule_set": _wanted(form)}))
        noticed = [] if form.ticked("agreed") else look(body).effects
        if noticed:
            return _show(request, panel, caller, find, form, noticed)
        give(body)
    except REFUSALS as error:
        return _show(request, panel, caller, find, form.refused(error))
    with panel.store.read() as tx:
        return gone_on(request, f"{find(tx).path}/rules")


def _show(
    request: Request,
    panel: Panel,
    caller: Caller,
    find: Callable[[Tx], _Ruled],
    form: SubmittedForm,
    noticed: Sequence[str] = (),
) -> Response:
    with panel.store.read() as tx:
        ruled = find(tx)
        seen = {row.id: row.name for row in rule_sets.page(tx, limit=MAX_SETS, within=caller.limit)}
        names = seen | rule_sets.names(tx, [ruled.own, ruled.counts])
    context = {"ruled": ruled, "names": names, "sets": list(names.items()), "form": form, "noticed": noticed}
    return page(request, "given_rules/given_rules.html", context, status=form.status)
