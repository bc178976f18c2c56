"""Each API key has its share: what one asks for, and how often, does not keep the calls of others waiting."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from tests.paper_loop import run_on_paper
from wgfleet.panel.api import Panel, turns
from wgfleet.panel.api.auth import CALLER
from wgfleet.panel.api.turns import Turns
from wgfleet.panel.services.access.callers import READ, Caller
from wgfleet.panel.settings.door import DoorSettings
from wgfleet.panel.siblings import Siblings
from wgfleet.panel.web.site import create_site

SETTINGS = DoorSettings(calls_per_key=4, streams_per_key=3)


class Slow:
    """An application that answers when it is told to, and knows how many of each key it has."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = scope["state"][CALLER].id
        self.now[key] += 1
        self.most[key] = max(self.most[key], self.now[key])
        try:
            if key != "quick":
                await self.go.wait()
            await PlainTextResponse("done")(scope, receive, send)
        finally:
            self.now[key] -= 1


class Site:
    """Slow answers behind turns, and callers by the name of their key."""

    def __init__(self, siblings: Siblings | None = None, counted: str = "api") -> None:
        self.slow = Slow()
        self._turns = Turns(self.slow, SETTINGS, siblings or Siblings(), counted)

    def call(self, key: str, path: str = "/api/nodes", method: str = "GET") -> "asyncio.Task[httpx.Response]":
        async def app(scope: Any, receive: Any, send: Any) -> None:
            caller = Caller(key, f"the {key} one", frozenset({READ}), stale_use=False)
            await self._turns({**scope, "state": {CALLER: caller}}, receive, send)

        async def get() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://panel") as client:
                return await client.request(method, path)

        return asyncio.create_task(get())


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_RETRY_S", 0.01)


def at_the_site(test: Callable[[Site], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await test(Site())

    run_on_paper(run())


def test_many_calls_of_one_key_take_turns_and_all_are_answered() -> None:
    async def test(site: Site) -> None:
        calls = [site.call("greedy") for _ in range(36)]
        await asyncio.sleep(0.05)
        site.slow.go.set()
        assert {(await call).status_code for call in calls} == {200}
        assert site.slow.most["greedy"] == 4

    at_the_site(test)


def test_changes_of_one_key_are_made_one_after_the_other_and_keep_no_reads_waiting() -> None:
    async def test(site: Site) -> None:
        changes = [site.call("greedy", method="POST") for _ in range(8)]
        await asyncio.sleep(0.05)
        assert site.slow.now["greedy"] == 1
        reads = [site.call("greedy") for _ in range(4)]
        await asyncio.sleep(0.05)
        assert site.slow.now["greedy"] == 5
        site.slow.go.set()
        assert {(await call).status_code for call in (*changes, *reads)} == {200}

    at_the_site(test)


def test_a_call_of_another_key_does_not_wait() -> None:
    async def test(site: Site) -> None:
        calls = [site.call("greedy") for _ in range(36)]
        await asyncio.sleep(0.05)
        assert (await site.call("quick")).status_code == 200
        assert not any(call.done() for call in calls)
        site.slow.go.set()
        await asyncio.gather(*calls)

    at_the_site(test)


def test_a_key_with_too_many_calls_is_told_so_and_has_its_share_again_later() -> None:
    async def test(site: Site) -> None:
        calls = [site.call("greedy") for _ in range(36)]
        await asyncio.sleep(0.05)
        refused = await site.call("greedy")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert "'the greedy one'" in refused.json()["detail"]
        site.slow.go.set()
        await asyncio.gather(*calls)
        assert (await site.call("greedy")).status_code == 200

    at_the_site(test)


def test_who_waits_in_vain_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 0.1)

    async def test(site: Site) -> None:
        calls = [site.call("greedy") for _ in range(5)]
        done, waiting = await asyncio.wait(calls, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert [call.result().status_code for call in done] == [429]
        site.slow.go.set()
        assert {(await call).status_code for call in waiting} == {200}

    at_the_site(test)


def test_streams_are_counted_by_themselves_and_do_not_wait() -> None:
    async def test(site: Site) -> None:
        streams = [site.call("greedy", "/api/events") for _ in range(3)]
        await asyncio.sleep(0.05)
        assert site.slow.now["greedy"] == 3
        assert (await site.call("greedy", "/api/events")).status_code == 429
        calls = [site.call("greedy") for _ in range(4)]
        await asyncio.sleep(0.05)
        assert site.slow.now["greedy"] == 7
        site.slow.go.set()
        await asyncio.gather(*streams, *calls)

    at_the_site(test)


def test_a_call_that_is_given_up_leaves_its_turn_to_the_next() -> None:
    async def test(site: Site) -> None:
        under_way = [site.call("greedy") for _ in range(4)]
        given_up = [site.call("greedy") for _ in range(32)]
        await asyncio.sleep(0.05)
        for call in (*given_up, *under_way):
            call.cancel()
        await asyncio.gather(*given_up, *under_way, return_exceptions=True)
        site.slow.go.set()
        assert (await site.call("greedy")).status_code == 200

    at_the_site(test)


def test_siblings_count_together_and_pages_and_api_each_by_themselves() -> None:
    async def test(_: Site) -> None:
        siblings = Siblings()
        here, there, api = Site(siblings, "pages"), Site(siblings, "pages"), Site(siblings, "api")
        streams = [site.call("one", "/live") for site in (here, here, there, api, api, api)]
        await asyncio.sleep(0.05)
        assert (await there.call("one", "/live")).status_code == 429
        assert (await api.call("one", "/live")).status_code == 429
        for site in (here, there, api):
            site.slow.go.set()
        assert {(await call).status_code for call in streams} == {200}

    at_the_site(test)


def test_pages_are_counted_in_all_processes(panel: Panel) -> None:
    (given,) = [each.kwargs for each in create_site(panel).user_middleware if "siblings" in each.kwargs]
    assert given["siblings"] is panel.siblings
    assert given["counted"] == "pages"
