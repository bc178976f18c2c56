"""Configs: the list, one config with who serves it and under which name, and making, changing and deleting one."""

from collections.abc import Container
from functools import partial
from typing import Any

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api import capacity, forecasts
from wgfleet.panel.api import dns as dns_views
from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.configs import ChangedConfig, NewConfig, change, views
from wgfleet.panel.api.models import After, Reference, ReferenceFilter
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.previews import preview_config
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.domain.placement.place import Strategy
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import configs, freezes, health, operations
from wgfleet.panel.services.access.callers import READ
from wgfleet.panel.services.clients import files
from wgfleet.panel.services.configs import ConfigSpec
from wgfleet.panel.services.dns import commands
from wgfleet.panel.services.fleet import assignments, effects, endpoint_groups, owed
from wgfleet.panel.services.fleet.assignments import NodeAssignment
from wgfleet.panel.services.fleet.endpoint_groups import EndpointGroupSpec
from wgfleet.panel.services.floating import views as floating
from wgfleet.panel.services.moves import relay_control
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, typed_name_is
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.long_lists import Every, worst_first
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()
SECTIONS = (Section(marked("Configs"), "/configs", 25, READ, forms=("/new/config",)),)
PAGE = 50
CHANGES = 8
MOST_DEATHS = 10
"""Nodes on a page of room: to know where the peers of one would go, all of them are placed."""
LISTS = {
    "pools",
    "server_addresses",
    "dns",
    "client_allowed_ips",
    "excluded_networks",
    "node_ports",
    "denied_networks",
    "reachable_configs",
}
BOXES = {"masquerade", "client_to_client", "backbone", "backbone_within_groups"}
EMPTIED = LISTS - {"pools"} | {"mtu", "backbone_port", "file_names"}
PLACEMENTS = {
    Strategy.LEAST_PEERS: marked("the node with the fewest peers for its weight"),
    Strategy.LEAST_LOAD: marked("the least busy node"),
    Strategy.NEAREST_GROUP: marked("groups of the same region first"),
}


@router.get("/configs")
def list_configs(request: Request, panel: ThePanel, caller: Reader, after: After = None) -> Response:
    with panel.store.read() as tx:
        rows = configs.page(tx, after, PAGE + 1, caller.limit)
        shown = rows[:PAGE]
        context = {
            "configs": views(tx, shown),
            "domains": endpoint_groups.domains(tx, [each.id for each in shown]),
            "standings": assignments.standings(tx, [each.id for each in shown]),
            "paused": {each.id for each in shown if each.paused_since is not None},
            "here": with_query("/configs", {"after": after}),
            "first": "/configs" if after else None,
            "following": with_query("/configs", {"after": shown[-1].id}) if len(rows) > PAGE else None,
        }
        return page(request, "configs/list.html", context, blocks={"results"})


@router.get("/new/config")
def new_config_page(request: Request, _caller: Writer) -> Response:
    return _new(request, SubmittedForm())


@router.post("/new/config")
@all_at_once
def create_config(request: Request, panel: ThePanel, caller: Writer, form: TheForm) -> Response:
    """Make a config, with its public name where one is given, and go on to it: nobody serves it yet."""
    domain = form.get("domain").strip()
    body = form.read(NewConfig, many=LISTS, boxes=BOXES)
    if body is None:
        return _new(request, form)
    try:
        hosts = panel.hosts()
        with panel.write_with_names(caller, domain or None) as tx:
            spec = ConfigSpec(**body.model_dump())
            config = configs.create(tx, panel.vault, caller.actor, spec, panel_hosts=hosts)
            if domain:
                group = EndpointGroupSpec(domain)
                endpoint_groups.put(tx, panel.vault, caller.actor, config, group, panel.publisher.plugins)
    except REFUSALS as error:
        return _new(request, form.refused(error))
    return gone_on(request, f"/configs/{body.name}")


@router.get("/configs/{config}")
def show_config(request: Request, panel: ThePanel, _caller: Reader, config: Reference, every: Every = "") -> Response:
    """Show a config as it stands: who serves it, its name, what is under way, and what was."""
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        listed, missing = assignments.listing(tx, row.id), owed.of_config(tx, row.id)
        late, frozen = {each.assignment_id for each in missing if each.late}, freezes.current(tx)
        context = {
            **_of_config(tx, row),
            "frozen": None if frozen is None else frozen.reason,
            "served": worst_first(listed, lambda each: _needs_a_look(each, late), every),
            "served_count": len(listed),
            "here": with_query(f"/configs/{row.name}", {"every": every}),
            "serving": sum(each.assignment.health.in_use and each.assignment.phase == "serving" for each in listed),
            "relays": relay_control.tallies(tx, row),
            "owed": {each.assignment_id: each for each in missing if each.assignment_id},
            "no_failover": forecasts.of_config(tx, panel, row),
            "group": endpoint_groups.find(tx, row),
            "floating": floating.views(tx, row.id),
            "operations": operations.active_of(tx, row.id),
            "changes": health.history(tx, row.id, limit=CHANGES),
            "node_names": {each.node.id: each.node.name for each in listed},
            "placements": PLACEMENTS,
            "no_files": files.refusal(tx, row),
            **_names(tx, row),
        }
        return page(request, "configs/config.html", context, blocks={"now"})


