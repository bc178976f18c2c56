"""Imports over the API: the same keys and files, what is in the way, and the same import again."""

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.imports import samples
from tests.imports.samples import Keys
from tests.panel.clients.test_files import serve
from tests.panel.conftest import made, one_database
from wgfleet.imports import wg_quick, wgdashboard
from wgfleet.imports.fleet import ImportedFleet, ImportedInterface
from wgfleet.imports.wgdashboard import GIB
from wgfleet.panel.api import Panel


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def fleet(tmp_path: Path, keys: Keys) -> ImportedFleet:
    samples.wgdashboard(tmp_path, keys)
    return wgdashboard.read(tmp_path, tmp_path)


def body(fleet: ImportedFleet, **more: Any) -> dict[str, Any]:
    return {"interface": msgspec.to_builtins(fleet.interfaces[0]), "tags": msgspec.to_builtins(fleet.tags), **more}


def interface(keys: Keys, *peers: str) -> dict[str, Any]:
    """Return a server's interface with peers, each a section of wg-quick."""
    head = f"[Interface]\nPrivateKey = {keys.private('server')}\nListenPort = 51833\nAddress = 10.9.0.1/24\n"
    found: ImportedInterface = wg_quick.server("office", head + "\n".join(peers), [])
    return {"interface": msgspec.to_builtins(found)}


def peer(keys: Keys, name: str, allowed: str, comment: str = "") -> str:
    return f"[Peer]\n{comment}\nPublicKey = {keys.public(name)}\nAllowedIPs = {allowed}\n"


def done(client: httpx.Client, content: dict[str, Any], path: str = "/api/imports") -> dict[str, Any]:
    answer = client.post(path, json=content)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def fates(found: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["fate"] for each in found["peers"]}


@one_database
def test_a_user_keeps_keys_addresses_and_what_the_file_says(
    panel: Panel, client: httpx.Client, fleet: ImportedFleet, keys: Keys
) -> None:
    preview = done(client, body(fleet), "/api/imports/preview")
    assert client.get("/api/configs").json()["items"] == []
    assert client.get("/api/tags").json()["items"] == []
    found = done(client, body(fleet))
    assert found == preview
    assert found["created"]
    config = client.get("/api/configs/office").json()
    assert (config["listen_port"], config["pools"], config["public_key"]) == (
        51833,
        ["10.9.0.0/24"],
        keys.public("server"),
    )
    assert client.get("/api/tags/sales").json()["color"] == "#333399"
    serve(panel, client, "office", "fra1")
    rows = {row["public_key"]: row for row in client.get("/api/configs/office/peers").json()["items"]}
    anna, bob = rows[keys.public("anna")], rows[keys.public("bob")]
    assert (anna["name"], anna["tags"], anna["addresses"]) == ("Anna's laptop", ["sales"], ["10.9.0.7"])
    assert (bob["enabled"], bob["has_private_key"]) == (False, False)
    assert bob["name"].startswith("peer-")
    text = client.get(f"/api/peers/{anna['id']}/config").text
    for line in (
        f"PrivateKey = {keys.private('anna')}",
        f"PublicKey = {keys.public('server')}",
        "Address = 10.9.0.7/32",
        "DNS = 9.9.9.9",
        "MTU = 1420",
        "AllowedIPs = 10.0.0.0/8",
        "PersistentKeepalive = 21",
        "Endpoint = vpn.example.org:443",
    ):
        assert f"{line}\n" in text
    assert client.get(f"/api/peers/{anna['id']}/details").json()["notes"] == "floor 2"
    assert any("hook" in remark for remark in found["remarks"])
    (told,) = [each for each in found["peers"] if each["public_key"] == keys.public("anna")]
    assert told["carried_over"][0] == f"limit: restrict if total_data lgt {20 * GIB}"
    assert told["carried_over"][1].startswith("limit: restrict if date lgt 2027-03-31T18:30:00")
    assert "soon" in told["remarks"][-1]
    used = {"received": round(1.25 * GIB), "sent": round(2.5 * GIB)}
    assert {name: anna["usage"][name] for name in used} == used
    limits = client.get(f"/api/peers/{anna['id']}/limits").json()
    assert [each["used"] for each in limits["jobs"] if each["field"] == "total_data"] == [sum(used.values())]


def test_the_same_import_again_changes_nothing(client: httpx.Client, fleet: ImportedFleet) -> None:
    done(client, body(fleet))
    before = client.get("/api/configs/office/peers").json(), client.get("/api/configs/office").json()
    again = done(client, body(fleet))
    assert not again["created"]
    assert set(fates(again).values()) == {"same"}
    assert (client.get("/api/configs/office/peers").json(), client.get("/api/configs/office").json()) == before


