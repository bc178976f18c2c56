"""The API of a superseded panel: it refuses what nobody would carry out, and says where that is done instead."""

from collections.abc import Iterator

import httpx
import pytest
from fastapi.routing import APIRoute

from tests.panel.conftest import served
from wgfleet.cli.hints import sentence
from wgfleet.panel import api
from wgfleet.panel.api import Panel, create_app
from wgfleet.panel.api.succession import STILL_TAKEN
from wgfleet.panel.reconcile.core_reports import HeardReports
from wgfleet.panel.services import incarnations

WHY = "another panel, on a newer copy of this database (start 8, this one is 7), has been obeyed by nodes"
READS = {"GET", "HEAD"}
CHANGES = sorted(
    (method, route.path)
    for subject in api.SUBJECTS
    for route in subject.router.routes
    if isinstance(route, APIRoute)
    for method in (route.methods or set()) - READS
)


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One database will do: it is not asked."""
    return sqlite_url


@pytest.fixture
def superseded(panel: Panel, client: httpx.Client) -> httpx.Client:
    panel.outlook.superseded = WHY
    return client


def test_no_change_is_taken_that_nobody_would_carry_out(superseded: httpx.Client) -> None:
    """Whatever is in it, and also for objects that do not exist."""
    refused = [each for each in CHANGES if each[1] not in STILL_TAKEN]
    assert len(refused) > 30
    for method, path in refused:
        answer = superseded.request(method, path.format_map(Anything()), json={})
        assert answer.status_code == 409, (method, path, answer.text)
        problem = answer.json()
        assert "start 8" in problem["detail"]
        assert "at that panel" in problem["detail"]
        assert "`wgfleet panel restored`" in sentence(problem)
        assert [hint["code"] for hint in problem["hints"]] == ["count_again"]


class Anything(dict[str, str]):
    """A value for each argument of a path."""

    def __missing__(self, key: str) -> str:
        return "0" * 32


def test_each_change_that_is_still_taken_exists() -> None:
    assert set(STILL_TAKEN) <= {path for _, path in CHANGES}


def test_it_can_be_looked_into_and_keys_are_managed(superseded: httpx.Client, panel: Panel) -> None:
    assert superseded.get("/api/configs").status_code == 200
    key = superseded.post("/api/keys", json={"name": "looks", "scopes": ["read"]})
    assert key.status_code == 201, key.text
    assert superseded.delete(f"/api/keys/{key.json()['id']}").status_code == 204
    assert superseded.get("/readyz").json()["superseded"] == WHY
    assert superseded.post("/api/dns/none/check").status_code == 404
    panel.outlook.superseded = None
    assert superseded.post("/api/configs", json={"name": "wg0", "pools": ["10.8.0.0/24"]}).status_code == 201


@pytest.fixture
def without_core(panel: Panel, client: httpx.Client) -> Iterator[httpx.Client]:
    """A process that serves the API and hears of no core."""
    with panel.store.write() as tx:
        incarnations.supersede(tx, incarnations.begin(tx).number, WHY)
    apart = Panel(**{name: getattr(panel, name) for name in PARTS}, heard=HeardReports(panel.store))
    with served(create_app(apart)) as url:
        client.base_url = httpx.URL(url)
        yield client


PARTS = ("store", "vault", "settings", "authorities", "events", "publisher")


def test_where_no_core_is_heard_the_rows_say_whether_it_is_superseded(without_core: httpx.Client, panel: Panel) -> None:
    body = {"name": "wg0", "pools": ["10.8.0.0/24"]}
    assert without_core.post("/api/configs", json=body).status_code == 409
    with panel.store.write() as tx:
        incarnations.restored(tx, "test")
    assert without_core.post("/api/configs", json=body).status_code == 201
