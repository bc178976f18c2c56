"""The first page: what is wrong now, the nodes, and which config each of them serves."""

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.api.auth import Anyone
from wgfleet.panel.api.nodes import views
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.services import configs
from wgfleet.panel.services.access.callers import READ, Caller
from wgfleet.panel.services.fleet import assignments, counts, nodes
from wgfleet.panel.web import troubles
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.long_lists import Every, worst_first
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on, page

router = page_router()
SECTIONS = (Section(marked("Fleet"), "/", 10, READ),)
MOST_NODES = 1000  # all that a panel is made for
MOST_CONFIGS = 12  # columns that fit beside each other; the others are on their own pages
SHOWN_TROUBLES = 25


@router.get("/")
def show_first(request: Request, panel: ThePanel, caller: Anyone, every: Every = "") -> Response:
    """Show everything at a glance: all that the caller sees. Who may see none of it has another first page."""
    if not caller.may(READ):
        return gone_on(request, "/devices")
    return _fleet(request, panel, caller, every)


def _fleet(request: Request, panel: Panel, caller: Caller, every: Every) -> Response:
    with panel.store.read() as tx:
        found = list(nodes.page(tx, None, MOST_NODES, caller.limit))
        seen = configs.page(tx, None, troubles.MOST_CONFIGS, caller.limit)
        listed = assignments.on_nodes(tx, [config.id for config in seen], found)
        columns = seen[:MOST_CONFIGS]
        unwell = {node.id for of in listed.values() for row, node in of if row.health != Health.SERVING}
        shown = worst_first(found, lambda node: not node.connected or node.id in unwell, every)
        context = {
            "totals": counts.read(tx) if caller.limit is None else None,
            "troubles": troubles.now(tx, panel, found, listed, caller.limit),
            "most_troubles": SHOWN_TROUBLES,
            "nodes": views(tx, shown),
            "node_count": len(found),
            "here": with_query("/", {"every": every}),
            "configs": columns,
            "served": {(node.id, config.id): row for config in columns for row, node in listed[config.id]},
        }
        return page(request, "fleet/fleet.html", context, blocks={"now"})
