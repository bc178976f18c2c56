"""Calls over a way that loses packets: a connection that the panel's door cuts off is tried again."""

import hashlib
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace

import httpx
import pytest

from tests.cli.lossy_way import FIRST, Loss, Way, lossy_way
from tests.panel.conftest import NO_AUTHORITY, made
from tests.panel.test_door import AUTHORITY, Doors, opened_doors
from wgfleet.agent.enrollment.ca import TrustError, fetch_ca
from wgfleet.cli.client import CallFailed, Client
from wgfleet.cli.connection import PanelAccess
from wgfleet.doors import tries
from wgfleet.panel.agents.authority import Authority
from wgfleet.panel.api import Panel
from wgfleet.panel.settings.door import DoorSettings

pytestmark = pytest.mark.slow

PROGRAM = str(Path(sys.executable).with_name("wgfleet"))
HELLO = 100  # bytes: the client's first message does not arrive whole
AFTER_HELLO = FIRST  # the first message arrives, and no other
DOOR = DoorSettings(handshake_s=0.5, request_s=1)
SLOW_DOOR = DoorSettings(handshake_s=4)


@pytest.fixture
def doors(panel: Panel) -> Iterator[Doors]:
    with opened_doors(panel, DOOR) as opened:
        yield opened


def wgfleet(tmp_path: Path, doors: Doors, url: str, *words: str) -> CompletedProcess[str]:
    ca = tmp_path / "ca.pem"
    ca.write_text(AUTHORITY.certificate_pem)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WGFLEET", "XDG"))}
    settings = {"WGFLEET_URL": url, "WGFLEET_API_KEY": doors.key, "WGFLEET_CA_FILE": str(ca), "SSL_CERT_FILE": str(ca)}
    environment = {**kept, "HOME": str(tmp_path), **settings}
    return subprocess.run([PROGRAM, *words], check=False, capture_output=True, text=True, timeout=60, env=environment)


def asking(doors: Doors) -> httpx.Client:
    where = f"http://127.0.0.1:{doors.plain}"
    return httpx.Client(base_url=where, trust_env=False, verify=NO_AUTHORITY, headers={"X-API-Key": doors.key})


def node_names(doors: Doors) -> list[str]:
    with asking(doors) as client:
        return [str(each["name"]) for each in client.get("/api/nodes").json()["items"]]


@pytest.mark.parametrize("sent", [HELLO, AFTER_HELLO])
def test_a_call_whose_handshake_is_cut_off_is_made_again(tmp_path: Path, doors: Doors, sent: int) -> None:
    with lossy_way(doors.secure, [Loss(sent=sent)] * 2) as way:
        made = wgfleet(tmp_path, doors, secure(way), "node", "create", "fra1", "--endpoint", "192.0.2.1")
    assert made.returncode == 0, made.stderr
    assert "again" not in made.stderr
    assert way.taken == 3
    assert node_names(doors) == ["fra1"]


def test_a_person_who_waits_for_long_hears_why_once(tmp_path: Path, panel: Panel) -> None:
    with opened_doors(panel, SLOW_DOOR) as doors, lossy_way(doors.secure, [Loss(sent=HELLO)] * 2) as way:
        listed = wgfleet(tmp_path, doors, secure(way), "node", "list", "--json")
    assert (listed.returncode, listed.stdout) == (0, "[]\n"), listed.stderr
    assert listed.stderr.count("trying again") == 1


def test_tries_come_to_an_end(tmp_path: Path, doors: Doors) -> None:
    with lossy_way(doors.secure, [Loss(sent=HELLO)] * 50) as way:
        started = time.monotonic()
        failed = wgfleet(tmp_path, doors, secure(way), "node", "list")
    assert failed.returncode == 3
    assert "cannot be reached" in failed.stderr
    assert 2 <= way.taken <= 5
    assert time.monotonic() - started < 15


def test_what_the_panel_may_have_received_is_not_sent_again(tmp_path: Path, doors: Doors) -> None:
    with lossy_way(doors.plain, [Loss(answered=0)]) as way:
        lost = wgfleet(tmp_path, doors, plain(way), "node", "create", "fra1", "--endpoint", "192.0.2.1")
    assert lost.returncode == 3
    assert "may have done it" in lost.stderr
    assert way.taken == 1
    assert node_names(doors) == ["fra1"]


def test_a_read_whose_answer_was_lost_is_made_again(tmp_path: Path, doors: Doors) -> None:
    with lossy_way(doors.plain, [Loss(answered=0)]) as way:
        listed = wgfleet(tmp_path, doors, plain(way), "node", "list", "--json")
    assert (listed.returncode, listed.stdout) == (0, "[]\n"), listed.stderr
    assert way.taken == 2


def test_a_wait_begins_although_its_handshake_is_cut_off(doors: Doors, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(AUTHORITY.certificate_pem)
    with lossy_way(doors.secure, [Loss(sent=HELLO)]) as way:
        client = Client(PanelAccess(secure(way), doors.key, ca))
        assert next(client.events("operation")) is None
        client.close()
    assert way.taken == 2


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://127.0.0.1:9", "refused"),
        ("https://no-such-host.invalid", "reached"),
        ("https://127.0.0.1:{secure}", "certificate"),
    ],
)
def test_what_would_fail_again_is_said_at_once(
    doors: Doors, url: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(tries, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append))
    with pytest.raises(CallFailed, match=why):
        Client(PanelAccess(url.format(secure=doors.secure), doors.key, None)).get("/api/nodes")
    assert pauses == [], "there is no second try"


def test_who_believes_another_ca_is_told_how_to_log_in_again(doors: Doors, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(Authority.create("before", time.time()).certificate_pem)
    with pytest.raises(CallFailed, match=r"if the panel.s CA was replaced, log in again"):
        Client(PanelAccess(f"https://127.0.0.1:{doors.secure}", doors.key, ca)).get("/api/nodes")


@pytest.mark.parametrize("sent", [HELLO, AFTER_HELLO])
def test_a_node_enrolls_although_its_handshake_is_cut_off(tmp_path: Path, doors: Doors, sent: int) -> None:
    with asking(doors) as client:
        made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.1"])
        token = made(client, "/api/nodes/fra1/join-token")["token"]
    where = ["--token", token, "--state-dir", str(tmp_path / "agent")]
    with lossy_way(doors.secure, [Loss(sent=sent)]) as way:
        enrolled = wgfleet(tmp_path, doors, secure(way), "agent", "enroll", "--panel", secure(way), *where)
    assert enrolled.returncode == 0, enrolled.stderr
    assert way.taken == 2


def test_the_ca_is_fetched_although_the_handshake_is_cut_off(doors: Doors) -> None:
    with asking(doors) as client:
        ca = client.get("/api/ca.pem").text
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca)).hexdigest()
    with lossy_way(doors.secure, [Loss(sent=HELLO)]) as way:
        assert fetch_ca(secure(way), fingerprint, print).split() == ca.split()


def test_the_address_of_a_page_is_said_to_be_none_of_a_panel(doors: Doors) -> None:
    with pytest.raises(TrustError) as refused:
        fetch_ca(f"https://127.0.0.1:{doors.secure}/fleet", "sha256:" + "0" * 64, print)
    assert "without the path of a page" in str(refused.value)
    assert "\n" not in str(refused.value)


def secure(way: Way) -> str:
    return f"https://127.0.0.1:{way.port}"


def plain(way: Way) -> str:
    return f"http://127.0.0.1:{way.port}"
