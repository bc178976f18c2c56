"""Tables of peers: what a spreadsheet may write, and that a table which comes back unchanged changes nothing."""

import asyncio
import csv
import io
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.panel.conftest import made, one_database
from tests.panel.store.plans import explained
from wgfleet.panel.api import Panel, peer_table_plans, peer_table_runs
from wgfleet.panel.api.peer_table_plans import Existing
from wgfleet.panel.domain import peer_table
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.errors import Invalid
from wgfleet.panel.reconcile.peer_changes import PeerChangeReconciler
from wgfleet.panel.services import audit, peer_changes, table_changes
from wgfleet.panel.services.access.callers import ADMIN, WRITE, Caller

PATH = "/api/configs/wg0/peers/csv"
PERSIAN = "\u0633\u0627\u0631\u0627-\u06af\u0648\u0634\u06cc"
CSV = {"content-type": "text/csv"}
ANYBODY = Caller("0" * 32, "test", frozenset({ADMIN}), stale_use=False)
PUBLIC = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="  # the example of wg(8)


def send(client: httpx.Client, text: str | bytes, *, preview: bool = False, **query: str) -> httpx.Response:
    content = text.encode() if isinstance(text, str) else text
    return client.post(PATH + "/preview" * preview, content=content, headers=CSV, params=query)


def peers(client: httpx.Client) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in client.get("/api/configs/wg0/peers").json()["items"]}


words = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12).map(str.strip)


@given(
    name=words.filter(bool),
    notes=st.text(st.sampled_from("=+-@'\"\uff1d,;/\n x"), max_size=9).map(str.strip),
    tags=st.lists(words.filter(lambda word: bool(word) and "/" not in word), max_size=3, unique=True),
    dns=st.none() | st.lists(st.sampled_from(["10.0.0.1", "fd00::1", "lan"]), max_size=2),
    rule_set=st.sampled_from([None, "", "guests"]),
    separator=st.sampled_from(",;"),
)
def test_what_is_written_is_read(
    name: str, notes: str, tags: list[str], dns: list[str] | None, rule_set: str | None, separator: str
) -> None:
    row = {"name": name, "notes": notes, "tags": tags, "dns": dns, "enabled": False, "download_speed": 20_000_000}
    row["rule_set"] = rule_set
    text = "".join(peer_table.write(iter([row]), separator))
    for encoding in ("utf-8", "utf-16"):
        (read,) = peer_table.read(text.removeprefix("\ufeff").encode(encoding))
        values, wrong = peer_table.values(read)
        assert (wrong, {key: values[key] for key in row}) == ([], row)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\t=1", "'=1", "\uff1d1"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert str(peer_table.plain(text)).startswith("'")


@pytest.mark.parametrize("name", ["x;=1+1", "x\t=1", "x|@a", 'x";=1', "a,b", "a\nb"])
def test_no_part_of_a_cell_is_a_formula_wherever_a_spreadsheet_divides(name: str) -> None:
    for separator in (",", ";", "\t"):
        row = peer_table.line([name, 7, None], separator)
        assert next(csv.reader(io.StringIO(row, newline=""), delimiter=separator)) == [name, "7", ""]
        assert row.startswith('"')


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "`name` among them"),
        (b"name\n", "no line with a peer"),
        (b"name,naem\na,b\n", "no column 'naem'"),
        (b"name,name\na,b\n", "twice"),
        (b'name\n"anna\n', "no CSV"),
        (b"name\n\xff\xfa\n", "UTF-8"),
        (b"name\na\0b\n", "no text"),
        (b"name\n" + b"a\n" * 10_001, "more than 10000"),
        (b"PK\x03\x04" + bytes(40), "no text"),
    ],
)
def test_what_is_no_table_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(Invalid, match="(?i)" + why):
        peer_table.read(data)


@pytest.mark.usefixtures("wg0")
def test_a_table_makes_peers_with_what_it_says(client: httpx.Client) -> None:
    made(client, "/api/tags", name="office")
    text = (
        f"sep=;\r\nName;Tags;Notes;DNS;Download speed;Addresses\r\n"
        f'{PERSIAN};office;"two\r\nlines; and more";none;20mbit;10.8.0.77\r\n\r\n;;;;;\r\nbert;;;;;\r\n'
    )
    seen = send(client, "\ufeff" + text, preview=True).json()
    assert (seen["created"], seen["names"], seen["wrong"], peers(client)) == (2, [PERSIAN, "bert"], 0, {})
    done = send(client, text)
    assert (done.status_code, done.json()["created"]) == (201, 2), done.text
    sara = peers(client)[PERSIAN]
    assert (sara["tags"], sara["download_speed"], "10.8.0.77" in sara["addresses"]) == (["office"], 20_000_000, True)
    details = client.get(f"/api/peers/{sara['id']}/details").json()
    assert details["notes"] == "two\nlines; and more"
    assert {each["name"]: each["value"] for each in details["settings"]}["dns"] == []