@one_database
def test_what_was_added_at_the_source_is_added_here(client: httpx.Client, keys: Keys) -> None:
    anna, bert = peer(keys, "anna", "10.9.0.2/32", "# Anna"), peer(keys, "bert", "10.9.0.3/32", "# Anna")
    done(client, interface(keys, anna))
    found = done(client, interface(keys, anna, bert))
    assert list(fates(found).values()) == ["same", "new"]
    (renamed,) = [each for each in found["peers"] if each["fate"] == "new"]
    assert renamed["name"].startswith("Anna-")
    assert "taken" in renamed["remarks"][0]
    assert done(client, interface(keys, anna, bert))["peers"][1]["name"] == renamed["name"]


def test_what_cannot_be_kept_is_said_of_each_peer(client: httpx.Client, keys: Keys) -> None:
    found = done(
        client,
        interface(
            keys,
            peer(keys, "a", "10.9.0.2/32, 10.9.0.3/32"),
            peer(keys, "b", "10.9.0.2/32"),
            peer(keys, "c", "10.9.0.1/32"),
            peer(keys, "d", "172.16.0.9/32"),
            peer(keys, "e", ""),
            peer(keys, "a", "10.9.0.9/32"),
        ),
    )
    rows = found["peers"]
    assert [row["fate"] for row in rows] == ["new"] * 5 + ["left_out"]
    words = ["second address", "has 10.9.0.2 too", "belongs to the nodes", "new file", "new file", "public key"]
    for row, word in zip(rows, words, strict=True):
        assert any(word in remark for remark in row["remarks"]), row
    listed = client.get("/api/configs/office/peers").json()["items"]
    assert len({tuple(row["addresses"]) for row in listed}) == 5  # each another one


def test_names_that_nobody_can_have_are_replaced(client: httpx.Client, keys: Keys) -> None:
    content = interface(keys, *(peer(keys, name, f"10.9.0.{number}/32") for number, name in enumerate("abcdefg", 2)))
    names = [
        "a\nb",
        " \u3164 ",
        "x" * 300,
        "نام فارسی",
        "👨‍👩‍👧 family",
        "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",
        "\u202eevil\u202c",
    ]
    for row, name in zip(content["interface"]["peers"], names, strict=True):
        row["name"] = name[:256]
    listed = [row["name"] for row in done(client, content)["peers"]]
    assert listed[0] == "a b"
    assert listed[1].startswith("peer-")
    assert listed[2] == "x" * 64
    assert listed[3:6] == names[3:6]
    assert listed[6] == "evil"


def test_another_key_and_a_missing_one_are_refused(client: httpx.Client, fleet: ImportedFleet, keys: Keys) -> None:
    made(client, "/api/configs", name="office", pools=["10.7.0.0/24"])
    refused = client.post("/api/imports", json=body(fleet))
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (409, "config")
    content = body(fleet, config="other")
    content["interface"]["private_key"] = None
    refused = client.post("/api/imports", json=content)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "private_key")
    content = body(fleet, config="other")
    content["interface"]["peers"][0]["private_key"] = keys.private("bob")
    refused = client.post("/api/imports", json=content)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "peers[0].private_key")
    assert keys.private("bob") not in refused.text
    assert [each["name"] for each in client.get("/api/configs").json()["items"]] == ["office"]


def test_limits_say_beforehand_whom_they_cut_off(client: httpx.Client, keys: Keys) -> None:
    content = interface(keys, *(peer(keys, name, f"10.9.0.{i}/32", f"# {name}") for i, name in enumerate("abcdef", 2)))
    rows = list(content["interface"]["peers"])
    total = {"field": "total_data", "operator": "lgt", "value": "1000", "action": "restrict"}
    rows[0] |= {"expires_at": 1_700_000_000.0}
    rows[1] |= {"jobs": [{**total, "action": "delete"}], "received": 900, "sent": 901}
    rows[2] |= {"jobs": [total], "received": 998}
    rows[3] |= {"jobs": [{**total, "operator": "x"}, {**total, "value": "-1"}, {**total, "field": "schedule"}]}
    rows[4] |= {"jobs": [{**total, "operator": "lst", "action": "delete"}, {**total, "field": "date"}]}
    rows[5] |= {"expires_at": 1e300, "jobs": [{**total, "action": "warn"}, {**total, "value": "9" * 30}]}
    found = done(client, content, "/api/imports/preview")
    assert "'b' would be deleted at once, and their files never work again" in found["remarks"]
    assert "'a' would be cut off at once, until the limit no longer says so" in found["remarks"]
    assert [len(each["carried_over"]) for each in found["peers"]] == [1, 2, 2, 0, 0, 0]
    assert [sum("no like here" in remark for remark in each["remarks"]) for each in found["peers"]] == [
        0,
        0,
        0,
        3,
        2,
        3,
    ]
    assert done(client, content) == found
    again = done(client, content)
    assert [each["carried_over"] for each in again["peers"]] == [[]] * 6
    listed = {each["name"]: each for each in client.get("/api/configs/office/peers").json()["items"]}
    assert [(listed[name]["usage"] or {}).get("received") for name in "abc"] == [None, 900, 998]
    assert len(client.get(f"/api/peers/{listed['c']['id']}/jobs").json()["items"]) == 1


