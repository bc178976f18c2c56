"""Speeds that nodes hold peers to, as the pages of limits give them: to a peer, or to each of a tag or config."""

from functools import partial
from typing import Any

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api.auth import Writer
from wgfleet.panel.api.configs import ChangedConfig, update_config
from wgfleet.panel.api.models import Identifier, Reference
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.peers import ChangedPeer, update_peer
from wgfleet.panel.api.previews import preview_config
from wgfleet.panel.api.tags import ChangedTag, TagReference, update_tag
from wgfleet.panel.domain.held_settings import SPEEDS
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, given_speed, made_of
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.pages import jobs
from wgfleet.panel.web.rendering import gone_on
from wgfleet.protocol.quantities import check_speed

router = page_router()


@router.post("/peers/{peer_id}/limits/speeds")
@all_at_once
def set_peer_speeds(request: Request, panel: ThePanel, caller: Writer, peer_id: Identifier, form: TheForm) -> Response:
    """Hold a peer to speeds of its own; a field that is left empty leaves its speed to tags and config."""
    if form.overtaken(partial(jobs.peer_page, request, panel, peer_id, form)):
        return jobs.peer_page(request, panel, peer_id, form)
    try:
        update_peer(panel, caller, peer_id, made_of(ChangedPeer, **_wanted(form)))
    except REFUSALS as error:
        return jobs.peer_page(request, panel, peer_id, form.refused(error))
    return gone_on(request, f"/peers/{peer_id}/limits")


@router.post("/configs/{config}/limits/speeds")
@all_at_once
def set_config_speeds(request: Request, panel: ThePanel, caller: Writer, config: Reference, form: TheForm) -> Response:
    """Hold each peer of a config to speeds. A form that has not agreed comes back with whom that would hit."""
    if form.overtaken(partial(jobs.config_page, request, panel, caller, config, form)):
        return jobs.config_page(request, panel, caller, config, form)
    try:
        body = made_of(ChangedConfig, **_wanted(form))
        noticed = [] if form.ticked("agreed_speeds") else preview_config(panel, caller, config, body).effects
        if noticed:
            return jobs.config_page(request, panel, caller, config, form, slowed=noticed)
        update_config(panel, caller, config, body)
    except REFUSALS as error:
        return jobs.config_page(request, panel, caller, config, form.refused(error))
    return gone_on(request, f"/configs/{config}/limits")


@router.post("/tags/{tag}/limits/speeds")
@all_at_once
def set_tag_speeds(request: Request, panel: ThePanel, caller: Writer, tag: TagReference, form: TheForm) -> Response:
    """Hold each peer of a tag to speeds."""
    if form.overtaken(partial(jobs.tag_page, request, panel, caller, tag, form)):
        return jobs.tag_page(request, panel, caller, tag, form)
    try:
        update_tag(panel, caller, tag, made_of(ChangedTag, **_wanted(form)))
    except REFUSALS as error:
        return jobs.tag_page(request, panel, caller, tag, form.refused(error))
    return gone_on(request, f"/tags/{tag}/limits")


def _wanted(form: SubmittedForm) -> dict[str, Any]:
    """Return the speeds that a form changes; raise `FieldError` for one that is none, or that nobody is held to."""
    found: dict[str, Any] = {}
    for name in (each for each in SPEEDS if not form.unchanged(each)):
        found[name] = given_speed(form, name)
        check_speed(found[name] or 0, name)
    return found
