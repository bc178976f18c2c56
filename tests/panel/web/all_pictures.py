"""Every page as it looks, light, dark and on a phone, in docs/images/pages, and docs/pages.md that shows them.

Made again by .venv/bin/pytest tests/panel/web/all_pictures.py.
"""

import base64
import re

import httpx
import pytest
from playwright.sync_api import Page

from tests.panel.web.conftest import Visit, peer_path
from tests.panel.web.pictures import IMAGES
from tests.panel.web.test_every_page import PAGES, fleet, operation_path
from wgfleet.panel.api import Panel

__all__ = ["fleet"]  # of the sample that every page is looked at with

USUAL, PHONE, HIGH = 1200, 390, 800  # px
VIEWS = (("light", USUAL), ("dark", USUAL), ("light", PHONE))
SCALE = 0.5
QUALITY = 55
SHEET = """<body style="margin:0;display:flex;gap:8px;background:#888">
<img src="{0}"><img src="{1}"><img src="{2}"></body>"""
HEAD = """# All pages

Each is shown in light, in dark and on a phone, with a small fleet that was made up.
`.venv/bin/pytest tests/panel/web/all_pictures.py` makes them again. What the pages are for is said in [web.md](web.md).
"""


def taken(page: Page, scale: float, quality: int) -> str:
    """Return a picture of what a page shows, as a data URL."""
    size = page.viewport_size
    assert size is not None
    shot = page.context.new_cdp_session(page).send(
        "Page.captureScreenshot",
        {"format": "webp", "quality": quality, "clip": {"x": 0, "y": 0, **size, "scale": scale}},
    )
    return f"data:image/webp;base64,{shot['data']}"


def name_of(path: str) -> str:
    """Return what the picture of a page is called."""
    said = re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-").lower()
    return said or "fleet"


@pytest.mark.timeout(900)
def test_pictures(visit: Visit, admin: httpx.Client, panel: Panel) -> None:
    del panel
    peer, operation = peer_path(admin), operation_path(admin)
    views = [(visit("/", theme, width), width) for theme, width in VIEWS]
    sheet = visit("/")
    sheet.goto("about:blank")  # whose policy lets pictures in
    folder = IMAGES / "pages"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    lines = [HEAD]
    for path in PAGES:
        shots = []
        for view, width in views:
            view.set_viewport_size({"width": width, "height": HIGH})
            view.goto(path.replace("PEER", peer).replace("OPERATION", operation))
            view.wait_for_timeout(150)  # charts are drawn
            shots.append(taken(view, SCALE, 90))
        sheet.set_viewport_size({"width": round((2 * USUAL + PHONE) * SCALE) + 16, "height": round(HIGH * SCALE)})
        sheet.set_content(SHEET.format(*shots))
        (folder / f"{name_of(path)}.webp").write_bytes(base64.b64decode(taken(sheet, 1, QUALITY).partition(",")[2]))
        said = path.replace("PEER", "/peers/PEER").replace("OPERATION", "/operations/OPERATION")
        lines.append(f"## `{said}`\n\n![{said}](images/pages/{name_of(path)}.webp)\n")
    (IMAGES.parent / "pages.md").write_text("\n".join(lines))