@one_database
def test_an_owner_is_the_user_of_that_name_or_a_line_of_the_notes(client: httpx.Client, keys: Keys) -> None:
    anna = made(client, "/api/users", name="anna", role="self-service")
    names = ["anna", "bert", anna["id"], "anna", "carl"]
    content = interface(keys, *(peer(keys, f"p{i}", f"10.9.0.{i}/32", f"# p{i}") for i in range(2, 7)))
    for row, name in zip(content["interface"]["peers"], names, strict=True):
        row["owner"] = name
    content["interface"]["peers"][3]["notes"] = "hers"
    content["interface"]["peers"][4]["notes"] = "x" * 3_999
    weak = made(client, "/api/keys", name="weak", scopes=["write"])["key"]
    with httpx.Client(base_url=client.base_url, headers={"authorization": f"Bearer {weak}"}) as other:
        preview = done(other, content, "/api/imports/preview")
    assert "scope 'secrets'" in preview["peers"][0]["carried_over"][0]
    found = done(client, content)
    assert "no room" in found["peers"][4]["remarks"][0]
    listed = {each["name"]: each for each in client.get("/api/configs/office/peers").json()["items"]}
    assert [listed[f"p{i}"]["owner_id"] for i in range(2, 7)] == [anna["id"], None, None, anna["id"], None]
    notes = [client.get(f"/api/peers/{listed[f'p{i}']['id']}/details").json()["notes"] for i in range(2, 6)]
    assert notes == ["", "owner: bert", f"owner: {anna['id']}", "hers"]


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("addresses", ["10.9.0.0.1/24"]),
        ("addresses", []),
        ("dns", ["no name"]),
        ("client_allowed_ips", ["x"]),
        ("listen_port", 70000),
        ("mtu", 5),
        ("name", "a/b"),
        ("endpoint", "nowhere"),
        ("endpoint", "[::1"),
        ("endpoint", "vpn.example.org:99999"),
    ],
)
def test_a_hostile_or_broken_interface_is_refused_with_words(
    client: httpx.Client, keys: Keys, field: str, value: object
) -> None:
    content = interface(keys, peer(keys, "a", "10.9.0.2/32"))
    content["interface"][field] = value
    for path in ("/api/imports/preview", "/api/imports"):
        refused = client.post(path, json=content)
        assert refused.status_code == 422, refused.text
        assert keys.private("server") not in refused.text
    assert client.get("/api/configs").json()["items"] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("addresses", ["10.9.0.x"]),
        ("networks", ["192.168.0.0/99"]),
        ("public_key", "short"),
        ("preshared_key", "short"),
        ("mtu", 1),
        ("keepalive", 70000),
        ("dns", ["no name"]),
        ("notes", "a\x00b"),
        ("tags", ["a\nb"]),
    ],
)
@one_database
def test_a_hostile_or_broken_peer_is_refused_with_its_place(
    client: httpx.Client, keys: Keys, field: str, value: object
) -> None:
    content = interface(keys, peer(keys, "a", "10.9.0.2/32"), peer(keys, "b", "10.9.0.3/32"))
    content["interface"]["peers"][1][field] = value
    refused = client.post("/api/imports", json=content)
    assert refused.status_code == 422, refused.text
    assert client.get("/api/configs").json()["items"] == []


@one_database
@pytest.mark.parametrize(
    ("endpoint", "field"), [("vpn.example.com:²", "endpoint"), ("vpn.example.com:", "endpoint"), (":", "endpoint"),
                            ("vpn.example.com:99999999", "port"), ("a b:51820", "domain")]
)  # fmt: skip
def test_an_endpoint_that_is_none_is_refused_at_its_field(
    client: httpx.Client, keys: Keys, endpoint: str, field: str
) -> None:
    content = interface(keys, peer(keys, "anna", "10.9.0.2/32"))
    content["interface"]["endpoint"] = endpoint
    answer = client.post("/api/imports", json=content)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


@one_database
def test_peers_for_a_server_whose_key_nobody_knows_come_with_a_remark(client: httpx.Client, keys: Keys) -> None:
    anna, bert = peer(keys, "anna", "10.9.0.2/32"), peer(keys, "bert", "10.9.0.3/32")
    done(client, interface(keys, anna))
    content = interface(keys, anna, bert)
    del content["interface"]["private_key"], content["interface"]["public_key"]
    found = done(client, content, "/api/imports/preview")
    assert any("server's key" in remark for remark in found["remarks"])


