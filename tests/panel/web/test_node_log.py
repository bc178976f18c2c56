"""The page of an agent's log: its last lines as people read them, or why there are none."""

import json
import socket
import ssl

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.panel.web import sample
from tests.panel.web.conftest import Person, Visit, complaints
from wgfleet.panel.agents.client import AgentClient
from wgfleet.panel.api import Panel
from wgfleet.panel.errors import TransientError, Unavailable
from wgfleet.panel.reconcile.agents.log_copy import LogPart
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.web.pages.node_log import shown_line
from wgfleet.protocol.panel_name import PanelName
from wgfleet.protocol.reasons import Reason

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

    async def read(node: str, lines: int, _place: str) -> LogPart:
        asked.append((node, lines))
        odd = ("Traceback of a library", '{"event": 1, "timestamp": "yesterday"}', "[]")
        return LogPart((*map(json.dumps, LINES), *odd), "a1.5")

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


def test_an_agent_where_nobody_listens_is_said_in_the_readers_language(
    admin: httpx.Client, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(_node: str, _lines: int, _place: str) -> LogPart:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        client = AgentClient("127.0.0.1", port, "fra1", ssl.create_default_context(), PanelName("a", 1, "b"))
        try:
            await client.log(1, "", 0)
        except TransientError as error:
            raise Unavailable(Reason("{error}; look on the node: journalctl -u wgfleet-agent", error=error)) from None
        raise AssertionError

    monkeypatch.setattr(panel.agent_logs, "read", read)
    page = admin.get("/nodes/fra1/log", headers={"Accept-Language": "fa"}).text
    assert "کسی گوش نمی‌دهد" in page
    assert "Connect call" not in page


class Log:
    """What the panel reads of an agent's log: what was asked, and what it says."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.places: list[str] = []
        self.problem = ""

    def add(self, event: str, level: str = "info") -> None:
        self.lines.append(json.dumps({"event": event, "level": level, "timestamp": "2026-11-27T10:00:00Z"}))

    async def read(self, _node: str, _lines: int, place: str) -> LogPart:
        self.places.append(place)
        if self.problem:
            raise Unavailable(self.problem)
        return LogPart(tuple(self.lines[int(place.partition(".")[2] or 0) :]), f"a1.{len(self.lines)}")


@pytest.fixture
def log(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log()
    made.add("agent.ready")
    monkeypatch.setattr(panel.agent_logs, "read", made.read)
    return made


def events(page: Page) -> list[str]:
    return page.locator("#rows th").all_inner_texts()


@pytest.mark.slow
def test_new_lines_appear_while_the_page_is_looked_at_and_are_not_asked_for_when_it_is_left(
    visit: Visit, log: Log
) -> None:
    page = visit("/nodes/fra1/log")
    page.get_by_text("New lines appear by themselves.").wait_for()
    log.add("push <b>applied</b>")
    page.get_by_role("rowheader", name="push <b>applied</b>").wait_for()
    assert events(page) == ["push <b>applied</b>", "agent.ready"]
    page.get_by_role("button", name="Pause").click()
    page.wait_for_timeout(2500)
    asked = len(log.places)
    log.add("while it was paused")
    page.wait_for_timeout(3000)
    assert len(log.places) == asked
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("rowheader", name="while it was paused").wait_for()
    assert log.places[1:] == sorted(log.places[1:])
    assert complaints(page) == []
    page.goto("/nodes/fra1")
    asked = len(log.places)
    page.wait_for_timeout(3000)
    assert len(log.places) == asked


@pytest.mark.slow
def test_only_what_was_chosen_appears_and_never_more_than_a_page_of_it(visit: Visit, log: Log) -> None:
    page = visit("/nodes/fra1/log?show=troubles")
    page.get_by_text("The agent has logged nothing of that kind").wait_for()
    log.add("nothing to see")
    for number in range(320):
        log.add(f"trouble {number}", "error")
    page.get_by_role("rowheader", name="trouble 319", exact=True).wait_for()
    assert (len(events(page)), events(page)[-1]) == (300, "trouble 20")
    assert not page.get_by_text("The agent has logged nothing of that kind").is_visible()
    log.add("one more", "warning")
    page.get_by_role("rowheader", name="one more").wait_for()
    assert len(events(page)) == 300


@pytest.mark.slow
def test_an_agent_that_does_not_answer_is_said_and_followed_on_when_it_does(visit: Visit, log: Log) -> None:
    log.problem = "no answer from the agent"
    page = visit("/nodes/fra1/log")
    page.get_by_role("status").get_by_text("no answer from the agent").wait_for()
    log.problem = ""
    page.get_by_role("rowheader", name="agent.ready").wait_for()
    assert not page.get_by_text("no answer from the agent").is_visible()
    log.problem = "no answer again"
    page.get_by_text("no answer again").wait_for()
    assert events(page) == ["agent.ready"]


@pytest.mark.slow
def test_who_is_signed_out_meanwhile_is_shown_no_more(
    chromium: Browser, address: str, admin: httpx.Client, log: Log
) -> None:
    context = chromium.new_context(base_url=address)
    context.add_cookies([{"name": "wgfleet", "value": admin.cookies["wgfleet"], "url": address}])
    page = context.new_page()
    page.goto("/nodes/fra1/log")
    page.get_by_role("rowheader", name="agent.ready").wait_for()
    context.clear_cookies()
    page.get_by_text("This log is not shown any more. Load the page again.").wait_for()
    log.add("for others")
    asked = len(log.places)
    page.wait_for_timeout(3000)
    assert (events(page), len(log.places)) == (["agent.ready"], asked)
    context.close()


def test_a_part_of_the_log_is_for_those_who_see_the_node(person: Person, log: Log) -> None:
    part = {"HX-Request": "true", "HX-Target": "tbody#rows"}
    answer = person(Role.VIEWER).get("/nodes/fra1/log?after=a1.0", headers=part)
    assert ("agent.ready" in answer.text, "<html" in answer.text, 'data-place="a1.1"' in answer.text) == (
        True,
        False,
        True,
    )
    assert person(Role.SELF_SERVICE).get("/nodes/fra1/log?after=a1.0", headers=part).status_code == 403
    assert person(Role.VIEWER).get("/nodes/fra1/log?after=1", headers=part).status_code == 422
    assert log.places == ["a1.0"]


def test_each_line_is_made_once_for_fifty_viewers(admin: httpx.Client, log: Log) -> None:
    for number in range(40):
        log.add(f"busy {number}")
    shown_line.cache_clear()
    for language, made in (("en", 40), ("de", 80)):
        part = {"HX-Request": "true", "HX-Target": "tbody#rows", "Accept-Language": language}
        answers = {admin.get("/nodes/fra1/log?after=a1.1", headers=part).text for _ in range(50)}
        assert len(answers) == 1
        assert answers.pop().count("<tr>") == 40
        assert shown_line.cache_info().misses == made
    most = shown_line.cache_info().maxsize
    assert most is not None, "however long they look"
