"""The page of an agent's log: its last lines as people read them, or why there are none."""

import json

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person
from wgfleet.panel.api import Panel
from wgfleet.panel.services.access.callers import Role

LINES = (
    {"event": "agent.started", "level": "info", "timestamp": "2026-11-27T10:00:00Z", "version": "0.2.0"},
    {"event": "push.refused <b>", "level": "warning", "timestamp": "2026-11-27T10:00:01Z", "interface": "wg0"},
)


@pytest.fixture(scope="module", autouse=True)
def fleet(panel: Panel) -> None:
    sample.make(panel, peers=2)


def test_lines_are_newest_first_and_troubles_are_shown_alone(
    person: Person, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def read(node: str, lines: int) -> tuple[str, ...]:
        asked.append((node, lines))
        return (*map(json.dumps, LINES), "Traceback of a library", '{"event": 1, "timestamp": "yesterday"}', "[]")

    monkeypatch.setattr(panel.agent_logs, "read", read)
    viewer = person(Role.VIEWER)
    page = viewer.get("/nodes/fra1/log").text
    assert asked == [("fra1", 1000)]
    assert page.index("Traceback of a library") < page.index("push.refused &lt;b&gt;") < page.index("agent.started")
    assert "interface: wg0" in page
    assert "journalctl -u wgfleet-agent" in page
    troubles = viewer.get("/nodes/fra1/log?show=troubles").text
    assert ("push.refused" in troubles, "agent.started" in troubles) == (True, False)
    assert viewer.get("/nodes/fra1/log?show=x").status_code == 422


def test_an_agent_that_cannot_be_asked_says_why(admin: httpx.Client, person: Person) -> None:
    page = admin.get("/nodes/fra1/log")
    assert (page.status_code, "no agent has joined as node" in page.text) == (200, False)
    assert "cannot be shown" in page.text
    assert admin.get("/nodes/nobody/log").status_code == 404
    assert person(Role.SELF_SERVICE).get("/nodes/fra1/log").status_code == 403