def test_rules_become_sets_that_equal_peers_share_and_are_made_once(client: httpx.Client, keys: Keys) -> None:
    whole = interface(keys, *(peer(keys, f"p{number}", f"10.9.0.{number + 2}/32") for number in range(4)))
    rules = ["allow node", "allow tcp/443 192.0.2.0/24"]
    for row, own in zip(
        whole["interface"]["peers"], (rules, [*rules, "allow nonsense"], ["allow 192.0.2.7"], None), strict=True
    ):
        row["destinations"] = own
    preview = done(client, whole, "/api/imports/preview")
    assert client.get("/api/rule-sets").json()["items"] == []
    assert done(client, whole) == preview
    first, second = client.get("/api/rule-sets").json()["items"]
    assert (first["name"], first["otherwise_allowed"], second["name"]) == ("office-import-1", False, "office-import-2")
    assert [(each["allow"], each["place"], each["networks"]) for each in first["rules"]] == [
        (True, "node", []),
        (True, "anywhere", ["192.0.2.0/24"]),
    ]
    has = [row["rule_set"] for row in client.get("/api/configs/office/peers").json()["items"]]
    assert sorted(has, key=str) == sorted(["office-import-1", "office-import-1", "office-import-2", None], key=str)
    told = preview["peers"][1]
    assert any("rule set 'office-import-1'" in said for said in told["carried_over"])
    assert any("allow nonsense" in said for said in told["remarks"])
    done(client, whole)
    assert len(client.get("/api/rule-sets").json()["items"]) == 2
    more = interface(keys, peer(keys, "late", "10.9.0.9/32"))
    more["interface"]["peers"][0]["destinations"] = rules
    done(client, more)
    assert len(client.get("/api/rule-sets").json()["items"]) == 2


def test_a_name_that_no_config_can_have_is_said_with_the_way_out(client: httpx.Client, keys: Keys) -> None:
    content = interface(keys, peer(keys, "anna", "10.9.0.7/32"))
    content["interface"]["name"] = "our server (old)"
    for path in ("/api/imports/preview", "/api/imports"):
        answer = client.post(path, json=content)
        problem = answer.json()
        assert (answer.status_code, problem["field"]) == (422, "config")
        assert "'our server (old)'" in problem["detail"]
        assert "1 to 15 characters" in problem["detail"]
    answer = client.post("/api/imports", json={**content, "config": "eth0"})
    assert (answer.status_code, answer.json()["field"]) == (422, "config")
    assert done(client, {**content, "config": "office"})["created"]


def test_too_many_peers_are_counted_and_the_way_out_is_said(client: httpx.Client, keys: Keys) -> None:
    content = interface(keys)
    content["interface"]["peers"] = [{"public_key": "x"}] * 10_001
    answer = client.post("/api/imports/preview", json=content)
    detail = answer.json()["detail"]
    assert answer.status_code == 422
    assert "at most 10000 peers, and these are 10001; split" in detail


def test_an_interface_that_is_here_under_another_name_is_named(client: httpx.Client, keys: Keys) -> None:
    content = interface(keys, peer(keys, "anna", "10.9.0.7/32"))
    done(client, {**content, "config": "berlin"})
    for path in ("/api/imports/preview", "/api/imports"):
        answer = client.post(path, json=content)
        assert (answer.status_code, answer.json()["field"]) == (409, "config")
        assert "as config 'berlin'" in answer.json()["detail"]
    assert set(fates(done(client, {**content, "config": "berlin"})).values()) == {"same"}


def test_a_limit_whose_date_is_none_is_said_in_words_of_people(client: httpx.Client, fleet: ImportedFleet) -> None:
    found = done(client, body(fleet), "/api/imports/preview")
    (said,) = [each for row in found["peers"] for each in row["remarks"] if "has no like here" in each]
    assert "isoformat" not in said
    assert "its date is none" in said


def test_a_private_key_alone_says_whose_server_it_is(client: httpx.Client, keys: Keys) -> None:
    """Without its public half a second config of one key came to be, and peers came into one that they do not fit."""
    content = interface(keys, peer(keys, "anna", "10.9.0.2/32"))
    del content["interface"]["public_key"]
    found = done(client, content | {"config": "first"})
    assert not [each for each in found["remarks"] if "server's key" in each]
    assert client.get("/api/configs/first").json()["public_key"] == keys.public("server")
    assert done(client, content | {"config": "first"})["created"] is False
    again = client.post("/api/imports", json=content | {"config": "second"})
    assert again.status_code == 409
    assert "config 'first'" in again.json()["detail"]
    content["interface"]["private_key"] = keys.private("another")
    other = client.post("/api/imports", json=content | {"config": "first"})
    assert other.status_code == 409
    assert "has another key" in other.json()["detail"]
