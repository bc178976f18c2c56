"""The files of all peers of a config in one ZIP: the same as one by one, read once, audited once, for few."""

import io
import zipfile
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from tests.panel.clients.test_files import serve
from tests.panel.conftest import made
from wgfleet.panel.api import Panel
from wgfleet.panel.keypairs import new_key_pair


def unpacked(answer: httpx.Response) -> dict[str, str]:
    """Return the texts in a ZIP by the names of its files."""
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def one_by_one(client: httpx.Client, config: str, **query: str) -> dict[str, str]:
    peers = client.get(f"/api/configs/{config}/peers").json()["items"]
    return {peer["name"]: client.get(f"/api/peers/{peer['id']}/config", params=query).text for peer in peers}


def newest_entry(client: httpx.Client) -> dict[str, Any]:
    entry: dict[str, Any] = client.get("/api/audit-logs?limit=1").json()["items"][0]
    return entry


@pytest.mark.usefixtures("wg0")
def test_a_clusters_files_are_those_of_its_peers_one_by_one_and_audited_by_one_entry(
    panel: Panel, client: httpx.Client
) -> None:
    serve(panel, client, "wg0", "fra1", "ams1")
    made(client, "/api/tags", name="office", mtu=1380, dns=["10.8.0.1"])
    made(client, "/api/tags", name="zoo", mtu=1300, keepalive=7)
    made(client, "/api/configs/wg0/peers", name="anna", tags=["zoo", "office"], networks=["192.168.7.0/24"])
    made(client, "/api/configs/wg0/peers", name="bert", public_key=new_key_pair()[1], mtu=1290, tags=["zoo"])
    made(client, "/api/configs/wg0/peers", name="cleo", preshared_key=False, excluded_networks=["10.0.0.0/8"])
    for _ in range(2):
        answer = client.get("/api/configs/wg0/files")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="wg0-files.zip"'
        entry = newest_entry(client)
        assert (entry["action"], entry["entity_type"]) == ("read_configs", "config")
        assert (entry["details"]["name"], entry["details"]["peers"]) == ("wg0", 3)
        assert unpacked(answer) == {f"{name}.conf": text for name, text in one_by_one(client, "wg0").items()}
        assert answer.content == client.get("/api/configs/wg0/files").content
        client.post("/api/configs/wg0/endpoint-group", json={"domain": "vpn.example.com", "port": 443})
    refused = client.get("/api/configs/wg0/files?node=fra1")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (404, "node")


def test_an_independent_config_gives_files_of_homes_or_of_one_node(panel: Panel, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg1", mode="independent", pools=["10.9.0.0/24"])
    made(client, "/api/configs/wg1/peers", name="early")
    refused = client.get("/api/configs/wg1/files")
    assert (refused.status_code, "has no serving node" in refused.json()["detail"]) == (409, True)
    serve(panel, client, "wg1", "fra1", "ams1")
    made(client, "/api/configs/wg1/peers/batch", count=6)
    for query in ({}, {"node": "fra1"}, {"node": "ams1"}):
        found = unpacked(client.get("/api/configs/wg1/files", params=query))
        assert found == {f"{name}.conf": text for name, text in one_by_one(client, "wg1", **query).items()}
    refused = client.get("/api/configs/wg1/files?node=lon1")
    assert refused.status_code == 404
    assert "there are files for ams1, fra1" in refused.json()["detail"]


def test_files_are_called_by_the_configs_template_one_by_one_and_in_the_zip(panel: Panel, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"], file_names="{peer}")
    serve(panel, client, "wg0", "fra1")
    anna = made(client, "/api/configs/wg0/peers", name="anna")
    ali = made(client, "/api/configs/wg0/peers", name="\u0639\u0644\u06cc")
    made(client, "/api/configs/wg0/peers", name="the marketing team")
    found = unpacked(client.get("/api/configs/wg0/files"))
    assert [len(name) for name in found] == [len("anna.conf"), len("wg-1234.conf"), 15 + len(".conf")]
    for peer, name in ((anna, "anna.conf"), (ali, list(found)[1])):
        answer = client.get(f"/api/peers/{peer['id']}/config")
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        assert answer.text == found[name]


def test_a_template_may_name_the_node_and_ends_with_an_empty_one(panel: Panel, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg1", mode="independent", pools=["10.9.0.0/24"])
    serve(panel, client, "wg1", "ams1")
    changed = client.patch("/api/configs/wg1", json={"file_names": "{config}.{peer}-{node}"}).json()
    assert changed["file_names"] == "{config}.{peer}-{node}"
    bert = made(client, "/api/configs/wg1/peers", name="bert")
    names = {each["file_name"] for each in client.get(f"/api/peers/{bert['id']}/configs").json()["items"]}
    assert names == {"wg1.bert-ams1.conf"}
    assert client.patch("/api/configs/wg1", json={"file_names": ""}).json()["file_names"] is None
    refused = client.patch("/api/configs/wg1", json={"file_names": "{owner}"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "file_names")


@pytest.mark.usefixtures("wg0")
def test_only_those_that_fit_are_in_it_under_names_that_do_not_collide(client: httpx.Client) -> None:
    refused = client.get("/api/configs/wg0/files")
    assert (refused.status_code, "neither a domain nor a serving node" in refused.json()["detail"]) == (409, True)
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com")
    made(client, "/api/tags", name="office")
    for name in ("a b", "A_b"):
        made(client, "/api/configs/wg0/peers", name=name, tags=["office"])
    made(client, "/api/configs/wg0/peers", name="con", enabled=False)
    cases: dict[str, int] = {"": 3, "?tag=office": 2, "?search=CON": 1, "?enabled=false": 1, "?search=nobody": 0}
    for query, count in cases.items():
        names = unpacked(client.get(f"/api/configs/wg0/files{query}")).keys()
        assert (len(names), len({name.casefold() for name in names})) == (count, count), query
    assert newest_entry(client)["details"]["filter"] == {"search": "nobody"}
    assert client.get("/api/configs/wg0/files?tag=nope").status_code == 404
    assert client.get("/api/configs/wg9/files").status_code == 404


@pytest.mark.parametrize("mode", ["cluster", "independent"])
def test_more_peers_take_no_more_queries(panel: Panel, client: httpx.Client, mode: str) -> None:
    made(client, "/api/configs", name="wg1", mode=mode, pools=["10.16.0.0/16"])
    serve(panel, client, "wg1", "fra1")
    made(client, "/api/tags", name="office", mtu=1380)
    counts: list[int] = []
    for _ in range(2):
        people = [{"name": f"{len(counts)}-{number}", "tags": ["office"]} for number in range(20)]
        made(client, "/api/configs/wg1/peers/batch", peers=people)
        client.get("/api/configs/wg1/files")  # what is read once in a while has been read
        said: list[object] = []

        def note(*given: object, said: list[object] = said) -> None:
            said.append(given[2])

        event.listen(panel.store.engine, "before_cursor_execute", note)
        try:
            assert len(unpacked(client.get("/api/configs/wg1/files"))) == 20 * (len(counts) + 1)
        finally:
            event.remove(panel.store.engine, "before_cursor_execute", note)
        counts.append(len(said))
    assert counts[0] == counts[1]
