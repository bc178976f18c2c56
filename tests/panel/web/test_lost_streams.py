"""Streams that end without a word: a network that is gone, a machine that is, tell nobody."""

import httpx
import pytest

from tests.panel.web.conftest import Visit
from wgfleet.panel.web import live

# One that opens, the first by itself, and says what the test has it say.
SILENT = """
window.streams = [];
window.EventSource = class extends EventTarget {
    static CLOSED = 2;
    readyState = 1;
    constructor() {
        super();
        if (streams.push(this) === 1) setTimeout(() => this.dispatchEvent(new Event("open")));
    }
    close() { this.readyState = 2; }
};
"""


def test_a_stream_says_that_it_is_alive(admin: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "ALIVE_S", 0.1)
    with admin.stream("GET", "/live") as answer:
        assert "event: alive" in answer.iter_lines()


def test_a_stream_that_falls_silent_is_shown_as_lost_and_opened_again(visit: Visit) -> None:
    page = visit("/login")
    page.clock.install()
    page.add_init_script(SILENT)
    page.goto("/profile")
    state, lost = "document.documentElement.dataset.live", page.locator(".lost").first
    for _ in range(3):
        page.clock.run_for(8_000)
        assert (page.evaluate(state), lost.is_visible()) == ("connected", False)
        page.evaluate("streams[0].dispatchEvent(new Event('alive'))")
    page.clock.run_for(15_000)
    assert (page.evaluate(state), lost.is_visible()) == ("lost", True)
    assert page.evaluate("streams.map(each => each.readyState)") == [2, 1]
    page.evaluate("streams[1].dispatchEvent(new Event('open'))")
    assert (page.evaluate(state), lost.is_visible()) == ("connected", False)
