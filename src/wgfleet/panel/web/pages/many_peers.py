"""Many peers: all that a list shows are changed, after a look at whom that is, and many are made at once."""

from contextlib import suppress
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from wgfleet.panel import clock
from wgfleet.panel.api import peer_changes
from wgfleet.panel.api.auth import Writer
from wgfleet.panel.api.models import LINE, ReferenceFilter
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.peer_batches import PeerBatchCall
from wgfleet.panel.api.peer_changes import PeersFoundView, PeersToChangeNow, WantedPeers
from wgfleet.panel.api.peers import NewPeers
from wgfleet.panel.api.problems import field_words
from wgfleet.panel.domain.fields import one_spelling
from wgfleet.panel.domain.held_settings import SPEEDS
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.fleet import node_groups, nodes, peers, tags
from wgfleet.panel.services.fleet.peers import PeerSpec
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, given_speed, typed_name_is
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.quantities import bytes_of
from wgfleet.protocol.reasons import Reason

router = page_router()
MOST = 1000
MOST_LETTERS = 64  # of what tells a form from all others
FILTER = "filter_"
PEERS = FILTER + "peers"
ASKED = (
    "config",
    "action",
    "given_tag",
    "limit_gib",
    "limit_period",
    "limit_date",
    "group",
    "to",
    "nodes",
    *SPEEDS,
)
NAMED = {
    "add_tag": ("tag", "given_tag"),
    "remove_tag": ("tag", "given_tag"),
    "set_group": ("group", "group"),
    "move": ("to", "to"),
}
"""What an action names: the field of the API's body, and that of the page."""
_NOBODY = "0-" + "0" * 32  # what a look sends, which is compared with nothing
NOT_CHOSEN = marked("must be chosen")
NO_NUMBER = marked("must be a number, such as 50 or 0.5")
ONE_LIMIT = marked("is a second limit; set them one after the other")
Chosen = Annotated[str, Query(max_length=100, pattern=LINE)]
Ticked = Annotated[list[Chosen] | None, Query(max_length=MOST)]


@router.get("/peers/many/change")
def change_page(
    request: Request,
    panel: ThePanel,
    caller: Writer,
    *,
    config: Chosen = "",
    search: Chosen = "",
    tag: Chosen = "",
    node: Chosen = "",
    owner: Chosen = "",
    live: Chosen = "",
    enabled: Chosen = "",
    needs_new_file: Chosen = "",
    peer: Ticked = None,
) -> Response:
    """Ask what is to be done to all peers that a list shows, or to those ticked there; the filter is that of the list.

    A list sends a `peer` that is empty beside those ticked, so that none ticked is not taken for all.
    """
    if peer is not None:
        return _change_ticked(request, panel, caller, [each for each in peer if each])
    given = {"search": search.strip(), "tag": tag, "node": node, "owner": owner, "live": live, "enabled": enabled}
    given["needs_new_file"] = needs_new_file
    values = {FILTER + name: value for name, value in given.items() if value}
    return _change(request, panel, caller, SubmittedForm({"config": config, **values}), None)


def _change_ticked(request: Request, panel: Panel, caller: Caller, peer_ids: list[str]) -> Response:
    if not peer_ids:
        return gone_on(request, "/peers")
    with panel.store.read() as tx:
        shown = [each for each in peer_rows.by_ids(tx, peer_ids) if _sees(caller, each.config_id)]
        config = configs.get(tx, shown[0].config_id).name if shown else ""
    return _change(request, panel, caller, SubmittedForm({"config": config, PEERS: ",".join(peer_ids)}), None)


def _sees(caller: Caller, config_id: str) -> bool:
    return caller.limit is None or config_id in caller.limit.configs


@router.post("/peers/many/change")
def change_peers(request: Request, panel: ThePanel, caller: Writer, form: TheForm) -> Response:
    """Show whom it would be about; sent again with that number, do it."""
    body = _body(form)
    if body is None:
        return _change(request, panel, caller, form, None)
    found = None
    try:
        name = _config(panel, caller, form.get("config"))
        if not form.get("expect") or form.get("seen") != _asked(form):
            found = peer_changes.found(panel, caller, name, body)
            return _change(request, panel, caller, form, found)
        if body.action == "delete":
            typed_name_is(form, name)
        operation = peer_changes.begun(panel, caller, name, body)
        return gone_on(request, f"/operations/{operation.id}")
    except REFUSALS as error:
        form.refused(error)
        with suppress(*REFUSALS):
            found = peer_changes.found(panel, caller, form.get("config"), body)
        return _change(request, panel, caller, form, found)


def _asked(form: SubmittedForm) -> str:
    """Return all that was asked for: where it is another than was shown, it is shown first."""
    return " / ".join(form.get(name) for name in ASKED)


def _config(panel: Panel, caller: Caller, reference: str) -> str:
    with panel.store.read() as tx:
        limits.check(tx, caller.limit, "config", reference, "config")
        return configs.get(tx, reference, "config").name


