"""Networks behind peers of a source that cannot be had: the peer is imported without, and the preview says so."""

from pathlib import Path

import httpx

from tests.imports.samples import Keys
from tests.panel.conftest import made
from tests.panel.imports.test_imports import done
from tests.panel.imports.test_server_addresses import imported

SITE, OTHERS = "192.168.5.0/24", "10.44.0.0/16"


def test_a_network_that_somebody_else_has_is_left_out_and_the_rest_comes(client: httpx.Client, tmp_path: Path) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.44.0.0/16"])
    call = imported(
        tmp_path, Keys(), "10.9.0.1/24",
        site=f"10.9.0.2/32, {SITE}, 10.9.0.0/24",
        nested="10.9.0.3/32, 192.168.5.128/25",
        same=f"10.9.0.4/32, {SITE}, 192.168.6.0/24",
        foreign="10.9.0.5/32, 10.44.7.0/24",
    )  # fmt: skip
    preview = done(client, call, "/api/imports/preview")
    assert {peer["fate"] for peer in preview["peers"]} == {"new"}
    said = {
        peer["name"]: [each for each in peer["remarks"] if "behind it is left out" in each] for peer in preview["peers"]
    }
    assert said["nested"] == [
        "192.168.5.128/25 behind it is left out: 192.168.5.128/25 overlaps 192.168.5.0/24, the networks of peer 'site'"
    ]
    assert [len(each) for each in said.values()] == [1, 1, 1, 1], said
    assert "a pool of the config" in said["site"][0]
    assert "a pool of config 'wg0'" in said["foreign"][0]
    done(client, call)
    rows = {row["name"]: row["networks"] for row in client.get("/api/configs/office/peers").json()["items"]}
    assert rows == {"site": [SITE], "nested": [], "same": ["192.168.6.0/24"], "foreign": []}
    again = done(client, call)
    assert {each["fate"] for each in again["peers"]} == {"same"}


def test_a_network_that_is_never_behind_a_peer_is_left_out_and_the_rest_comes(
    client: httpx.Client, tmp_path: Path
) -> None:
    call = imported(
        tmp_path, Keys(), "10.9.0.1/24",
        odd="10.9.0.2/32, ::ffff:10.0.0.1/128, fe80::7/128, 224.0.0.0/4",
        site=f"10.9.0.3/32, {SITE}",
    )  # fmt: skip
    odd, site = done(client, call, "/api/imports/preview")["peers"]
    said = [each for each in odd["remarks"] if "behind it is left out" in each]
    assert (len(said), all("which is never behind a peer" in each for each in said)) == (3, True), said
    assert not any("left out" in each for each in site["remarks"])
    done(client, call)
    rows = {row["name"]: row["networks"] for row in client.get("/api/configs/office/peers").json()["items"]}
    assert rows == {"odd": [], "site": [SITE]}
