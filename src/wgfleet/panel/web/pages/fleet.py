"""The first page: what is wrong now, the nodes, and which config each of them serves."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.services.access.callers import READ
from wgfleet.panel.services.fleet import counts
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.rendering import page

router = APIRouter(include_in_schema=False)
SECTIONS = (Section(marked("Fleet"), "/", 10, READ),)


@router.get("/")
def show_fleet(request: Request, panel: ThePanel, _caller: Reader) -> Response:
    with panel.store.read() as tx:
        totals = counts.read(tx)
    return page(request, "fleet/fleet.html", {"totals": totals}, blocks={"now"})