def _body(form: SubmittedForm) -> PeersToChangeNow | None:
    wanted = form.read(WantedPeers, prefix=FILTER, many={"peers"})
    if wanted is None:
        name, detail = next(iter(form.wrong.items()))
        form.refused(
            Invalid(Reason("{field}: {detail}", field=name.removeprefix(FILTER), detail=detail))
        )  # the page has no field for it
        return None
    action = form.get("action")
    data: dict[str, Any] = {"filter": wanted, "action": action, "expect": _NOBODY}
    if form.get("expect"):
        data["expect"] = form.get("expect")
    try:
        data |= _asked_of(form, action)
    except FieldError as error:
        form.wrong[error.field] = error.said or error.detail
        return None
    try:
        return PeersToChangeNow.model_validate(data, strict=False)
    except ValidationError as error:
        for item in error.errors():
            field, detail = field_words({**item, "loc": ("body", *item["loc"])})
            form.wrong.setdefault(_place(form, field), detail)
        return None


def _place(form: SubmittedForm, field: str) -> str:
    """Return the field of the page that stands for one of the API's body."""
    if not field.startswith("job"):
        return "given_tag" if field == "tag" else field.partition("[")[0]
    if field == "job.period":
        return "limit_period"
    return "limit_date" if form.get("limit_date") else "limit_gib"


def _asked_of(form: SubmittedForm, action: str) -> dict[str, Any]:
    """Return what an action takes, as the API's body has it. Raise `FieldError` for a field of the page."""
    if action in NAMED:
        of_body, of_page = NAMED[action]
        chosen = form.get(of_page) or None
        if chosen is None and action != "set_group":  # no group is a choice as well
            raise FieldError(of_page, NOT_CHOSEN)
        return {of_body: chosen}
    if action == "set_job":
        return _job(form)
    if action == "set_nodes":
        return {"nodes": form.words("nodes") or None}
    return _speeds(form) if action == "set_speeds" else {}


def _speeds(form: SubmittedForm) -> dict[str, Any]:
    """Return the speeds that the form asks for: one that is empty stays. Raise `FieldError`."""
    return {name: speed for name in SPEEDS if (speed := given_speed(form, name)) is not None}


def _job(form: SubmittedForm) -> dict[str, Any]:
    """Return the limit that the form asks for. Raise `FieldError`."""
    date = form.get("limit_date")
    if date and form.get("limit_gib"):
        raise FieldError("limit_date", ONE_LIMIT)
    if date:
        return {"job": {"field": "date", "value": f"{date}T00:00:00Z"}}
    try:
        value = bytes_of(f"{form.get('limit_gib').replace(',', '.')}GiB")
    except ValueError:
        raise FieldError("limit_gib", NO_NUMBER) from None
    return {"job": {"field": "total_data", "value": value, "period": form.get("limit_period") or None}}


def _change(
    request: Request, panel: Panel, caller: Caller, form: SubmittedForm, found: PeersFoundView | None
) -> Response:
    kept = {name: value for name, value in form.values.items() if name.startswith(FILTER) and value}
    with panel.store.read() as tx:
        seen = configs.page(tx, None, MOST, caller.limit)
        context = {
            "form": form,
            "found": found,
            "kept": kept,
            "asked": _asked(form),
            "filter": {name.removeprefix(FILTER): value for name, value in kept.items() if name != PEERS},
            "ticked": len(form.get(PEERS).split(",")) if form.get(PEERS) else 0,
            "configs": seen,
            "independent": any(each.mode == configs.INDEPENDENT for each in seen),
            "tags": tags.page(tx, None, MOST, caller.limit),
            "groups": node_groups.page(tx, None, MOST, caller.limit),
            "nodes": nodes.page(tx, None, MOST, caller.limit),
        }
        return page(request, "peers/change.html", context, status=form.status)


@router.get("/peers/many/new")
def new_peers_page(request: Request, panel: ThePanel, caller: Writer, config: ReferenceFilter = None) -> Response:
    return _new(request, panel, caller, SubmittedForm({"config": config} if config else {}))


@router.post("/peers/many/new")
def create_peers(request: Request, panel: ThePanel, caller: Writer, form: TheForm) -> Response:
    """Make as many as were asked for, all or none, and show them."""
    body = form.read(NewPeers, without={"peers"})
    if body is None:
        return _new(request, panel, caller, form)
    if body.count is None:
        form.wrong["count"] = NO_NUMBER
        return _new(request, panel, caller, form)
    prefix = one_spelling(body.name_prefix)
    try:
        name = _config(panel, caller, form.get("config"))
        with panel.sent_forms.once(form.get("sent")[:MOST_LETTERS]) as sent:
            if sent.led_to is None:
                drafts = peers.draft(panel.vault, [PeerSpec(prefix)] * body.count)
                PeerBatchCall(panel, caller, name, prefix, body.first_number).make(drafts)
                sent.led_to = with_query("/peers", {"config": name, "search": prefix})
        return gone_on(request, sent.led_to)
    except REFUSALS as error:
        return _new(request, panel, caller, form.refused(error))


def _new(request: Request, panel: Panel, caller: Caller, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        context = {"form": form, "configs": configs.page(tx, None, MOST, caller.limit), "sent": clock.new_id()}
        return page(request, "peers/new_many.html", context, status=form.status)