@pytest.mark.usefixtures("wg0")
def test_a_table_that_comes_back_changes_what_was_edited_alone(client: httpx.Client) -> None:
    made(client, "/api/tags", name="a, b")
    made(client, "/api/configs/wg0/peers", name="=cmd|' /C calc'!A0", notes="-\n'=x", tags=["a, b"], mtu=1280, dns=[])
    made(client, "/api/configs/wg0/peers", name="bert", networks=["192.168.7.0/24"], public_key=PUBLIC)
    for separator in ("comma", "semicolon"):
        answer = client.get(PATH, params={"separator": separator})
        assert "PrivateKey" not in answer.text
        assert "\n=cmd" not in answer.text
        seen = send(client, answer.content, preview=True, existing="update").json()
        assert (seen["same"], seen["created"], seen["changed"], seen["wrong"]) == (2, 0, 0, 0), seen
    before = peers(client)
    fits = {"search": "BER", "enabled": "true", "live": "false"}
    assert [row.cells["name"] for row in peer_table.read(client.get(PATH, params=fits).content)] == ["bert"]
    assert client.get(PATH, params={"tag": "gone"}).status_code == 404
    edited = answer.text.replace("bert;", f"{PERSIAN};").replace(";1280;", ";1300;")
    seen = send(client, edited, preview=True, existing="update").json()
    assert [(each["name"], each["columns"]) for each in seen["changes"]] == [
        ("=cmd|' /C calc'!A0", ["mtu"]),
        ("bert", ["name"]),
    ]
    done = send(client, edited, existing="update").json()
    assert (done["changed"], done["problems"]) == (2, [])
    after = peers(client)
    assert after[PERSIAN]["id"] == before["bert"]["id"]
    assert after[PERSIAN]["public_key"] == before["bert"]["public_key"]
    assert send(client, edited, preview=True, existing="update").json()["same"] == 2
    assert send(client, edited, preview=True).json()["wrong"] == 2
    assert send(client, edited, existing="skip").json()["same"] == 2


@one_database
@pytest.mark.usefixtures("wg0")
def test_numbers_are_taken_in_the_digits_of_other_keyboards(client: httpx.Client) -> None:
    table = "name,mtu,keepalive\nanna,\u06f1\u06f4\u06f0\u06f0,\u0662\u0665\n"
    assert send(client, table).status_code == 201
    details = client.get(f"/api/peers/{peers(client)['anna']['id']}/details").json()
    settings = {each["name"]: each["value"] for each in details["settings"]}
    assert (settings["mtu"], settings["keepalive"]) == (1400, 25)
    assert send(client, "name,mtu\nbert,\u06f1\u0627\n").status_code == 422


