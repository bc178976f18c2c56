"""Scripts and styles: small, and kept by browsers for as long as their name."""

import gzip

import pytest

from tests.panel.web.conftest import Browser
from wgfleet.panel.web import assets

pytestmark = pytest.mark.slow  # they have to be built, which `script/bootstrap test` does


@pytest.mark.parametrize(("name", "most_kb"), [("site.js", 25), ("site.css", 30), ("chart.js", 25), ("chart.css", 2)])
def test_what_pages_load_is_small(name: str, most_kb: int) -> None:
    assert len(gzip.compress(assets.files()[assets.names()[name]].content, 9)) <= most_kb * 1000


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_files_are_kept_for_good_and_come_compressed(browser: Browser, coding: str) -> None:
    client = browser(**{"Accept-Encoding": coding})
    for name, built in assets.files().items():
        answer = client.get(f"/static/{name}")
        assert answer.content == built.content
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers.get("content-encoding", "identity") == coding
        assert answer.headers["content-type"].startswith(("text/javascript", "text/css"))


def test_a_page_loads_what_was_built(browser: Browser) -> None:
    page = browser().get("/login").text
    assert all(f'"/static/{name}"' in page for stem, name in assets.names().items() if stem.startswith("site."))
