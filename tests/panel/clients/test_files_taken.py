"""Whose file counts as taken: who was sent it to its end, and not who was sent a part of a ZIP, or a refusal."""

import threading
import time
import zipfile
from io import BytesIO
from typing import Any

import httpx
import pytest

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from wgfleet.panel.api import Panel, peer_file_sets
from wgfleet.panel.keypairs import new_key_pair
from wgfleet.panel.services.fleet import peer_lists

PEERS = "/api/configs/wg0/peers"
FILES = "/api/configs/wg0/files"
OLD = {"needs_new_file": "true"}


@pytest.fixture
def ids(panel: Panel, client: httpx.Client) -> dict[str, str]:
    """Make peers with files that are out of date, and one whose file was never taken."""
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"], dns=["9.9.9.9"])
    serve(panel, client, "wg0", "fra1")
    found = {name: made(client, PEERS, name=name)["id"] for name in ("anna", "bert", "cleo", "never")}
    for name in ("anna", "bert", "cleo"):
        assert client.get(f"/api/peers/{found[name]}/config").status_code == 200
    change(client, dns=["1.1.1.1"])
    assert old(client) == ["anna", "bert", "cleo"]
    return found


@pytest.fixture
def second_part(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Have the second part of a ZIP wait: whether it is asked for, and whether it may be made."""
    monkeypatch.setattr(peer_file_sets, "FIRST", 1)
    monkeypatch.setattr(peer_file_sets, "PAGE", 1)
    asked, let, real, calls = threading.Event(), threading.Event(), peer_lists.ids, 0

    def looked(*given: Any) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            asked.set()
            let.wait(60)
        return real(*given)

    monkeypatch.setattr(peer_lists, "ids", looked)
    return asked, let


def old(client: httpx.Client) -> list[str]:
    return sorted(each["name"] for each in client.get(PEERS, params=OLD).json()["items"])


def change(client: httpx.Client, **body: Any) -> None:
    answer = client.patch("/api/configs/wg0", json=body)
    assert answer.status_code == 200, answer.text


def beside(client: httpx.Client) -> httpx.Client:
    return httpx.Client(base_url=client.base_url, headers=dict(client.headers), trust_env=False)


@pytest.mark.usefixtures("ids")
def test_a_zip_that_breaks_off_takes_nobody_off_the_list(
    client: httpx.Client, second_part: tuple[threading.Event, threading.Event]
) -> None:
    asked, let = second_part
    with beside(client) as other, other.stream("GET", FILES) as answer:
        next(answer.iter_raw())
        assert asked.wait(60)
    let.set()
    time.sleep(0.5)  # for what is made in vain
    assert old(client) == ["anna", "bert", "cleo"]
    change(client, mtu=1300)
    assert old(client) == ["anna", "bert", "cleo"], "nobody has a file of the fourth"
    assert client.get(FILES, params=OLD).status_code == 200
    assert old(client) == []


@pytest.mark.usefixtures("ids")
def test_what_is_changed_while_a_zip_is_on_its_way_is_not_in_it(
    client: httpx.Client, ids: dict[str, str], second_part: tuple[threading.Event, threading.Event]
) -> None:
    asked, let = second_part
    got = bytearray()
    with beside(client) as other, other.stream("GET", FILES) as answer:
        parts = answer.iter_raw()
        got += next(parts)
        assert asked.wait(60)
        for name in ("anna", "never"):
            assert client.patch(f"/api/peers/{ids[name]}", json={"mtu": 1290}).status_code == 200
        let.set()
        for part in parts:
            got += part
    with zipfile.ZipFile(BytesIO(got)) as archive:
        said = {name: b"MTU = 1290" in archive.read(name) for name in archive.namelist()}
    assert said == {"anna.conf": False, "bert.conf": False, "cleo.conf": False, "never.conf": True}
    assert old(client) == ["anna"]


def test_a_file_of_the_first_time_that_was_changed_on_its_way_is_out_of_date(
    client: httpx.Client, ids: dict[str, str], second_part: tuple[threading.Event, threading.Event]
) -> None:
    asked, let = second_part
    for name in ("anna", "bert"):
        assert client.delete(f"/api/peers/{ids[name]}").status_code == 204
    made(client, PEERS, name="later")
    assert client.delete(f"/api/peers/{ids['cleo']}").status_code == 204
    with beside(client) as other, other.stream("GET", FILES) as answer:
        next(parts := answer.iter_raw())
        assert asked.wait(60)
        assert client.patch(f"/api/peers/{ids['never']}", json={"mtu": 1290}).status_code == 200
        let.set()
        list(parts)
    assert old(client) == ["never"]


def test_a_refused_file_is_not_taken(client: httpx.Client, ids: dict[str, str]) -> None:
    anna = f"/api/peers/{ids['anna']}"
    assert client.patch(anna, json={"public_key": new_key_pair()[1]}).status_code == 200
    refused = {
        f"{anna}/config?node=nowhere": 404,
        f"{anna}/qr": 409,
        f"{anna}/file?format=mikrotik": 409,
        f"{anna}/bundle?node=nowhere": 404,
    }
    for path, status in refused.items():
        assert client.get(path).status_code == status, path
        assert old(client) == ["anna", "bert", "cleo"], path
    assert client.get(f"{anna}/config").status_code == 200
    assert old(client) == ["bert", "cleo"]
