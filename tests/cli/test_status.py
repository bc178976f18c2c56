"""What `wgfleet status` says is wrong, and what it shows."""

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from tests.panel.conftest import made
from wgfleet.cli import app, fleet_state
from wgfleet.cli import status as status_command
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import relays as relay_rows
from wgfleet.panel.store.tables import RelayedClient

pytestmark = pytest.mark.slow


@pytest.fixture
def reached(client: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name in [each for each in os.environ if each.startswith(("WGFLEET", "XDG"))]:
        monkeypatch.delenv(name)
    key = str(client.headers["Authorization"]).removeprefix("Bearer ")
    env = {"HOME": str(tmp_path), "WGFLEET_URL": str(client.base_url), "WGFLEET_API_KEY": key, "COLUMNS": "80"}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return env


def status(*options: str) -> Any:
    return CliRunner().invoke(app, ["status", *options])


@pytest.mark.usefixtures("reached")
def test_status_says_what_is_wrong_first_and_ends_so_for_scripts(client: httpx.Client, panel: Panel) -> None:
    empty = status()
    assert empty.exit_code == 0, empty.output
    assert "nothing is wrong" in empty.stdout
    assert "wgfleet config create" in empty.stdout
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    node = made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.1"])
    made(client, "/api/configs/wg0/nodes", node_id="fra1")
    made(client, "/api/configs/wg0/peers", name="anna")
    first = status()
    assert first.exit_code == 1
    assert "wrong: wg0: nobody serves its 1 peer\n" in first.stdout
    assert "fra1 has not joined yet: wgfleet node join fra1" in first.stderr
    with panel.store.write() as tx:
        config_id = client.get("/api/configs/wg0").json()["id"]
        ((assignment, _),) = assignment_rows.of_config(tx, config_id)
        assignment.phase, assignment.health = Phase.SERVING, Health.DOWN
        assignment.health_reason = "no answer to 2 of 2"
        tx.flush()
    found = json.loads(status("--json").stdout)
    assert found["status"] in {"ok", "degraded"}
    assert any("wg0 on fra1: down for" in each and "no answer to 2 of 2" in each for each in found["wrong"])
    assert found["configs"][0]["assignments"][0]["node_id"] == node["id"]
    shown = status()
    assert max(map(len, shown.stdout.splitlines())) <= 80 or "wrong:" in shown.stdout
    assert "nobody" in shown.stdout.partition("SERVED BY")[2]
    assert client.post("/api/configs/wg0/endpoint-group", json={"domain": "vpn.example.org"}).is_success
    assert "vpn.example.org" in status().stdout, "nobody publishes it"


def test_a_wrong_clock_is_wrong() -> None:
    node = {"name": "fra1", "joined": True, "connected": True, "clock_warning": "its clock is 300 s ahead"}
    right = node | {"name": "ams1", "clock_warning": None}
    found = fleet_state._wrong_nodes([node, right])  # noqa: SLF001 - sentences of two nodes
    assert list(found) == ["node fra1: its clock is 300 s ahead"]


def test_a_warning_that_many_nodes_have_is_said_once() -> None:
    old = "its agent is older than the panel: upgrade it"
    nodes = [{"name": f"n{number}", "agent_warning": old if number else None} for number in range(9)]
    nodes.append({"name": "other", "agent_warning": "its agent is newer"})
    assert list(fleet_state._alike(nodes, "agent_warning")) == [  # noqa: SLF001 - sentences of a fleet
        f"nodes n1, n2, n3, n4, n5 and 3 more: {old}",
        "node other: its agent is newer",
    ]


def state_of(**node: Any) -> list[str]:
    base: dict[str, Any] = {
        "node_name": "fra1",
        "phase": "serving",
        "health": "serving",
        "health_since": "2026-11-26T10:33:21Z",
    }
    base |= {"health_reason": "", "summary": "", "drift": [], "owed": None, "first_look": "answered"}
    config = {"name": "wg0", "enabled": True, "peers": 3}
    return list(fleet_state._wrong_with(config, [{**base, **node}]))  # noqa: SLF001 - sentences of one config


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({}, None),
        ({"health": "suspect", "health_reason": "one does not reach it"}, "suspect for"),
        ({"health": "down"}, "nobody serves its 3 peers"),
        ({"phase": "joining", "summary": "its port is shut"}, "does not serve yet: its port is shut"),
        ({"drift": ["forwarding"]}, "differs from what is wanted: forwarding"),
        ({"first_look": "unreached"}, "nobody gets an answer"),
        (
            {"owed": {"late": True, "generations": 2, "peers": 1, "since": "x", "reason": "away", "revocations": []}},
            "do not reach",
        ),
    ],
)
def test_each_trouble_of_a_node_is_a_sentence(node: dict[str, Any], said: str | None) -> None:
    found = state_of(**node)
    assert (found == []) is (said is None)
    assert said is None or any(said in each for each in found)


