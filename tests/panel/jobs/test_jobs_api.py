"""Jobs over the API: what is refused, what a preview says, what of it lists and peers show."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made, one_database
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.services.jobs import decisions

pytestmark = pytest.mark.usefixtures("wg0")


def look(panel: Panel) -> None:
    with panel.store.write() as tx:
        decisions.apply(tx, decisions.decide(tx, clock.now()), clock.now())


def test_a_job_is_made_shown_applied_and_deleted(panel: Panel, client: httpx.Client) -> None:
    anna = made(client, "/api/configs/wg0/peers", name="anna")
    assert anna["restricted_at"] is None
    body = {"field": "date", "value": "2020-01-01T00:00:00Z"}
    effects = client.post("/api/configs/wg0/jobs/preview", json=body).json()["effects"]
    assert effects == ["'anna' would be cut off at once, until the limit no longer says so"]
    assert client.get("/api/configs/wg0/jobs").json()["items"] == []
    job = made(client, "/api/configs/wg0/jobs", **body)
    assert (job["value"], job["operator"], job["action"]) == ("2020-01-01T00:00:00Z", "lgt", "restrict")
    assert client.get("/api/configs/wg0/jobs").json()["items"] == [job]
    look(panel)
    shown = client.get(f"/api/peers/{anna['id']}").json()
    assert shown["restricted_because"] == "after 2020-01-01 (UTC), the limit of its config"
    assert shown["enabled"] is True
    listed = client.get("/api/configs/wg0/peers").json()["items"][0]
    assert listed["restricted_at"] == shown["restricted_at"]
    limits = client.get(f"/api/peers/{anna['id']}/limits").json()
    assert [(each["origin"], each["due_at"]) for each in limits["jobs"]] == [("config", "2020-01-01T00:00:00Z")]
    assert limits["restricted_at"] == shown["restricted_at"]
    assert client.delete(f"/api/peers/{anna['id']}/jobs/{job['id']}").status_code == 404
    assert client.delete(f"/api/configs/wg0/jobs/{job['id']}").status_code == 204
    look(panel)
    assert client.get(f"/api/peers/{anna['id']}").json()["restricted_at"] is None


@pytest.mark.parametrize(
    ("body", "when"),
    [
        ({"field": "date", "value": "2026-11-29", "action": "delete"}, "after 2026-11-29 (UTC), its own limit"),
        (
            {"field": "date", "value": "2026-11-29T18:30", "operator": "lst", "time_zone": "Asia/Tokyo"},
            "before 2026-11-29 18:30 (Asia/Tokyo), its own limit",
        ),
        ({"field": "date", "value": 2592000}, "30d after the first use, its own limit"),
        (
            {"field": "date", "period": "week", "action": "reset_total_data_usage"},
            "when a new week begins, its own limit",
        ),
        ({"field": "total_data", "value": 50_000_000}, "total_data above 50 MB, its own limit"),
        (
            {"field": "total_data", "value": 3 * 2**29, "period": "day"},
            "total_data above 1.5 GiB in a day, its own limit",
        ),
    ],
)
def test_the_audit_log_says_what_a_job_waits_for(client: httpx.Client, body: dict[str, Any], when: str) -> None:
    anna = made(client, "/api/configs/wg0/peers", name="anna")
    job = made(client, f"/api/peers/{anna['id']}/jobs", **body)
    client.delete(f"/api/peers/{anna['id']}/jobs/{job['id']}")
    found = client.get("/api/audit-logs", params={"entity_type": "job", "entity_id": job["id"]}).json()["items"]
    assert [each["details"]["when"] for each in found] == [when, when]


def test_the_audit_log_says_why_a_peer_was_deleted(panel: Panel, client: httpx.Client) -> None:
    anna = made(client, "/api/configs/wg0/peers", name="anna")
    made(client, f"/api/peers/{anna['id']}/jobs", field="date", value="2020-01-01", action="delete")
    look(panel)
    found = client.get("/api/audit-logs", params={"entity_type": "peer", "entity_id": anna["id"]}).json()["items"]
    (gone,) = [each for each in found if each["action"] == "deleted"]
    assert gone["details"]["because"] == "after 2020-01-01 (UTC), its own limit"


def test_a_period_of_devices_is_refused_as_the_period(client: httpx.Client) -> None:
    answer = client.post("/api/configs/wg0/jobs", json={"field": "endpoints", "value": 1, "period": "day"})
    assert (answer.status_code, answer.json()["field"]) == (422, "period")


def test_kinds_of_jobs_keep_what_they_were_given(client: httpx.Client) -> None:
    made(client, "/api/tags", name="office")
    bodies: list[dict[str, Any]] = [
        {"field": "total_data", "value": 50_000_000, "period": "month", "time_zone": "Europe/Berlin"},
        {"field": "total_receive", "value": 5, "operator": "neq"},
        {"field": "date", "value": 2592000, "notice_s": 86400},
        {"field": "date", "value": "2099-12-31T00:00:00Z"},
        {"field": "date", "period": "week", "action": "reset_total_data_usage", "from_first_use": True},
        {"field": "schedule", "windows": ["mon-fri 08:00-18:00"]},
        {"field": "total_sent", "action": "none"},
    ]
    for body in bodies:
        job = made(client, "/api/tags/office/jobs", **body)
        assert {name: job[name] for name in body} == body
    assert client.get("/api/tags/office/jobs").json()["items"][2]["from_first_use"] is True
    assert client.delete("/api/tags/office").status_code == 204


@one_database
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"field": "total_data"}, "value"),
        ({"field": "total_data", "value": "2020-01-01T00:00:00Z"}, "value"),
        ({"field": "total_data", "value": 2**61}, "value"),
        ({"field": "total_data", "value": 5, "windows": ["mon 08:00-09:00"]}, "windows"),
        ({"field": "total_data", "value": 5, "notice_s": 5}, "notice_s"),
        ({"field": "total_data", "value": 5, "operator": "lst", "action": "delete"}, "operator"),
        ({"field": "total_data", "value": 0, "action": "reset_total_data_usage"}, "operator"),
        ({"field": "total_data", "value": 5, "from_first_use": True}, "period"),
        ({"field": "total_data", "value": 5, "time_zone": "Mars/Base"}, "time_zone"),
        ({"field": "total_data", "value": 5, "time_zone": "../etc/passwd"}, "time_zone"),
        ({"field": "date"}, "value"),
        ({"field": "date", "value": 5, "operator": "eq"}, "operator"),
        ({"field": "date", "value": 5, "operator": "lst"}, "operator"),
        ({"field": "date", "value": 5, "period": "day"}, "period"),
        ({"field": "schedule"}, "windows"),
        ({"field": "schedule", "windows": ["8-18"]}, "windows[0]"),
        ({"field": "schedule", "windows": ["mon 08:00-09:00"], "action": "delete"}, "action"),
        ({"field": "schedule", "windows": ["mon 08:00-09:00"], "value": 5}, "value"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(client: httpx.Client, body: dict[str, Any], field: str) -> None:
    answer = client.post("/api/configs/wg0/jobs", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), answer.text


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2027-04-01", "2027-03-31T22:00:00Z"),
        ("2027-01-01T18:00", "2027-01-01T17:00:00Z"),
        ("2027-04-01T00:00:00Z", "2027-04-01T00:00:00Z"),
        ("2027-04-01T00:00:00+03:30", "2027-03-31T20:30:00Z"),
    ],
)
def test_a_day_and_an_hour_are_of_the_time_zone_of_the_job(client: httpx.Client, value: str, moment: str) -> None:
    body = {"field": "date", "value": value, "time_zone": "Europe/Berlin"}
    assert client.post("/api/configs/wg0/jobs", json=body).json()["value"] == moment


@one_database
@pytest.mark.parametrize("field", ["total_data", "endpoints", "date"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (-1, "must be 0 or more"),
        (1.5, "must be a whole number"),
        (True, "must be a whole number"),
        (2**60 + 1, f"must be {2**60} at most"),
        (2**64, f"must be {2**60} at most"),
        ([], "must be a whole number"),
        ("soon", "must be a date such as"),
    ],
)
def test_a_wrong_number_is_no_moment(client: httpx.Client, field: str, value: object, said: str) -> None:
    (problem,) = client.post("/api/configs/wg0/jobs", json={"field": field, "value": value}).json()["errors"]
    assert problem["field"] == "value"
    assert said in problem["detail"]


@one_database
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"value": 5, "notice_s": 366 * 86400}, "notice is given up to 365 days before"),
        ({"value": 101 * 365 * 86400}, "up to 100 years after the first use"),
    ],
)
def test_long_times_are_refused_in_units_of_people(client: httpx.Client, body: dict[str, Any], said: str) -> None:
    assert said in client.post("/api/configs/wg0/jobs", json={"field": "date", **body}).json()["detail"]


def test_an_owner_has_so_many_jobs_and_no_more(client: httpx.Client) -> None:
    for _ in range(20):
        made(client, "/api/configs/wg0/jobs", field="date", value=1)
    assert client.post("/api/configs/wg0/jobs", json={"field": "date", "value": 1}).status_code == 409


def test_the_previews_of_a_tag_for_a_peer_say_whom_its_limits_delete_or_let_in(
    panel: Panel, client: httpx.Client
) -> None:
    anna, bert = (made(client, "/api/configs/wg0/peers", name=name) for name in ("anna", "bert"))
    for tag, action in (("over", "delete"), ("out", "restrict")):
        made(client, "/api/tags", name=tag)
        made(client, f"/api/tags/{tag}/jobs", field="date", value="2020-01-01T00:00:00Z", action=action)
    gone = ["'anna' would be deleted at once, and their files never work again"]
    given = client.post("/api/tags/over/peers/preview", json={"add": [anna["id"]]})
    assert given.json()["effects"] == gone
    assert client.post(f"/api/peers/{anna['id']}/preview", json={"tags": ["over"]}).json()["effects"] == gone
    assert client.post(f"/api/peers/{anna['id']}/preview", json={"mtu": 1400}).json()["effects"] == []
    assert client.get(f"/api/peers/{anna['id']}").json()["tags"] == []
    client.patch(f"/api/peers/{bert['id']}", json={"tags": ["out"]})
    look(panel)
    taken = client.post("/api/tags/out/peers/preview", json={"remove": [bert["id"]]})
    assert taken.json()["effects"] == ["'bert' would be let in again"]


def test_the_preview_of_a_table_says_whom_the_limits_of_tags_delete_cut_off_or_let_in(
    panel: Panel, client: httpx.Client
) -> None:
    for tag, action in (("over", "delete"), ("out", "restrict")):
        made(client, "/api/tags", name=tag)
        made(client, f"/api/tags/{tag}/jobs", field="date", value="2020-01-01T00:00:00Z", action=action)
    for name, tags in (("anna", []), ("bert", ["out"]), ("carl", []), ("dora", ["out"])):
        made(client, "/api/configs/wg0/peers", name=name, tags=tags)
    look(panel)
    table = "name,tags\nanna,over\nbert,\ncarl,out\ndora,out\nnew,over\nlate,out\n"
    path, query = "/api/configs/wg0/peers/csv", {"existing": "update"}
    seen = client.post(f"{path}/preview", content=table, headers={"content-type": "text/csv"}, params=query).json()
    assert (seen["created"], seen["changed"], seen["problems"]) == (2, 3, [])
    assert seen["effects"] == [
        "'new', 'anna' would be deleted at once, and their files never work again",
        "'late', 'carl' would be cut off at once, until the limit no longer says so",
        "'bert' would be let in again",
    ]
    done = client.post(path, content=table, headers={"content-type": "text/csv"}, params=query).json()
    assert (done["changed"], done["effects"]) == (3, [])
    look(panel)
    left = {each["name"]: each["restricted_at"] for each in client.get("/api/configs/wg0/peers").json()["items"]}
    assert {name: at is not None for name, at in left.items()} == {
        "bert": False,
        "carl": True,
        "dora": True,
        "late": True,
    }
