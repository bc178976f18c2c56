"""Cells at the head of tables: each says what is below it, since a screen reader reads it with every cell there."""

import re
from pathlib import Path

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import submit
from wgfleet.panel import web
from wgfleet.panel.api import Panel

TEMPLATES = Path(web.__file__).parent / "templates"
EMPTY_CELL = re.compile(r"<th\b[^>]*>\s*(?:&nbsp;)?\s*</th>")
EMPTY_COLUMN = re.compile(r"lists\.table\([^\n]*(?:[\[,]\s*\"\"\s*[,\]]|\belse \"\")")


@pytest.fixture(scope="module", autouse=True)
def _fleet(panel: Panel) -> None:
    sample.make(panel, peers=3)


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_no_template_has_a_head_that_says_nothing(path: Path) -> None:
    text = path.read_text()
    assert not EMPTY_CELL.search(text)
    assert not EMPTY_COLUMN.search(text)


def test_what_is_done_to_a_link_has_a_head(admin: httpx.Client) -> None:
    peer = re.search(r"/peers/\w{32}", admin.get("/peers").text)
    assert peer
    page = submit(admin, f"{peer[0]}/links", days="7").text
    assert '<th scope="col">Withdraw</th>' in page
    assert not EMPTY_CELL.search(page)
