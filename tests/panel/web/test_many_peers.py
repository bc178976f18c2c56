"""Pages that change all peers a list shows, and that make many: nothing is done before it was said to whom."""

import httpx
import pytest

from tests.panel.web import sample
from tests.panel.web.conftest import Person, submit, token_of
from wgfleet.panel.api import Panel
from wgfleet.panel.services import operations, peer_changes
from wgfleet.panel.services.access.callers import Role
from wgfleet.panel.services.fleet import tags
from wgfleet.panel.store import new_files
from wgfleet.panel.store.tables import Peer

ACTOR = "user:admin"


@pytest.fixture(scope="module", autouse=True)
def _world(panel: Panel) -> None:
    sample.make(panel, peers=12)
    with panel.store.write() as tx:
        tags.create(tx, ACTOR, {"name": "trial"})


def done(panel: Panel, answer: httpx.Response) -> None:
    """Do what a core would."""
    operation_id = answer.url.path.rpartition("/")[2]
    going_on = True
    while going_on:
        with panel.store.write() as tx:
            going_on = peer_changes.step(tx, operation_id)
    with panel.store.read() as tx:
        assert operations.get(tx, operation_id).state == "succeeded"


def on(panel: Panel) -> dict[str, bool]:
    with panel.store.read() as tx:
        return {peer.name: peer.enabled for peer in tx.session.query(Peer)}


def ids(panel: Panel) -> dict[str, str]:
    with panel.store.read() as tx:
        return {peer.name: peer.id for peer in tx.session.query(Peer)}


def test_those_ticked_are_changed_and_no_others(admin: httpx.Client, panel: Panel) -> None:
    of_name = ids(panel)
    two = [of_name["user-001"], of_name["user-002"]]
    assert f'name="peer" value="{two[0]}"' in admin.get("/peers").text
    asked = admin.get("/peers/many/change", params={"peer": ["", *two]}).text
    assert "2 peers that were ticked" in asked
    assert 'value="wg0" selected' in asked
    fields = {"config": "wg0", "action": "disable", "filter_peers": ",".join(two)}
    shown = submit(admin, "/peers/many/change", **fields)
    assert "user-002" in shown.text
    count = shown.text.partition('name="expect" value="')[2].partition('"')[0]
    seen = shown.text.partition('name="seen" value="')[2].partition('"')[0]
    ended = submit(admin, "/peers/many/change", **fields, expect=count, seen=seen)
    done(panel, ended)
    assert {name for name, enabled in on(panel).items() if not enabled} == {"user-001", "user-002"}


def test_none_ticked_is_not_all(admin: httpx.Client) -> None:
    assert admin.get("/peers/many/change", params={"peer": ""}, follow_redirects=True).url.path == "/peers"


def test_ticked_peers_of_another_config_or_deleted_are_refused(admin: httpx.Client, panel: Panel) -> None:
    chosen = f"{ids(panel)['user-001']},{'f' * 32}"
    refused = submit(admin, "/peers/many/change", config="wg0", action="disable", filter_peers=chosen)
    assert refused.status_code == 422
    assert "1 of these peers are not of this config, or no more" in refused.text


def test_what_the_list_shows_is_what_is_changed(admin: httpx.Client, panel: Panel) -> None:
    listed = admin.get("/peers?config=wg0&search=user-00").text
    assert "/peers/many/change?config=wg0&amp;search=user-00" in listed
    assert "user-00" in admin.get("/peers/many/change?config=wg0&search=user-00").text
    fields = {"config": "wg0", "action": "disable", "filter_search": "user-00"}
    shown = submit(admin, "/peers/many/change", **fields)
    assert "cut off on all nodes" in shown.text
    assert all(on(panel).values()) or "user-001" in shown.text
    count = shown.text.partition('name="expect" value="')[2].partition('"')[0]
    seen = shown.text.partition('name="seen" value="')[2].partition('"')[0]
    again = submit(admin, "/peers/many/change", **fields | {"action": "enable"}, expect=count, seen=seen)
    assert again.url.path == "/peers/many/change", "another thing than was shown is shown first"
    refused = submit(admin, "/peers/many/change", **fields, expect=f"{int(count[0]) + 1}{count[1:]}", seen=seen)
    assert refused.status_code == 409
    ended = submit(admin, "/peers/many/change", **fields, expect=count, seen=seen)
    done(panel, ended)
    assert {name for name, enabled in on(panel).items() if not enabled} >= {"user-001", "user-002"}
    page = admin.get(ended.url.path).text
    assert "Changed peers" in page
    assert "a change of many peers began" in page


