"""One thing for people: what is set, a field a line, and what is not in one; no ids where there are names."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.cli.conftest import Run
from tests.panel.conftest import made
from wgfleet.cli import fields

NODE: dict[str, Any] = {
    "id": "01a2",
    "mtu": None,
    "ttl": 60,
    "bandwidth_mbps": 100,
    "download_speed": 0,
    "weight": 1.0,
    "addresses": ["203.0.113.1", "2001:db8::1"],
    "tags": [],
    "restricted_at": None,
    "dns_warning": None,
    "endpoint_warning": "beware",
    "name": "fra1",
    "node_id": "7",
    "node_name": "home",
    "operation_id": None,
}


def shown(capsys: pytest.CaptureFixture[str], document: dict[str, Any]) -> tuple[list[str], str]:
    fields.show_fields(document, as_json=False)
    said = capsys.readouterr()
    return said.out.splitlines(), said.err


def test_what_is_set_has_a_line_each_and_what_is_not_shares_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "38")
    lines, warned = shown(capsys, NODE)
    assert lines == [
        "name            fra1",
        "node            home",
        "ttl             60 s",
        "bandwidth       100 Mbit/s",
        "download speed  no limit",
        "weight          1",
        "addresses       203.0.113.1,",
        "                2001:db8::1",
        "id              01a2",
        "not set: mtu, tags",
    ]
    assert warned == "warning: fra1: beware\n"


def test_times_say_how_far_away_they_are_and_many_counts_have_lines(capsys: pytest.CaptureFixture[str]) -> None:
    begun, ends = (datetime.now(UTC) + timedelta(days=days, hours=1) for days in (-3, 3))
    counts = {"peers_moved": 3, "left_behind": 0, "seconds": 0.5, "error": None, "called": 2}
    lines, _ = shown(capsys, {"begun_at": f"{begun:%FT%TZ}", "ends_at": f"{ends:%FT%TZ}", "result": counts})
    assert lines == [
        f"begun at  {begun:%F %TZ} (2d ago)",
        f"ends at   {ends:%F %TZ} (in 3d)",
        "result    peers moved 3",
        "          left behind 0",
        "          seconds 0.5",
        "          called 2",
    ]


def test_a_peer_has_the_names_of_what_it_belongs_to(wgfleet: Run, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    group = made(client, "/api/node-groups", name="berlin")
    created = wgfleet("peer", "create", "wg0", "anna", "--group", "berlin", "--notes", "her phone").stdout
    found = wgfleet("peer", "show", "wg0/anna").stdout
    for text in (created, found):
        assert "config             wg0\n" in text
        assert "group              berlin\n" in text
        assert group["id"] not in text
    assert "notes              her phone\n" in found
    for line in found.splitlines():
        assert line == line.rstrip()
        assert not line.endswith("-")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_a_number_that_json_does_not_have_is_refused_with_its_option(wgfleet: Run, value: str) -> None:
    refused = wgfleet("node", "create", "fra1", "--endpoint", "192.0.2.1", f"--weight={value}")
    assert (refused.returncode, refused.stderr.startswith("error: --weight: must be a number")) == (2, True)
