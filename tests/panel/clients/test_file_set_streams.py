"""The files of all peers as they come: at once, of those that there were, and no whole ZIP where it breaks off."""

import io
import threading
import zipfile
from collections.abc import Callable

import httpx
import pytest

from tests.panel.clients.test_file_sets import newest_entry, unpacked
from tests.panel.conftest import made
from wgfleet.panel.api import peer_file_sets
from wgfleet.panel.services.fleet import peer_lists

FILES = "/api/configs/wg0/files"
Meanwhile = Callable[[Callable[[], object]], None]


@pytest.fixture
def key(client: httpx.Client) -> dict[str, str]:
    """A key of somebody else, with five peers to read the files of, two in a part."""
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com")
    made(client, "/api/configs/wg0/peers/batch", count=5)
    return made(client, "/api/keys", name="reader", scopes=["read", "secrets"])


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Have something done when the second part is made."""
    monkeypatch.setattr(peer_file_sets, "FIRST", 1)
    monkeypatch.setattr(peer_file_sets, "PAGE", 2)

    def have(act: Callable[[], object]) -> None:
        real, calls = peer_lists.ids, 0

        def looked(*given: object) -> object:
            nonlocal calls
            calls += 1
            if calls == 2:
                act()
            return real(*given)  # type: ignore[arg-type] # as they were given

        monkeypatch.setattr(peer_lists, "ids", looked)

    return have


@pytest.mark.usefixtures("key")
def test_the_first_part_is_there_before_the_second_is_made(client: httpx.Client, meanwhile: Meanwhile) -> None:
    arrived = threading.Event()
    meanwhile(lambda: arrived.wait(60))
    with client.stream("GET", FILES) as answer:
        parts = answer.iter_raw()
        first = next(parts)
        assert (first.startswith(b"PK\x03\x04"), first.count(b"PK\x03\x04")) == (True, 1)
        arrived.set()
        whole = first + b"".join(parts)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert len(archive.namelist()) == 5


@pytest.mark.usefixtures("key")
def test_who_is_made_meanwhile_is_not_in_it_as_not_in_the_number(client: httpx.Client, meanwhile: Meanwhile) -> None:
    header = dict(client.headers)

    def add() -> None:
        with httpx.Client(base_url=client.base_url, headers=header, trust_env=False) as other:
            made(other, "/api/configs/wg0/peers", name="late")

    meanwhile(add)
    assert len(unpacked(client.get(FILES))) == 5
    assert [each["name"] for each in client.get("/api/configs/wg0/peers?search=late").json()["items"]] == ["late"]
    entries = client.get("/api/audit-logs?action=read_configs").json()["items"]
    assert [each["details"]["peers"] for each in entries] == [5]
    assert len(unpacked(client.get(FILES))) == newest_entry(client)["details"]["peers"] == 6


@pytest.mark.parametrize("path", ["/api/keys/{key}", "/api/configs/wg0?force=true"])
def test_a_key_that_is_revoked_and_a_config_that_goes_end_it_without_an_end(
    client: httpx.Client, key: dict[str, str], meanwhile: Meanwhile, path: str
) -> None:
    def remove() -> None:
        with httpx.Client(base_url=client.base_url, headers=admin, trust_env=False) as other:
            gone = other.delete(path.format(key=key["id"]))
            assert gone.is_success, gone.text

    admin = dict(client.headers)
    meanwhile(remove)
    got = bytearray()

    def fetch() -> None:
        headers = {"X-API-Key": key["key"]}
        with httpx.stream("GET", f"{client.base_url}{FILES}", headers=headers, trust_env=False) as answer:
            assert answer.status_code == 200
            for part in answer.iter_raw():
                got.extend(part)

    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        fetch()
    assert got.startswith(b"PK\x03\x04")
    assert not zipfile.is_zipfile(io.BytesIO(got))