@pytest.mark.usefixtures("wg0")
def test_a_look_at_more_changes_asks_the_database_no_more(client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/tags", name="office")
    made(client, "/api/rule-sets", name="guests")
    made(client, "/api/configs/wg0/peers/batch", count=6, name_prefix="user-", first_number=1)

    def asked(number: int) -> int:
        rows = [f"user-{i},office,1300,guests" for i in range(1, number + 1)]
        table = "\n".join(["name,tags,mtu,rule_set", *rows]).encode()
        with explained(panel.store.engine) as plans:
            found = peer_table_plans.plan(panel, ANYBODY, "wg0", table, Existing.UPDATE)
        assert (len(found.changes), found.wrong) == (number, [])
        return plans.statements

    assert asked(6) == asked(2)


@pytest.mark.usefixtures("wg0")
def test_a_change_is_refused_to_who_does_not_see_its_rules_any_more(client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/configs/wg0/peers", name="anna")
    made(client, "/api/rule-sets", name="guests")
    found = peer_table_plans.plan(panel, ANYBODY, "wg0", b"name,rule_set\nanna,guests", Existing.UPDATE)
    limited = Caller("1" * 32, "limited", frozenset({WRITE}), stale_use=False, limit=Limit())
    done = peer_table_runs.carry_out(panel, limited, "wg0", found)
    assert (len(found.changes), done.changes, [each.column for each in done.wrong]) == (1, [], ["rule_set"])
    assert peers(client)["anna"]["rule_set"] is None


@pytest.mark.usefixtures("wg0")
def test_each_wrong_line_is_said_and_nothing_is_done(client: httpx.Client) -> None:
    made(client, "/api/configs/wg0/peers", name="anna", addresses=["10.8.0.9"])
    lines = [
        "name,enabled,mtu,tags,group,addresses,networks,public_key,dns",
        "anna,,,,,,,,",  # 2: there already
        "bert,perhaps,,,,,,,",
        "carl,,12,,,,,,",
        "dora,,,nope,,,,,",
        "emil,,,,nowhere,,,,",
        "fred,,,,,10.8.0.9,,,",  # 7: anna's
        "good,,,,,10.8.0.10,,,",
        "gert,,,,,10.8.0.10,,,",
        "hans,,,,,10.99.0.1,,,",
        "inge,,,,,,10.8.0.0/24,,",
        "jens,,,,,,,nokey,",
        "good,,,,,,,,",
        ",yes,,,,,,,",
        "karl,,,,,,,,not a name!",
    ]
    seen = send(client, "\n".join(lines), preview=True).json()
    assert seen["names"] == ["good"]
    assert {(each["line"], each["column"]) for each in seen["problems"]} == {
        (2, "name"), (3, "enabled"), (4, "mtu"), (5, "tags"), (6, "group"), (7, "addresses"), (9, "addresses"),
        (10, "addresses"), (11, "networks"), (12, "public_key"), (13, "name"), (14, "name"), (15, "dns"),
    }  # fmt: skip
    refused = send(client, "\n".join(lines))
    assert (refused.status_code, refused.json()["field"]) == (422, "table")
    assert "line 2, name" in refused.json()["detail"]
    assert set(peers(client)) == {"anna"}
    done = send(client, "\n".join(lines), leave_out_wrong="true").json()
    assert (done["created"], done["wrong"], set(peers(client))) == (1, 13, {"anna", "good"})


@pytest.mark.usefixtures("wg0")
def test_texts_that_the_call_refuses_are_wrong_in_the_look_at_it(client: httpx.Client) -> None:
    lines = ["name,notes,dns", 'anna,"x\x1b[31m",', "bert,ok,", '"x\u202e",,', "carl,,10.0.0.1"]
    for existing in ("refuse", "update"):
        seen = send(client, "\n".join(lines), preview=True, existing=existing).json()
        assert [(each["line"], each["column"]) for each in seen["problems"]] == [(2, "notes"), (4, "name")]
    done = send(client, "\n".join(lines), leave_out_wrong="true").json()
    assert (done["created"], done["wrong"], set(peers(client))) == (2, 2, {"bert", "carl"})
    anna = made(client, "/api/configs/wg0/peers", name="anna")
    table = [
        f'{anna["id"]},anna,"x\x1b",,',
        f"{peers(client)['bert']['id']},b\u2066,,,",
        ",carl,,nonet,",
        ",bert,,,nokey",
    ]
    seen = send(
        client, "\n".join(["id,name,notes,networks,public_key", *table]), preview=True, existing="update"
    ).json()
    assert seen["changed"] == 0
    assert {(each["line"], each["column"]) for each in seen["problems"]} == {
        (2, "notes"), (3, "name"), (4, "networks"), (5, "public_key"),
    }  # fmt: skip


@pytest.mark.usefixtures("wg0")
def test_what_only_one_may_give_is_refused_to_others(client: httpx.Client) -> None:
    weak = made(client, "/api/keys", name="weak", scopes=["write"])["key"]
    answer = client.post(PATH, content=b"name,owner\nanna,admin\n", headers={**CSV, "authorization": f"Bearer {weak}"})
    assert answer.status_code == 403
    assert client.post(PATH, json={"name": "x"}).status_code == 422
    assert send(client, "name,id\nanna,00000000000000000000000000000000\n").status_code == 422


class KilledError(BaseException):
    """The process ended here."""


def go_on(panel: Panel, operation_id: str, steps: int = 100) -> None:
    """Do the next steps of an operation, as a panel that was started just now."""
    reconciler = PeerChangeReconciler(panel.store, panel.vault, panel.settings)
    for _ in range(steps):
        if asyncio.run(reconciler.reconcile(operation_id)) is None:
            return


@pytest.fixture
def many(client: httpx.Client, wg0: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """A table that changes nine peers, for which that is many."""
    monkeypatch.setattr(peer_table_runs, "MOST_AT_ONCE", 8)
    monkeypatch.setattr(peer_changes, "LINES", 2)
    rows = [{"name": f"p{number}"} for number in range(9)]
    assert client.post("/api/configs/wg0/peers/batch", json={"peers": rows}).status_code == 201
    assert wg0["name"] == "wg0"
    return "name,notes,networks\n" + "".join(f"p{n},note {n},10.77.{n}.0/24\n" for n in range(9)) + "new,,\n"


def test_many_changes_are_an_operation_that_goes_on_after_a_panel_that_was_killed(
    client: httpx.Client, panel: Panel, many: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = send(client, many, existing="update")
    begun = answer.json()
    assert (answer.status_code, begun["created"], begun["changed"]) == (202, 1, 9)
    operation = begun["operation"]
    assert answer.headers["location"] == f"/api/operations/{operation['id']}"
    again = send(client, many.replace("new,", "newer,"), existing="update")
    assert (again.status_code, "newer" in peers(client)) == (409, False), "while that is under way"
    go_on(panel, operation["id"], 1)
    make = table_changes.make

    def killed(*words: Any) -> None:
        make(*words)
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(table_changes, "make", killed)
        with pytest.raises(KilledError):
            go_on(panel, operation["id"])
    # Meanwhile one goes, and another takes what a line gives to a third.
    client.delete(f"/api/peers/{peers(client)['p5']['id']}")
    client.patch(f"/api/peers/{peers(client)['p0']['id']}", json={"networks": ["10.77.7.0/24"]})
    go_on(panel, operation["id"])
    ended = client.get(f"/api/operations/{operation['id']}").json()
    assert (ended["state"], ended["result"]["peers_changed"]) == ("failed", 7)
    assert [*ended["result"]["refused"]] == ["p7"]
    assert "'p0'" in ended["result"]["refused"]["p7"]
    found = peers(client)
    assert {name: each["networks"] for name, each in found.items() if name in {"p7", "p8"}} == {
        "p7": [],
        "p8": ["10.77.8.0/24"],
    }
    notes = {name: client.get(f"/api/peers/{each['id']}/details").json()["notes"] for name, each in found.items()}
    assert notes == {f"p{n}": f"note {n}" * (n != 7) for n in range(9) if n != 5} | {"new": ""}
    with panel.store.read() as tx:
        entries = audit.page(tx, entity_type="peer", action="updated", limit=100)[0]
        named = sorted(entry.details["name"] for entry in entries if "notes" in entry.details["changed"])
    assert named == ["p0", "p1", "p2", "p3", "p4", "p6", "p8"], "each once"


def test_lines_take_networks_that_lines_before_them_give_up_and_none_that_those_have_taken(
    client: httpx.Client, wg0: dict[str, Any]
) -> None:
    path = f"/api/configs/{wg0['name']}/peers"
    made(client, path, name="anna", networks=["10.77.0.0/24"])
    made(client, path, name="bert", networks=["10.77.1.0/24"])
    moved = send(client, "name,networks\nanna,10.77.2.0/24\nbert,10.77.0.0/24\n", existing="update")
    assert (moved.json()["changed"], moved.json()["problems"]) == (2, [])
    taken = send(client, "name,networks\nanna,10.77.3.0/24\nbert,10.77.3.0/25\n", existing="update").json()
    assert (taken["changed"], [(each["line"], each["column"]) for each in taken["problems"]]) == (1, [(3, "networks")])
    assert "'anna'" in taken["problems"][0]["detail"]
    networks = {name: each["networks"] for name, each in peers(client).items()}
    assert networks == {"anna": ["10.77.3.0/24"], "bert": ["10.77.0.0/24"]}


def test_many_changes_that_are_cancelled_leave_the_rest_as_they_are(
    client: httpx.Client, panel: Panel, many: str
) -> None:
    operation = send(client, many, existing="update").json()["operation"]
    go_on(panel, operation["id"], 2)
    assert client.post(f"/api/operations/{operation['id']}/cancel").status_code == 200
    go_on(panel, operation["id"])
    ended = client.get(f"/api/operations/{operation['id']}").json()
    assert (ended["result"]["peers_changed"], ended["result"]["peers_left"]) == (4, 5)
    assert [name for name, each in peers(client).items() if each["networks"]] == ["p0", "p1", "p2", "p3"]


@pytest.mark.usefixtures("wg0")
def test_a_row_with_too_many_cells_is_reported_with_others_and_left_out(client: httpx.Client) -> None:
    lines = ["name,mtu", "anna,1400,x", "bob,lots", "carol,1400"]
    done = send(client, "\n".join(lines), preview=True).json()
    assert [(each["line"], each["column"]) for each in done["problems"]] == [(2, ""), (3, "mtu")]
    assert "more cells than there are columns" in done["problems"][0]["detail"]
    assert send(client, "\n".join(lines), leave_out_wrong="true").json()["created"] == 1