def completed(words: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    typed = f"wgfleet {words}"
    env = {"_WGFLEET_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    ran = CliRunner().invoke(app, [], prog_name="wgfleet")
    assert ran.stderr == ""
    return ran.stdout.split()


@pytest.mark.usefixtures("reached")
def test_names_are_completed_and_silence_is_kept_where_they_cannot_be(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("wg0", "wg1", "office")):
        made(client, "/api/configs", name=name, pools=[f"10.{number}.0.0/24"])
    made(client, "/api/nodes", name="fra1", endpoint_addresses=["192.0.2.1"])
    made(client, "/api/configs/wg0/peers", name="anna")
    assert completed("config show w", monkeypatch) == ["wg0", "wg1"]
    assert completed("node show ", monkeypatch) == ["fra1"]
    assert completed("peer show wg0/a", monkeypatch) == ["wg0/anna"]
    assert completed("peer show o", monkeypatch) == ["office/"]
    assert completed("peer delete wg0/anna wg", monkeypatch) == ["wg0/", "wg1/"]
    assert completed("peer list wg0 --node f", monkeypatch) == ["fra1"]
    assert completed("peer list wg0 --sort han", monkeypatch) == ["handshake"]
    for variable, value in (
        ("WGFLEET_URL", "http://127.0.0.1:9"),
        ("WGFLEET_API_KEY", "nonsense"),
        ("WGFLEET_URL", "x"),
    ):
        monkeypatch.setenv(variable, value)
        assert completed("config show w", monkeypatch) == []


@pytest.mark.usefixtures("reached")
def test_sentences_keep_to_the_width_of_the_screen_and_to_one_line_in_a_pipe(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    for number in range(3):
        made(client, "/api/nodes", name=f"fra{number}", endpoint_addresses=[f"192.0.2.{number + 1}"])
    long = (
        "wrong: " + "the panel cannot write into its folder " * 5 + "/var/lib/wgfleet/a-very-long-name-of-a-file/" * 3
    )
    monkeypatch.setattr(status_command, "_panel_troubles", lambda _: [long])
    lines = status().output.splitlines()
    assert max(len(line) for line in lines if "/var/lib" not in line) <= 80
    assert any(line == "/var/lib/wgfleet/a-very-long-name-of-a-file/" * 3 for line in lines), "a path is not divided"
    monkeypatch.delenv("COLUMNS")
    assert f"wrong: {long}" in status().output.splitlines()


@pytest.mark.usefixtures("reached")
def test_a_node_that_relays_clients_is_named_though_it_has_no_config_any_more(
    client: httpx.Client, panel: Panel
) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    for name, address in (("old", "192.0.2.1"), ("new", "192.0.2.2")):
        made(client, "/api/nodes", name=name, endpoint_addresses=[address])
    made(client, "/api/configs/wg0/nodes", node_id="new")
    peers = [made(client, "/api/configs/wg0/peers", name=name) for name in ("anna", "ben")]
    ids = {each["name"]: each["id"] for each in client.get("/api/nodes").json()["items"]}
    ends_at = clock.now() + 3600
    with panel.store.write() as tx:
        relay_rows.add(
            tx,
            [
                RelayedClient(
                    id=clock.new_id(), config_id=peer["config_id"], node_id=ids["old"], peer_id=peer["id"],
                    target="192.0.2.2:51820", since=clock.now(), ends_at=ends_at + number, wanted_ends_at=None,
                )
                for number, peer in enumerate(peers)
            ],
        )  # fmt: skip
    said = "relays 2 clients, who are cut off if it ends before they have come to other nodes"
    shown = " ".join(status().stderr.split())
    assert said in shown
    assert "its agent is not heard, so it may have ended already" in shown
    health = " ".join(CliRunner().invoke(app, ["config", "health", "wg0"]).stderr.split())
    assert said in health
    assert "wgfleet relay list --node old" in health
    (told,) = client.get("/api/configs/wg0/health").json()["relays"]
    node = client.get("/api/nodes/old").json()
    assert (told["node_name"], told["clients"], told["until"]) == ("old", 2, node["relayed_until"])
    assert node["relayed_clients"] == 2
    assert client.get("/api/nodes/new").json()["relayed_until"] is None
    refused = CliRunner().invoke(app, ["relay", "prolong", "wg0", "old", "--hours", "0.5", "--all"])
    assert "--relay-hours: some relays have longer than that" in " ".join(refused.stderr.split()), refused.stderr


def test_a_task_that_is_late_is_said_once_and_not_to_have_failed() -> None:
    late = {"task": "jobs", "subject": None, "running": True, "failures": 0, "late_s": 16.8}
    reason = "background task jobs has not come round for 16.8 s; see the log"
    said = status_command._panel_troubles  # noqa: SLF001 - what is shown of a panel that no test can make so slow
    assert said({"reasons": [reason], "failing": [late]}) == [reason]
    assert said({"failing": [late]}) == ["background task jobs has not come round for 16.8 s"]
    failed = {**late, "failures": 3, "late_s": None, "subject": "wg0"}
    assert said({"failing": [failed]}) == ["background task jobs of wg0 has failed 3 times"]