def test_a_tag_a_limit_and_a_deletion_by_name(admin: httpx.Client, panel: Panel) -> None:
    def go(typed: str = "", **fields: str) -> httpx.Response:
        fields = {"config": "wg0", "filter_search": "user-00", **fields}
        shown = submit(admin, "/peers/many/change", **fields).text
        count = shown.partition('name="expect" value="')[2].partition('"')[0]
        seen = shown.partition('name="seen" value="')[2].partition('"')[0]
        return submit(admin, "/peers/many/change", **fields, expect=count, seen=seen, typed_name=typed)

    done(panel, go(action="add_tag", given_tag="trial"))
    assert "user-001" in admin.get("/peers?tag=trial").text
    assert "user-001" in admin.get("/peers?tag=trial&search=user").text
    assert "bold" not in admin.get("/peers?tag=trial&search=bold").text.partition("<tbody")[2]
    done(panel, go(action="set_job", limit_gib="0.5", limit_period="month"))
    done(panel, go(action="set_job", limit_date="2099-01-01"))
    done(panel, go(action="set_speeds", download_speed="20mbit"))
    done(panel, go(action="set_group"))
    assert go(action="set_speeds").status_code == 422
    assert go(action="set_job", limit_gib="lots").status_code == 422
    assert go(action="add_tag", given_tag="").status_code == 422
    assert go("wg1", action="delete").status_code == 422
    done(panel, go("wg0", action="delete"))
    assert "user-001" not in on(panel)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"action": "explode"}, "action"),
        ({"action": "set_job", "limit_gib": "x"}, "limit_gib"),
        ({"action": "set_speeds", "upload_speed": "fast"}, "upload_speed"),
        ({"action": "set_speeds", "download_speed": "1"}, "download_speed"),
        ({"action": "set_speeds", "upload_speed": "50gbit"}, "upload_speed"),
        ({"action": "set_speeds", "download_speed": "41gbit"}, "download_speed"),
        ({"action": "set_group", "group": "nowhere"}, "group"),
        ({"action": "set_group", "group": "x" * 101}, "group"),
        ({"action": "add_tag", "given_tag": "x" * 65}, "given_tag"),
        ({"action": "set_job", "limit_gib": "5", "limit_period": "year"}, "limit_period"),
        ({"action": "set_job", "limit_date": "yesterday"}, "limit_date"),
        ({"action": "set_job", "limit_date": "2099-01-01", "limit_gib": "5"}, "limit_date"),
        ({"action": "set_job", "limit_date": "0000-00-00"}, "limit_date"),
        ({"action": "add_tag"}, "given_tag"),
        ({"action": "remove_tag"}, "given_tag"),
        ({"action": "move"}, "to"),
        ({"action": "add_tag", "given_tag": "gone"}, None),
        ({"action": "disable", "filter_tag": "gone"}, None),
        ({"action": "disable", "filter_node": "gone"}, None),
        ({"action": "disable", "filter_live": "maybe"}, None),
        ({"action": "disable", "filter_search": "x" * 101}, None),
        ({"action": "disable", "config": ""}, "config"),
    ],
)
def test_what_is_wrong_is_said_where_it_can_be_seen(
    admin: httpx.Client, fields: dict[str, str], field: str | None
) -> None:
    answer = submit(admin, "/peers/many/change", **{"config": "wg0", **fields})
    assert answer.status_code in {404, 422}
    assert (f'id="{field}-wrong"' if field else "That was refused:") in answer.text


