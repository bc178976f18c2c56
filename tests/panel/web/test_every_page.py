"""Every page in a real browser: nothing that axe finds, in light and dark, and none is wider than its screen."""

import re

import httpx
import pytest
from fastapi.routing import APIRoute

from tests.panel.web import sample
from tests.panel.web.conftest import Visit, complaints, peer_path, submit
from wgfleet.panel.api import Panel
from wgfleet.panel.services.fleet import node_groups, nodes, tags
from wgfleet.panel.store.tables import Peer
from wgfleet.panel.web.site import ROUTERS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # much of a processor, which others may need first
PAGES = (
    "/",
    "/audit",
    "/backups",
    "/backups/new",
    "/devices",
    "/devices/new",
    "/configs",
    "/new/config",
    "/configs/wg0",
    "/configs/wg0/capacity",
    "/configs/wg0/delete",
    "/configs/wg0/edit",
    "/configs/wg0/limits",
    "/configs/wg0/moving-in",
    "/configs/wg0/rules",
    "/configs/wg0/endpoint-group",
    "/configs/wg0/endpoint-group/delete",
    "/configs/wg0/nodes/fra1/remove",
    "/configs/wg0/nodes/new",
    "/configs/wg0/rebalance",
    "/configs/wg0/relays",
    "/configs/wg0/nodes/ams1/relays/end",
    "/configs/wg0/nodes/ams1/relays/prolong",
    "/dns",
    "/dns/wg0",
    "/dns/wg0/approve",
    "/dns/wg0/cancel",
    "/dns/wg0/plan",
    "/events",
    "/failover",
    "/floating",
    f"/floating/wg0/{sample.FLOATING}/move",
    "/login",
    "/nodes",
    "/new/import",
    "/new/node",
    "/new/node-group",
    "/node-groups",
    "/node-groups/near",
    "/node-groups/near/delete",
    "/node-groups/near/drain",
    "/node-groups/near/nodes/new",
    "/node-groups/near/nodes/par1/remove",
    "/node-groups/near/uncordon",
    "/nodes/fra1",
    "/nodes/ams1",
    "/nodes/fra1/cordon",
    "/nodes/fra1/uncordon",
    "/nodes/fra1/delete",
    "/nodes/fra1/drain",
    "/nodes/fra1/edit",
    "/nodes/fra1/log",
    "/operations",
    "OPERATION",
    "OPERATION/cancel",
    "/peers",
    "/peers/many/change?config=wg0",
    "/peers/many/new",
    "/peers/many/table",
    "/peers/new",
    "PEER",
    "PEER/access",
    "PEER/delete",
    "PEER/edit",
    "PEER/limits",
    "PEER/links",
    "PEER/rules",
    "PEER/switch",
    "/profile",
    "/profile/password",
    "/profile/second-factor",
    "/profile/passkeys/new",
    "/rule-sets",
    "/new/rule-set",
    "/search?q=user",
    "/set-password",
    "/set-up",
    "/shared",
    "/settings",
    "/settings/keys",
    "/settings/keys/new",
    "/settings/providers",
    "/new/provider/ldap",
    "/new/provider/oidc",
    "/settings/thresholds",
    "/settings/sign-ins",
    "/settings/users",
    "/settings/users/admin",
    "/settings/users/admin/delete",
    "/settings/users/admin/edit",
    "/new/user",
    "/tags",
    "/new/tag",
    "/tags/vip",
    "/tags/vip/delete",
    "/tags/vip/limits",
    "/tags/vip/rules",
    "/usage",
    "/usage?span=month",
)
FILES = {
    "/audit/export",
    "/backups/{backup_id}/download",
    "/configs/{config}/files",
    "/configs/{config}/peers/csv",
    "/devices/{device_id}/file",
    "/devices/{device_id}/qr",
    "/favicon.ico",
    "/live",
    "/peers/{peer_id}/file",
    "/peers/{peer_id}/files",
    "/peers/{peer_id}/qr",
    "/static/{name}",
}
DOORS = {"/login/with/{provider}", "/set-up/administrator", "/set-up/{secret}", "/sign-in/oidc"}
"""They lead elsewhere, or are shut for who is signed in."""
OF_THINGS_THAT_THE_SAMPLE_LACKS = {
    "/devices/{device_id}/access",
    "/devices/{device_id}/delete",
    "/devices/{device_id}/rotate",
    "/profile/recovery-codes",
    "/profile/second-factor/remove",
    "/rule-sets/{rule_set}",
    "/rule-sets/{rule_set}/delete",
    "/settings/keys/{key}/revoke",
    "/settings/providers/{provider}",
    "/settings/providers/{provider}/delete",
    "/settings/providers/{provider}/edit",
}
PHONE, USUAL, WIDE = 360, 1200, 1600  # px
DARK = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""What may differ where only colors do."""


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make_for_pages(panel)
    with panel.store.write() as tx:
        tags.create(tx, "test", {"name": "vip"})
        node_groups.create(tx, "test", "near", region="west")
        tx.flush()
        nodes.update(tx, "test", nodes.get(tx, "par1"), {"group": "near"})


def operation_path(admin: httpx.Client) -> str:
    found = re.search(r"/operations/\w{32}", admin.get("/operations").text)
    assert found is not None
    return found[0]


def paths(admin: httpx.Client) -> list[str]:
    """Return where to look; `PEER` and `OPERATION` stand for pages of one."""
    peer, operation = peer_path(admin), operation_path(admin)
    return [path.replace("PEER", peer).replace("OPERATION", operation) for path in PAGES]


def test_no_page_is_left_out() -> None:
    looked_at = [
        path.partition("?")[0].replace("PEER", "/peers/one").replace("OPERATION", "/operations/one") for path in PAGES
    ]
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    left_out = {
        route.path
        for route in routes
        if "GET" in (route.methods or ()) and not any(route.path_regex.match(path) for path in looked_at)
    }
    assert left_out == FILES | DOORS | OF_THINGS_THAT_THE_SAMPLE_LACKS


def test_axe_finds_nothing_in_light_and_dark_and_no_page_is_wider_than_a_wide_screen(
    visit: Visit, admin: httpx.Client
) -> None:
    page = visit("/", width=USUAL)
    for path in paths(admin):
        page.emulate_media(color_scheme="light")
        page.goto(path)
        assert complaints(page) == [], path
        page.emulate_media(color_scheme="dark")
        assert complaints(page, DARK) == [], f"{path} in the dark"
        page.set_viewport_size({"width": WIDE, "height": 800})
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDE, path
        page.set_viewport_size({"width": USUAL, "height": 800})


@pytest.mark.parametrize("language", ["de", "fa"])
def test_no_page_is_wider_than_a_phone(visit: Visit, admin: httpx.Client, language: str) -> None:
    page = visit("/", width=PHONE)
    page.set_extra_http_headers({"Accept-Language": language})
    for path in paths(admin):
        page.goto(path)
        assert page.evaluate("document.documentElement.lang") == language
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE, path


def test_the_longest_names_make_no_page_wider_than_a_phone(visit: Visit, admin: httpx.Client, panel: Panel) -> None:
    node, name = "W" * 63, "رضا-" + "W" * 60
    submit(admin, "/new/node", name=node, endpoint_addresses="203.0.113.99")
    submit(admin, "/peers/new", config="wg0", name=name)
    with panel.store.read() as tx:
        peer = next(each for each in tx.session.query(Peer) if each.name == name).id
    link = re.search(r'id="made"[^>]*>([^<]+)<', submit(admin, f"/peers/{peer}/links", days="1").text)
    assert link
    try:
        page = visit("/", width=360)
        of_node = [f"/nodes/{node}{more}" for more in ("", "/drain", "/delete")]
        of_peer = [f"/peers/{peer}{more}" for more in ("", "/edit", "/links", "/limits", "/delete", "/access")]
        for path in ("/", "/events", "/audit", "/nodes", "/search?q=WW", *of_node, *of_peer):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        page.goto(link[1])
        page.get_by_role("button", name="Show the file").click()
        page.get_by_text(name, exact=True).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    finally:
        submit(admin, f"/nodes/{node}/delete", typed_name=node)
        submit(admin, f"/peers/{peer}/delete", typed_name=name)
