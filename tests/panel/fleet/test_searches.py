"""What is searched for means the same wherever peers are looked for: in their list, its table, files, and changes."""

from typing import Any

import httpx
import pytest

from tests.panel.conftest import made, one_database


def listed(client: httpx.Client, search: str, **asked: Any) -> set[str]:
    names: set[str] = set()
    params = {"search": search, **asked}
    while True:
        page = client.get("/api/configs/wg0/peers", params=params).json()
        names |= {peer["name"] for peer in page["items"]}
        if page["next"] is None:
            return names
        params["after"] = page["next"]


def in_table(client: httpx.Client, search: str) -> set[str]:
    lines = client.get("/api/configs/wg0/peers/csv", params={"search": search}).text.splitlines()
    return {line.split(",")[0] for line in lines[1:]}


@pytest.mark.usefixtures("wg0")
def test_an_address_is_found_whole_in_the_list_too(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])
    addresses = {"anna": "10.8.0.7", "ben": "10.8.0.70", "not 10.8.0.7": "10.8.0.9", "bo": "fd00:8::5"}
    for name, address in addresses.items():
        made(client, "/api/configs/wg0/peers", name=name, addresses=[address])
    other = made(client, "/api/configs/wg1/peers", name="other", addresses=["10.9.0.7"])
    for search, names in {
        "10.8.0.7": {"anna", "not 10.8.0.7"},
        " 10.8.0.70 ": {"ben"},
        "fd00:8:0::5": {"bo"},
        "10.9.0.7": set(),
        "10.8.0.200": set(),
        other["public_key"]: set(),
    }.items():
        for limit in (1, 100):
            assert listed(client, search, limit=limit) == names, search
        assert in_table(client, search) == names, search
        preview = client.post(
            "/api/configs/wg0/peers/changes/preview", json={"filter": {"search": search}, "action": "disable"}
        )
        assert preview.json().get("peers", 0) == len(names), search


UNREADABLE = ("", "%20%20", "%C2%A0", "%FF", "a%C3", "a%7Fb", "%C2%85", "%00", "a%0Ab")


@one_database
@pytest.mark.usefixtures("wg0")
@pytest.mark.parametrize("search", UNREADABLE)
def test_a_search_for_nothing_that_can_be_seen_is_refused_everywhere(client: httpx.Client, search: str) -> None:
    made(client, "/api/configs/wg0/peers", name="anna")
    for path in ("peers", "peers/csv", "files"):
        answer = client.get(f"/api/configs/wg0/{path}?search={search}")
        assert answer.status_code == 422, path
        assert "search" in answer.text


@one_database
@pytest.mark.usefixtures("wg0")
def test_a_name_beside_other_letters_is_still_found(client: httpx.Client) -> None:
    made(client, "/api/configs/wg0/peers", name="Zoë 100% é")
    for search in ("zo%C3%AB", "ZO%C3%8B", "%25", "100%25", "e%CC%81"):
        assert len(client.get(f"/api/configs/wg0/peers?search={search}").json()["items"]) == 1, search


@one_database
def test_what_is_not_utf_8_is_refused_by_its_name(client: httpx.Client) -> None:
    answer = client.get("/api/audit-logs?actor=%E9")
    assert (answer.status_code, answer.json()["field"]) == (422, "actor")


def test_the_devices_of_a_user_are_listed_page_by_page(client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, "/api/users", name="carl", role="self-service")
    wanted = [made(client, "/api/configs/wg0/peers", name=f"carl-{n}", owner="carl")["id"] for n in range(3)]
    made(client, "/api/configs/wg0/peers", name="carla")
    found, after = [], None
    while True:
        query = {"owner": "carl", "limit": "2"} | ({"after": after} if after else {})
        page = client.get("/api/configs/wg0/peers", params=query).json()
        found += [each["id"] for each in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert found == wanted
    for more in ({"search": "carl"}, {"sort": "name"}, {"sort": "traffic"}):
        names = [
            each["name"]
            for each in client.get("/api/configs/wg0/peers", params={"owner": "carl"} | more).json()["items"]
        ]
        assert sorted(names) == ["carl-0", "carl-1", "carl-2"]
    assert client.get("/api/configs/wg0/peers", params={"owner": "nobody"}).json()["items"] == []
