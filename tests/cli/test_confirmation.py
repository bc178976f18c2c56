"""Commands that ask whether to go on: where nobody can be asked nothing is done, and the way out is said."""

from typing import Any
from unittest import mock

import httpx
import pytest

from tests.cli.conftest import Run
from tests.panel.conftest import made
from wgfleet.cli import confirmation, waiting

pytestmark = pytest.mark.slow


def test_a_deletion_that_nobody_can_be_asked_about_is_not_done(wgfleet: Run, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    for words in (
        ("provider", "delete", "office"),
        ("device", "rotate", "phone"),
        ("peer", "change", "wg0", "delete", "--all-that-match"),
    ):
        refused = wgfleet(*words)
        assert refused.returncode == 2, refused
        assert "repeat with --yes" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert client.get(f"/api/peers/{peer['id']}").status_code == 200


def test_a_person_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question, **_: answered.append(question))
    answered: list[str] = []
    confirmation.go_on("Delete it?")
    assert answered == ["Delete it?"]


@pytest.mark.parametrize("dangerous", [{"cut_off": ["anna"]}, {"unknown": ["ben"]}, {"refusal": "it is the last one"}])
def test_a_removal_that_is_forced_says_who_is_cut_off_and_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dangerous: dict[str, Any]
) -> None:
    reach = {"silent": 1, "unknown": 1}
    found: dict[str, Any] = {"live": 2, "reach": reach, "cut_off": [], "unknown": [], "refusal": None, "hints": []}
    panel, asked = mock.Mock(), list[str]()
    monkeypatch.setattr("wgfleet.cli.waiting.go_on", lambda: asked.append("asked"))
    panel.get.return_value = found
    waiting.ask_about_departure(panel, "wg0", "fra1", 0.0)
    assert (asked, capsys.readouterr().out) == ([], "")
    panel.get.return_value = found | dangerous
    waiting.ask_about_departure(panel, "wg0", "fra1", 0.0)
    said = capsys.readouterr().out
    assert asked == ["asked"]
    assert "2 live on node fra1" in said
    assert all(name in said for name in dangerous.get("cut_off", []) + dangerous.get("unknown", []))


def test_links_and_jobs_are_named_by_the_end_of_their_ids(wgfleet: Run, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    links = [made(client, f"/api/peers/{peer['id']}/share-links") for _ in range(2)]
    assert wgfleet("peer", "unshare", "wg0/anna", links[0]["id"][-8:]).returncode == 0
    assert wgfleet("peer", "unshare", "wg0/anna", "").returncode != 0, "one is left, and not meant"
    left = client.get(f"/api/peers/{peer['id']}/share-links").json()["items"]
    assert [each["id"] for each in left] == [links[1]["id"]]
    shared = wgfleet("peer", "share", "wg0/anna", "--password", given="a lighthouse\n")
    assert (shared.returncode, "lighthouse" in shared.stdout + shared.stderr) == (0, False), shared
    assert client.get(f"/api/peers/{peer['id']}/share-links").json()["items"][-1]["has_password"] is True
    assert wgfleet("peer", "share", "wg0/anna", "--password", given="\n").returncode == 2
    job = made(client, "/api/configs/wg0/jobs", field="total_data", value=1_000_000)
    assert wgfleet("job", "delete", "", "--config", "wg0").returncode != 0
    assert wgfleet("job", "delete", job["id"][-8:], "--config", "wg0").returncode == 0
