"""The pictures of the web interface in docs/images, made again: .venv/bin/pytest tests/panel/web/pictures.py."""

import base64
from pathlib import Path

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Visit, peer_path
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs, rule_sets
from wgfleet.panel.services.fleet import nodes
from wgfleet.protocol.destination_words import rule_of

IMAGES = Path(__file__).parents[3] / "docs/images"
PHONE = 390
ANY = {"transport": "any", "ports": [], "networks": [], "place": "anywhere"}
# Name, path, theme, width and height.
PICTURES = (
    ("fleet", "/", "light", 1200, 1010),
    ("fleet-phone", "/", "dark", PHONE, 1010),
    ("config", "/configs/wg0", "light", 1200, 1010),
    ("peer", "PEER", "light", 1200, 1010),
    ("peer-phone", "PEER", "dark", PHONE, 1010),
    ("usage", "/usage", "dark", 1200, 800),
    ("rules", "/rule-sets/guests", "light", 1200, 860),
)


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    world = sample.make(panel, peers=58)
    sample.publish(panel, world)
    sample.use(panel, world)
    with panel.store.read() as tx:
        office, fra = configs.get(tx, "office"), nodes.get(tx, "fra1")
    with panel.store.write() as tx:
        lines = ("allow udp/53 node", "allow icmp node", "deny users", "deny 10.0.0.0/8,192.168.0.0/16")
        made = rule_sets.create(tx, "user:admin", {"name": "guests", "rules": [ANY | rule_of(line) for line in lines]})
        configs.update(tx, "user:admin", configs.get(tx, "wg0"), {"rule_set": made.id})
    world.remove(office, fra, force=True)


@pytest.mark.parametrize(("name", "path", "theme", "width", "height"), PICTURES)
def test_picture(visit: Visit, admin: httpx.Client, name: str, path: str, theme: str, width: int, height: int) -> None:
    page = visit(path.replace("PEER", peer_path(admin)), theme, width)
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(500)  # charts are drawn
    # Playwright itself makes no WebP, which takes a fifth of the room.
    taken = page.context.new_cdp_session(page).send("Page.captureScreenshot", {"format": "webp", "quality": 80})
    (IMAGES / f"{name}.webp").write_bytes(base64.b64decode(taken["data"]))
