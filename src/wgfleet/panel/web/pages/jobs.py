"""Limits, as jobs: what counts for a peer and how far it is, and those of a config or tag; given, and taken away."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api import jobs as api
from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.jobs import JobView, NewJob, limits_view
from wgfleet.panel.api.models import Identifier, Reference
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.previews import EffectsView
from wgfleet.panel.api.tags import TagReference
from wgfleet.panel.domain.held_settings import HeldSettings
from wgfleet.panel.domain.jobs.job import TOTALS, JobField
from wgfleet.panel.services import configs, held_settings, usage
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.fleet import peers, tags
from wgfleet.panel.services.jobs import limits_of_peers
from wgfleet.panel.store import Tx
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.detail_values import DETAIL_VALUES
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.protocol.quantities import bytes_of, is_time, seconds_of

router = page_router()
FIELDS = tuple((JobField(name), words) for name, words in DETAIL_VALUES["field"].items())
ACTIONS = tuple(DETAIL_VALUES["action"].items())
PERIODS = (
    ("", marked("in all")),
    ("day", marked("each day")),
    ("week", marked("each week")),
    ("month", marked("each month")),
)
_CHOICES: dict[str, Any] = {"fields": FIELDS, "actions": ACTIONS, "periods": PERIODS, "totals": TOTALS, "slowed": ()}


@router.get("/peers/{peer_id}/limits")
def show_peer_limits(request: Request, panel: ThePanel, _caller: Reader, peer_id: Identifier) -> Response:
    """Show what counts for a peer, from itself, its tags and its config, and how far it is."""
    return peer_page(request, panel, peer_id, SubmittedForm(edits=True))


@router.post("/peers/{peer_id}/limits")
@all_at_once
def give_peer_limit(request: Request, panel: ThePanel, caller: Writer, peer_id: Identifier, form: TheForm) -> Response:
    """Give a peer a limit. Where somebody is cut off by it at once, the form comes back with whom."""
    noticed = _give(
        form,
        partial(api.preview_peer_job, panel, caller, peer_id),
        partial(api.create_peer_job, panel, caller, peer_id),
    )
    if noticed is not None:
        return peer_page(request, panel, peer_id, form, noticed)
    return gone_on(request, f"/peers/{peer_id}/limits")


@router.post("/peers/{peer_id}/limits/{job_id}/delete")
def take_peer_limit(
    request: Request, panel: ThePanel, caller: Writer, peer_id: Identifier, job_id: Identifier, _form: TheForm
) -> Response:
    api.delete_peer_job(panel, caller, peer_id, job_id)
    return gone_on(request, f"/peers/{peer_id}/limits")


@router.post("/peers/{peer_id}/limits/reset")
def resetpeer_page(request: Request, panel: ThePanel, caller: Writer, peer_id: Identifier, _form: TheForm) -> Response:
    """Have a peer's limits count from now on."""
    api.reset_usage(panel, caller, peer_id)
    return gone_on(request, f"/peers/{peer_id}/limits")


@router.get("/configs/{config}/limits")
def show_config_limits(request: Request, panel: ThePanel, caller: Reader, config: Reference) -> Response:
    """Show the limits of a config, which count for each of its peers that has none of its own."""
    return config_page(request, panel, caller, config, SubmittedForm(edits=True))


@router.post("/configs/{config}/limits")
@all_at_once
def give_config_limit(request: Request, panel: ThePanel, caller: Writer, config: Reference, form: TheForm) -> Response:
    """Give each peer of a config a limit; as for one."""
    noticed = _give(
        form,
        partial(api.preview_config_job, panel, caller, config),
        partial(api.create_config_job, panel, caller, config),
    )
    if noticed is not None:
        return config_page(request, panel, caller, config, form, noticed)
    return gone_on(request, f"/configs/{config}/limits")


@router.post("/configs/{config}/limits/{job_id}/delete")
def take_config_limit(
    request: Request, panel: ThePanel, caller: Writer, config: Reference, job_id: Identifier, _form: TheForm
) -> Response:
    api.delete_config_job(panel, caller, config, job_id)
    return gone_on(request, f"/configs/{config}/limits")


@router.get("/tags/{tag}/limits")
def show_tag_limits(request: Request, panel: ThePanel, caller: Reader, tag: TagReference) -> Response:
    """Show the limits of a tag, which count for each of its peers that has none of its own."""
    return tag_page(request, panel, caller, tag, SubmittedForm(edits=True))


@router.post("/tags/{tag}/limits")
@all_at_once
def give_tag_limit(request: Request, panel: ThePanel, caller: Writer, tag: TagReference, form: TheForm) -> Response:
    """Give each peer of a tag a limit; as for one."""
    noticed = _give(
        form, partial(api.preview_tag_job, panel, caller, tag), partial(api.create_tag_job, panel, caller, tag)
    )
    if noticed is not None:
        return tag_page(request, panel, caller, tag, form, noticed)
    return gone_on(request, f"/tags/{tag}/limits")