@router.get("/configs/{config}/capacity")
def show_room(
    request: Request, panel: ThePanel, _caller: Reader, config: Reference, after: ReferenceFilter = None
) -> Response:
    """Show which nodes have room, and where the peers of each would go if it died: a few nodes at a time."""
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        found = capacity.view(tx, panel, row, after, MOST_DEATHS + 1)
        shown, path = found.nodes[:MOST_DEATHS], f"/configs/{row.name}/capacity"
        context = {
            **_of_config(tx, row),
            "nodes": shown,
            "first": path if after else None,
            "following": with_query(path, {"after": shown[-1].node_id}) if len(found.nodes) > MOST_DEATHS else None,
        }
        return page(request, "configs/capacity.html", context, blocks={"capacity"})


@router.get("/configs/{config}/edit")
def edit_page(request: Request, panel: ThePanel, _caller: Writer, config: Reference) -> Response:
    return _edit(request, panel, config, SubmittedForm(edits=True))


@router.post("/configs/{config}/edit")
@all_at_once
def update_config(request: Request, panel: ThePanel, caller: Writer, config: Reference, form: TheForm) -> Response:
    """Change a config. Where users would notice, the form comes back with how, and is to be sent once more."""
    body = form.read(ChangedConfig, many=LISTS, boxes=BOXES | {"enabled"}, keep_empty=EMPTIED)
    if body is None or form.overtaken(partial(_edit, request, panel, config, form)):
        return _edit(request, panel, config, form)
    try:
        noticed = [] if form.ticked("agreed") else preview_config(panel, caller, config, body).effects
        if noticed:
            return _edit(request, panel, config, form, noticed)
        with panel.store.write() as tx:
            change(tx, caller, configs.get(tx, config), body, panel.hosts())
    except REFUSALS as error:
        return _edit(request, panel, config, form.refused(error))
    return gone_on(request, f"/configs/{config}")


@router.get("/configs/{config}/delete")
def delete_page(request: Request, panel: ThePanel, _caller: Writer, config: Reference) -> Response:
    return _delete(request, panel, config, SubmittedForm())


@router.post("/configs/{config}/delete")
def delete_config(request: Request, panel: ThePanel, caller: Writer, config: Reference, form: TheForm) -> Response:
    try:
        with panel.store.write() as tx:
            row = configs.get(tx, config)
            typed_name_is(form, row.name)
            configs.delete(tx, caller.actor, row)
    except REFUSALS as error:
        return _delete(request, panel, config, form.refused(error))
    return gone_on(request, "/configs")


def _needs_a_look(each: NodeAssignment, late: Container[str | None]) -> bool:
    row = each.assignment
    return row.phase != Phase.SERVING or row.health != Health.SERVING or bool(row.drift) or row.id in late


def _of_config(tx: Tx, row: Config) -> dict[str, Any]:
    return {"config": views(tx, [row])[0], "paused_since": row.paused_since, "paused_by": row.paused_by}


def _names(tx: Tx, row: Config) -> dict[str, Any]:
    """Return the name that is published for a config, or those of its nodes, and those that are being withdrawn."""
    syncs = dns_views.views(tx, commands.published_of(tx, row.id))
    present = [each for each in syncs if not each.withdrawn]
    of_all = row.mode == configs.CLUSTER
    return {
        "sync": present[0] if of_all and present else None,
        "of_nodes": [] if of_all else present,
        "withdrawals": [each for each in syncs if each.withdrawn],
    }


def _new(request: Request, form: SubmittedForm) -> Response:
    return page(request, "configs/new.html", {"form": form, "placements": PLACEMENTS}, status=form.status)


def _edit(
    request: Request, panel: Panel, config: str, form: SubmittedForm, noticed: list[str] | None = None
) -> Response:
    with panel.store.read() as tx:
        context = {
            **_of_config(tx, configs.get(tx, config)),
            "form": form,
            "noticed": noticed or [],
            "placements": PLACEMENTS,
        }
        return page(request, "configs/edit.html", context, status=form.status)


def _delete(request: Request, panel: Panel, config: str, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        refused: Conflict | None = None
        try:
            configs.check_deletion(tx, row)
        except Conflict as error:
            refused = error
        lost = effects.of_config_deletion(tx, row)
        context = {**_of_config(tx, row), "form": form, "refused": refused, "lost": lost}
        return page(request, "configs/delete.html", context, status=form.status)
