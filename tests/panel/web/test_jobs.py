"""Limits in pages: what counts is shown, who is cut off is said before, and what is wrong is said at its field."""

from collections.abc import Callable

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, token_of
from wgfleet.panel.api import Panel
from wgfleet.panel.services import configs
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.services.jobs import commands
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config, LimitJob, Peer


@pytest.fixture(scope="module")
def peer_id(panel: Panel) -> str:
    sample.make(panel, peers=3)
    with panel.store.read() as tx:
        return peers.page(tx, None)[0].id


def jobs(panel: Panel, owner: Callable[[Tx], Config | Peer]) -> list[LimitJob]:
    with panel.store.read() as tx:
        return commands.listing(tx, commands.owner_of(owner(tx)))


def given(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    return client.post(path, data={"form_token": token_of(client.get(path).text), **fields})


def test_a_limit_is_given_seen_and_taken_away(panel: Panel, admin: httpx.Client, peer_id: str) -> None:
    path = f"/peers/{peer_id}/limits"
    assert "Nothing limits it." in admin.get(path).text
    page = given(admin, path, field="total_data", value="50 GB", period="month", action="restrict").text
    assert ">50\u00a0GB " in page
    assert "each month" in page
    (job,) = jobs(panel, lambda tx: peers.get(tx, peer_id))
    assert (job.field, job.value, job.period) == ("total_data", 50 * 10**9, "month")
    page = given(admin, path, field="schedule", windows="mon-fri 08:00-18:00", time_zone="Europe/Berlin").text
    assert "mon-fri 08:00-18:00" in page
    for each in jobs(panel, lambda tx: peers.get(tx, peer_id)):
        token = token_of(admin.get(path).text)
        assert admin.post(f"{path}/{each.id}/delete", data={"form_token": token}).status_code == 200
    assert "Nothing limits it." in admin.get(path).text


def test_who_is_cut_off_at_once_is_said_before_anything_is_done(
    panel: Panel, admin: httpx.Client, peer_id: str
) -> None:
    path = "/configs/wg0/limits"
    page = given(admin, path, field="date", value="2020-01-31", action="restrict").text
    assert "Nothing is changed yet" in page
    assert jobs(panel, lambda tx: configs.get(tx, "wg0")) == []
    page = given(admin, path, field="date", value="2020-01-31", action="restrict", agreed="true").text
    assert "It limits nobody." not in page
    shown = admin.get(f"/peers/{peer_id}/limits").text
    assert 'href="/configs/wg0/limits"' in shown
    (job,) = jobs(panel, lambda tx: configs.get(tx, "wg0"))
    token = token_of(admin.get(path).text)
    assert admin.post(f"{path}/{job.id}/delete", data={"form_token": token}).status_code == 200


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"field": "total_data", "value": "much"}, "write it as 50GB"),
        ({"field": "total_data", "value": "\u096b\u0966 GB"}, "write it as 50GB"),
        ({"field": "total_data", "value": "9" * 5000}, "write it as 50GB"),
        ({"field": "date", "value": "9" * 5000 + "d"}, "value"),
        ({"field": "date", "value": "2027-02-31"}, "value"),
        ({"field": "endpoints", "value": "two"}, "value"),
        ({"field": "schedule", "windows": "mon-moon 08:00-18:00"}, "windows"),
        ({"field": "total_data", "value": "1GB", "time_zone": "Europe/Nowhere"}, "time_zone"),
        ({"field": "everything", "value": "1GB"}, "field"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_lost(
    admin: httpx.Client, peer_id: str, fields: dict[str, str], said: str
) -> None:
    answer = given(admin, f"/peers/{peer_id}/limits", action="restrict", **fields)
    assert answer.status_code == 422
    assert said in answer.text
    assert all(value in answer.text for key, value in fields.items() if key in {"value", "windows"})


def test_readers_see_limits_and_give_none(person: Person, peer_id: str) -> None:
    viewer = person(Role.VIEWER)
    page = viewer.get(f"/peers/{peer_id}/limits")
    assert page.status_code == 200
    assert "Set a limit" not in page.text