@router.post("/tags/{tag}/limits/{job_id}/delete")
def take_tag_limit(
    request: Request, panel: ThePanel, caller: Writer, tag: TagReference, job_id: Identifier, _form: TheForm
) -> Response:
    api.delete_tag_job(panel, caller, tag, job_id)
    return gone_on(request, f"/tags/{tag}/limits")


def _give(
    form: SubmittedForm, look: Callable[[NewJob], EffectsView], give: Callable[[NewJob], JobView]
) -> list[str] | None:
    """Give the limit that a form asks for; None: it is given.

    Else return whom it would cut off at once, nobody where the form says what is wrong. A form that has agreed is not
    asked again.
    """
    body = _body(form)
    if body is None:
        return []
    try:
        noticed = [] if form.ticked("agreed") else look(body).effects
        if noticed:
            return noticed
        give(body)
    except REFUSALS as error:
        form.refused(error)
        return []
    return None


def _body(form: SubmittedForm) -> NewJob | None:
    """Return the job that a form asks for; None: the form says what is wrong."""
    windows = [line.strip() for line in form.get("windows").splitlines() if line.strip()]
    more: dict[str, Any] = {"windows": windows}
    try:
        more["value"] = _value(form.get("field"), form.get("value").strip())
    except ValueError as error:
        form.wrong["value"] = error.args[0]
    without, boxes = {"windows", "value", "notice_s", "operator"}, {"from_first_use"}
    body = form.read(NewJob, without=without, boxes=boxes, more=more, whole=True)
    return None if form.wrong else body


def _value(field: str, text: str) -> Any:
    if not text:
        return None
    if field in TOTALS:
        return bytes_of(text)
    if is_time(text):
        return seconds_of(text)
    if field == JobField.DATE:
        return f"{text}T00:00:00Z" if "T" not in text else text
    return text


def told_to_user(tx: Tx, peer_id: str) -> dict[str, Any]:
    """Return what the user of a device gets to know of its usage and limits (`jobs/own.html`)."""
    limits = limits_view(limits_of_peers.of_peer(tx, peers.get(tx, peer_id)))
    return {**_CHOICES, "limits": limits, "used": usage.totals(tx, [peer_id]).get(peer_id)}


def peer_page(
    request: Request, panel: Panel, peer_id: str, form: SubmittedForm, noticed: Sequence[str] = ()
) -> Response:
    """Show the limits of a peer, and a form as it was sent."""
    with panel.store.read() as tx:
        shown = peers.shown(tx, peer_id)
        config = configs.get(tx, shown.config_id).name
        peer = peers.get(tx, peer_id)
        found = limits_view(limits_of_peers.of_peer(tx, peer))
        own, held = held_settings.of_row(peer), held_settings.origins(tx, peer)
    context = {**_CHOICES, "peer": shown, "config": config, "limits": found, "form": form, "noticed": noticed}
    context |= {"own": own, "held": held}
    return page(request, "jobs/peer.html", context, status=form.status)


def config_page(
    request: Request,
    panel: Panel,
    caller: Caller,
    config: str,
    form: SubmittedForm,
    noticed: Sequence[str] = (),
    slowed: Sequence[str] = (),
) -> Response:
    """Show the limits of a config, and a form as it was sent. `slowed`: what its speeds would mean."""
    found = api.list_config_jobs(panel, caller, config).items
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        owner = _Owner(row.name, marked("Configs"), "/configs", f"/configs/{row.name}", held_settings.of_row(row))
    return _shared(request, owner, found, form, noticed, slowed)


def tag_page(
    request: Request, panel: Panel, caller: Caller, tag: str, form: SubmittedForm, noticed: Sequence[str] = ()
) -> Response:
    """Show the limits of a tag, and a form as it was sent."""
    found = api.list_tag_jobs(panel, caller, tag).items
    with panel.store.read() as tx:
        row = tags.get(tx, tag)
        owner = _Owner(row.name, marked("Tags"), "/tags", f"/tags/{row.id}", held_settings.of_row(row))
    return _shared(request, owner, found, form, noticed)


class _Owner(NamedTuple):
    """Whose limits count for several peers: its name and page, the list that it is in, and the speeds it sets."""

    name: str
    kind: str
    list: str
    path: str
    own: HeldSettings


def _shared(
    request: Request,
    owner: _Owner,
    jobs: Sequence[JobView],
    form: SubmittedForm,
    noticed: Sequence[str],
    slowed: Sequence[str] = (),
) -> Response:
    context = {**_CHOICES, "owner": owner, "jobs": jobs, "form": form, "noticed": noticed, "slowed": slowed}
    return page(request, "jobs/shared.html", context, status=form.status)