def test_a_tag_that_somebody_deleted_is_said_to_be_gone(admin: httpx.Client) -> None:
    answer = admin.get("/peers?tag=gone")
    assert answer.status_code == 404
    assert "see all tags" in answer.text


def test_many_are_made_all_or_none(admin: httpx.Client, panel: Panel) -> None:
    assert submit(admin, "/peers/many/new", config="wg0", count="0", name_prefix="x-").status_code == 422
    assert submit(admin, "/peers/many/new", config="wg0", count="", name_prefix="x-").status_code == 422
    answer = submit(admin, "/peers/many/new", config="wg0", count="3", name_prefix="batch-")
    assert answer.url.path == "/peers"
    assert {"batch-1", "batch-2", "batch-3"} <= on(panel).keys()


def test_a_form_that_is_sent_twice_makes_them_once(admin: httpx.Client, panel: Panel) -> None:
    page = admin.get("/peers/many/new").text
    fields = {"config": "wg0", "count": "2", "name_prefix": "twice-", "form_token": token_of(page)}
    fields["sent"] = page.partition('name="sent" value="')[2].partition('"')[0]
    wrong = admin.post("/peers/many/new", data=fields | {"config": "gone"})
    assert wrong.status_code == 404, "and it can be sent again"
    answers = [admin.post("/peers/many/new", data=fields) for _ in range(2)]
    assert {answer.url.path for answer in answers} == {"/peers"}
    assert [name for name in on(panel) if name.startswith("twice-")] == ["twice-1", "twice-2"]
    with panel.sent_forms.once("other"):
        refused = admin.post("/peers/many/new", data=fields | {"sent": "other"})
    assert refused.status_code == 409, "it is under way"
    assert admin.post("/peers/many/new", data=fields | {"sent": "other"}).url.path == "/peers"
    assert "twice-4" in on(panel)


def test_who_may_not_change_peers_gets_neither(person: Person) -> None:
    viewer = person(Role.VIEWER)
    assert "/peers/many" not in viewer.get("/peers").text
    for path in ("/peers/many/change", "/peers/many/new"):
        assert viewer.get(path).status_code == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "set_job", "limit_gib": "1e999"},
        {"action": "set_job", "limit_gib": "9" * 5000},
        {"action": "set_job", "limit_gib": "nan"},
        {"action": "set_job", "limit_date": "2027-02-31"},
        {"action": "disable", "expect": "9" * 5000, "seen": "x"},
    ],
)
def test_numbers_that_cannot_be_are_refused(admin: httpx.Client, wrong: dict[str, str]) -> None:
    fields = {"config": "wg0", "filter_search": "user-00"}
    assert submit(admin, "/peers/many/change", **fields, **wrong).status_code in {409, 422}


def test_those_who_need_a_new_file_are_listed_and_the_filter_goes_along(admin: httpx.Client, panel: Panel) -> None:
    name, peer_id = next(iter(ids(panel).items()))
    with panel.store.write() as tx:
        new_files.taken(tx, [peer_id], 1.0)
        new_files.of_peers(tx, [peer_id])
    query = {"needs_new_file": "yes", "config": "wg0"}
    listed = admin.get("/peers", params=query).text
    assert (name in listed, "1 result" in listed, "Needs a new file: yes" in listed) == (True, True, True)
    assert "needs_new_file=yes" in listed.partition("/peers/many/change")[2].partition('"')[0]
    asked = admin.get("/peers/many/change", params=query).text
    assert 'name="filter_needs_new_file" value="yes"' in asked
    shown = submit(admin, "/peers/many/change", config="wg0", action="disable", filter_needs_new_file="yes")
    assert "1 peer fits" in shown.text, shown.text
    table = admin.get("/configs/wg0/peers/csv", params={"needs_new_file": "yes"}).text
    assert len(table.splitlines()) == 2
