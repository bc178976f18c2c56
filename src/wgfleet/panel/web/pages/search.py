"""One search over pages, nodes, configs and peers: a dialog where scripts run, and a page of its own."""

from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

from fastapi import Query, Request
from starlette.responses import Response

from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.models import LINE
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.peers import MAX_SEARCH
from wgfleet.panel.services import configs
from wgfleet.panel.services.access.callers import ADMIN, DEVICES, NODES, OWN, READ, WRITE, Caller
from wgfleet.panel.services.fleet import nodes, peer_lists
from wgfleet.panel.services.fleet.peer_lists import PeerFilter
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config
from wgfleet.panel.web import languages, rendering
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import page, visitor_of

router = page_router()
MOST = 8
"""Of each kind; who looks for more has the lists."""
MOST_NODES = 1000  # all that a panel is made for
PAGES = (
    (marked("Create a peer"), "/peers/new", WRITE),
    (marked("Add a node"), "/new/node", NODES),
    (marked("Node groups"), "/node-groups", READ),
    (marked("Create a config"), "/new/config", WRITE),
    (marked("Create a tag"), "/new/tag", WRITE),
    (marked("Add a device"), "/devices/new", DEVICES),
    (marked("Users"), "/settings/users", ADMIN),
    (marked("Invite a user"), "/new/user", ADMIN),
    (marked("Signed in"), "/settings/sign-ins", ADMIN),
    (marked("API keys"), "/settings/keys", ADMIN),
    (marked("Sign-in providers"), "/settings/providers", ADMIN),
    (marked("All settings"), "/settings/thresholds", ADMIN),
    (marked("Your account"), "/profile", OWN),
)
"""Pages without a place in the navigation."""
Search = Annotated[str, Query(max_length=MAX_SEARCH, pattern=LINE)]


class Hit(NamedTuple):
    """Something that was found: its name, what else is known of it, and its page."""

    name: str
    about: str
    path: str


@router.get("/search")
def search(request: Request, panel: ThePanel, caller: Reader, q: Search = "") -> Response:
    """Show what there is by a part of its name."""
    wanted = q.strip().casefold()
    with panel.store.read() as tx:
        seen = configs.page(tx, None, MOST_NODES, caller.limit) if wanted else ()
        found = {
            "pages": list(_pages(request, caller, wanted))[:MOST],
            "nodes": list(_nodes(tx, caller, wanted))[:MOST] if wanted else [],
            "configs": [
                Hit(each.name, each.mode, f"/configs/{each.name}") for each in seen if wanted in each.name.casefold()
            ][:MOST],
            "peers": list(_peers(tx, panel, seen, q.strip())) if wanted else [],
        }
    context = {"q": q, "found": found, "count": sum(map(len, found.values())), "most": MOST}
    return page(request, "search/search.html", context, blocks={"found"})


def _pages(request: Request, caller: Caller, wanted: str) -> Iterator[Hit]:
    words = languages.translations(visitor_of(request).language).gettext
    for section in rendering.sections:
        if section.is_for(caller) and wanted in words(section.label).casefold():
            yield Hit(words(section.label), "", section.path)
    for label, path, scope in PAGES:
        if wanted and caller.may(scope) and wanted in words(label).casefold():
            yield Hit(words(label), "", path)


def _nodes(tx: Tx, caller: Caller, wanted: str) -> Iterator[Hit]:
    for node in nodes.page(tx, None, MOST_NODES, caller.limit):
        addresses = " ".join(node.endpoint_addresses)
        if wanted in f"{node.name} {addresses}".casefold():
            yield Hit(node.name, addresses, f"/nodes/{node.name}")


def _peers(tx: Tx, panel: Panel, seen: Sequence[Config], text: str) -> Iterator[Hit]:
    names = {each.id: each.name for each in seen}
    wanted = PeerFilter(config_ids=list(names))
    found = peer_lists.search(tx, wanted, panel.settings.drain.live_s, text, None, MOST)
    for peer in found.peers[:MOST]:
        yield Hit(peer.name, names[peer.config_id], f"/peers/{peer.id}")
