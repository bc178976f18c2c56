"""Events: one timeline of failovers, drains and changes, read off the audit log."""

from typing import Annotated, Literal

from fastapi import Query, Request
from starlette.responses import Response

from wgfleet.panel.api.audit import AfterEntry
from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.services import audit, configs
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import READ, Caller
from wgfleet.panel.services.audit import AuditSubjects
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.floating import addresses
from wgfleet.panel.store import Tx
from wgfleet.panel.web import event_words, things
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.event_words import KINDS, EventKind
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import page

router = page_router()
SECTIONS = (Section(marked("Events"), "/events", 45, READ),)
PAGE = 50
MOST = 1000
Kind = Annotated[Literal["", "failovers", "moves", "names", "changes"], Query()]
Chosen = Annotated[str, Query(max_length=64, pattern=r"^[!-~]*$")]  # a form sends also what is left empty


@router.get("/events")
def list_events(
    request: Request,
    panel: ThePanel,
    caller: Reader,
    *,
    kind: Kind = "",
    config: Chosen = "",
    node: Chosen = "",
    after: AfterEntry = None,
) -> Response:
    """Show events, newest first. Who is limited to some configs and nodes sees theirs."""
    chosen = {"kind": kind, "config": config, "node": node}
    given = {name: value for name, value in chosen.items() if value}
    with panel.store.read() as tx:
        kinds = event_words.kinds(EventKind(kind) if kind else None)
        rows = audit.events(tx, kinds, _subjects(tx, caller, config, node), PAGE + 1, after)
        shown = rows[:PAGE]
        context = {
            "events": shown,
            "names": things.by_ids(tx, *audit.config_and_node_ids(shown)),
            "chosen": chosen,
            "chips": [(name, value, with_query("/events", {**given, name: ""})) for name, value in given.items()],
            "kinds": KINDS,
            "configs": configs.page(tx, None, MOST, caller.limit),
            "nodes": nodes.page(tx, None, MOST, caller.limit),
            "here": with_query("/events", {**given, "after": after}),
            "first": with_query("/events", given) if after else None,
            "following": with_query("/events", {**given, "after": shown[-1].id}) if len(rows) > PAGE else None,
        }
        return page(request, "events/list.html", context, blocks={"results"})


def _subjects(tx: Tx, caller: Caller, config: str, node: str) -> AuditSubjects | None:
    """Return what the events are to be about; None: anything."""
    if config:
        limits.check(tx, caller.limit, "config", config)
    if node:
        limits.check(tx, caller.limit, "node", node)
    limit = caller.limit
    if node:
        of = [configs.id_of(tx, config)] if config else _seen_configs(tx, caller)
        return audit.subjects_of_node(nodes.get(tx, node).id, of, alone=bool(config))
    if config:
        config_id = configs.id_of(tx, config)
        return audit.subjects_of([config_id], [], addresses.listed(tx, config_id))
    if limit is None:
        return None
    held = [address for each in sorted(limit.configs) for address in addresses.listed(tx, each)]
    return audit.subjects_of(limit.configs, [each.id for each in nodes.page(tx, None, MOST, limit)], held)


def _seen_configs(tx: Tx, caller: Caller) -> list[str]:
    return [each.id for each in configs.page(tx, None, MOST, caller.limit)]
