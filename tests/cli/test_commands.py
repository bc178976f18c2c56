"""The commands against a panel on loopback: what people and programs see, and the exit codes."""

import json
import re
import stat
import zipfile
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest

from tests.cli.conftest import Run
from tests.panel.conftest import made
from wgfleet.panel import clock
from wgfleet.panel.api import Panel
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.operations import OperationState
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import freezes
from wgfleet.panel.services.fleet import assignments, node_agents
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store.tables import Operation

pytestmark = pytest.mark.slow


def document(run: CompletedProcess[str]) -> Any:
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_a_fleet_is_built_with_commands(wgfleet: Run, tmp_path: Path) -> None:
    assert document(wgfleet("config", "create", "wg0", "--pool", "10.8.0.0/24", "--json"))["listen_port"] == 51820
    node = document(wgfleet("node", "create", "fra1", "--endpoint", "192.0.2.1", "--json"))
    assert node["join"]["command"].startswith("wgfleet agent enroll --panel http://127.0.0.1:")
    told = wgfleet("node", "create", "ber1", "--endpoint", "192.0.2.2").stdout.splitlines()
    steps = [line.strip() for line in told if line.startswith("  ")]
    assert steps[0].startswith("wgfleet agent enroll --panel http://127.0.0.1:")
    assert steps[1].startswith("wgfleet agent run")
    assert any("script/install agent" in line for line in told)
    assert document(wgfleet("config", "assign", "wg0", "fra1", "--json"))["phase"] == "joining"
    assert document(wgfleet("config", "endpoint", "wg0", "--domain", "vpn.example.com", "--json"))["ttl"] == 60
    assert "3 peers created" in wgfleet("peer", "create", "wg0", "--count", "3").stdout
    listed = wgfleet("peer", "list", "wg0")
    assert "user-1" in listed.stdout
    assert "10.8.0.2" in listed.stdout
    target = tmp_path / "user.conf"
    assert wgfleet("peer", "file", "wg0/user-1", "--output", str(target)).returncode == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert "Endpoint = vpn.example.com:51820" in target.read_text()
    archive = tmp_path / "user.tar.gz"
    assert wgfleet("peer", "bundle", "wg0/user-1", "-o", str(archive)).returncode == 0
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert archive.read_bytes().startswith(b"\x1f\x8b")
    assert "█" in wgfleet("peer", "qr", "wg0/user-1").stdout
    assert document(wgfleet("audit", "list", "--type", "config_node", "--json"))[0]["action"] == "assigned"


def test_an_agent_of_another_release_is_marked(wgfleet: Run, panel: Panel, fra1: dict[str, Any]) -> None:
    with panel.store.write() as tx:
        node_agents.reported(tx, fra1["id"], connected=True, version="0.1.0", known=(), summary="in sync")
    listed = wgfleet("node", "list")
    assert "0.1.0 (older)" in listed.stdout
    assert "warning: fra1: its agent (0.1.0) is older than the panel" in listed.stderr


def test_a_dangerous_command_says_whom_it_concerns_and_asks(wgfleet: Run, client: httpx.Client) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    made(client, "/api/configs/wg0/endpoint-group", domain="vpn.example.com", min_nodes=3)
    peer = made(client, "/api/configs/wg0/peers", name="anna")
    change = ("config", "update", "wg0", "--listen-port", "51999")
    for command in (change, ("config", "delete", "wg0"), ("peer", "delete", "wg0/anna")):
        asked = wgfleet(*command)
        assert (asked.returncode, "repeat with --yes" in asked.stderr) == (2, True), asked.stderr
        tried = wgfleet(*command, "--dry-run")
        assert (tried.returncode, "nothing was changed" in tried.stderr) == (0, True), tried.stderr
        assert "peer" in tried.stderr or "anna" in tried.stderr
    assert client.get("/api/configs/wg0").json()["listen_port"] == 51820
    assert client.get(f"/api/peers/{peer['id']}").status_code == 200
    kept = document(wgfleet("config", "endpoint", "wg0", "--port", "443", "--yes", "--json"))
    assert (kept["domain"], kept["port"], kept["min_nodes"]) == ("vpn.example.com", 443, 3)
    assert wgfleet(*change, "--yes").returncode == 0
    assert "was deleted" in wgfleet("peer", "delete", "wg0/anna", "--yes").stderr
    assert "was deleted" in wgfleet("config", "endpoint-delete", "wg0", "--yes").stderr
    assert "was deleted" in wgfleet("config", "delete", "wg0").stderr  # nobody notices, so nobody is asked


def test_a_name_gets_its_provider_with_options_from_a_file(wgfleet: Run, tmp_path: Path) -> None:
    assert wgfleet("config", "create", "wg0", "--pool", "10.8.0.0/24").returncode == 0
    options = tmp_path / "options.json"
    group = ["config", "endpoint", "wg0", "--domain", "vpn.example.com", "--dns-provider", "null"]
    cases = {'{"token": "of-nobody"}': (1, "--dns-options: token: "), "[]": (2, "a JSON object"), "{": (2, "not JSON")}
    cases["[" * 10_000] = (2, "is not JSON: nested too deep")
    for content, (code, said) in cases.items():
        options.write_text(content)
        refused = wgfleet(*group, "--dns-options", str(options))
        assert refused.returncode == code
        assert said in refused.stderr
        assert "of-nobody" not in refused.stderr
    options.write_text("{}")
    shown = document(wgfleet(*group, "--dns-mode", "dry_run", "--dns-options", str(options), "--json"))
    assert (shown["dns"]["provider"], shown["dns"]["mode"]) == ("null", "dry_run")


def test_exit_codes_and_one_line_errors_say_what_to_do(wgfleet: Run) -> None:
    cases = {
        1: wgfleet("config", "create", "wg0", "--pool", "10.8.0.1/24"),
        2: wgfleet("config", "create"),
        3: wgfleet("node", "list", WGFLEET_URL="http://127.0.0.1:9"),
        4: wgfleet("node", "show", "nowhere"),
    }
    for code, run in cases.items():
        assert run.returncode == code, run.stderr
    assert cases[1].stderr == "error: --pool: '10.8.0.1/24' has host bits set; the network is 10.8.0.0/24\n"
    assert "WGFLEET_URL" in cases[3].stderr
    assert cases[4].stderr.count("\n") == 1
    assert wgfleet("node", "list", WGFLEET_API_KEY="").returncode == 2


def test_the_state_of_a_panel_needs_no_key(wgfleet: Run) -> None:
    asked = wgfleet("status", WGFLEET_API_KEY="")
    assert (asked.returncode, asked.stdout) == (0, "the panel is ok\n"), asked.stderr


def test_an_error_names_the_field_also_where_its_words_have_it(wgfleet: Run) -> None:
    refused = wgfleet("node", "create", "fra2", "--endpoint", "192.0.2.9", "--group", "nope")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: --group: there is no node group 'nope'; list them with ")
    assert "error: nodes: an id or name is empty" in wgfleet("node", "show", "").stderr


@pytest.mark.usefixtures("wg0")
def test_clumsy_words_get_one_line_and_no_traceback(wgfleet: Run, tmp_path: Path) -> None:
    assert wgfleet("peer", "create", "wg0", "anna").returncode == 0
    cases = [
        (2, wgfleet("config", "show", "")),
        (2, wgfleet("node", "show", "..")),
        (2, wgfleet("peer", "create", "", "anna")),
        (2, wgfleet("node", "update", "fra1", "--weight", "nan")),
        (1, wgfleet("config", "show", "a b")),
        (1, wgfleet("peer", "file", "wg0/anna", "-o", str(tmp_path / "absent" / "wg0.conf"))),
    ]
    for code, run in cases:
        assert run.returncode == code, run.stderr
        assert run.stderr.startswith("error: ")
        assert run.stderr.count("\n") == 1, run.stderr


@pytest.mark.usefixtures("wg0")
def test_peers_are_listed_in_80_columns_and_changed_by_name(wgfleet: Run) -> None:
    for name in ("anna", "a/b", "A_b"):
        assert wgfleet("peer", "create", "wg0", name).returncode == 0
    assert wgfleet("peer", "disable", "wg0/anna").stdout == "anna is no longer let in\n"
    assert document(wgfleet("peer", "show", "wg0/anna", "--json"))["enabled"] is False
    assert wgfleet("peer", "enable", "wg0/anna").stdout == "anna is let in again\n"
    assert wgfleet("peer", "rename", "wg0/anna", "anna-phone").stdout == "anna-phone is the new name of wg0/anna\n"
    listed = wgfleet("peer", "list", "wg0", "--offline", COLUMNS="80").stdout.splitlines()
    assert listed[0].split() == ["NAME", "ADDRESSES", "NODE", "ONLINE", "HANDSHAKE", "FROM", "TO"]
    assert [line.split()[0] for line in listed[1:]] == ["a/b", "A_b", "anna-phone"]
    assert wgfleet("peer", "list", "wg0", "--online", COLUMNS="80").stdout.splitlines()[1:] == []


def test_the_files_of_all_peers_are_one_archive(wgfleet: Run, tmp_path: Path) -> None:
    assert wgfleet("config", "create", "wg0", "--pool", "10.8.0.0/24").returncode == 0
    assert wgfleet("config", "endpoint", "wg0", "--domain", "192.0.2.1").returncode == 0
    for name in ("anna", "a/b", "A_b", "../etc"):
        assert wgfleet("peer", "create", "wg0", name).returncode == 0
    packed = tmp_path / "wg0.zip"
    made = wgfleet("peer", "files", "wg0", "-o", str(packed))
    assert made.returncode == 0, made.stderr
    assert stat.S_IMODE(packed.stat().st_mode) == 0o600
    with zipfile.ZipFile(packed) as archive:
        names = archive.namelist()
        assert all("PrivateKey" in archive.read(name).decode() for name in names)
    assert len({name.casefold() for name in names}) == 4
    assert not [name for name in names if "/" in name or name.startswith(".")]


def test_login_keeps_the_key_in_a_file_for_its_owner_only(
    wgfleet: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    key, url = environment["WGFLEET_API_KEY"], environment["WGFLEET_URL"]
    assert wgfleet("login", url, given=f"{key}\n").returncode == 0
    written = tmp_path / ".config" / "wgfleet" / "cli.toml"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert wgfleet("node", "list", WGFLEET_API_KEY="", WGFLEET_URL="").returncode == 0
    written.chmod(0o644)
    refused = wgfleet("node", "list", WGFLEET_API_KEY="", WGFLEET_URL="")
    assert refused.returncode == 2
    assert "chmod 600" in refused.stderr
    written.chmod(0o600)
    assert "it still works" in wgfleet("logout").stdout
    assert key not in written.read_text()
    written.write_bytes(b'url = "caf\xe9"')
    refused = wgfleet("node", "list", WGFLEET_API_KEY="", WGFLEET_URL="")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "run `wgfleet login` again" in refused.stderr


@pytest.mark.usefixtures("wg0", "fra1")
def test_waiting_for_a_removal_ends_with_its_result(wgfleet: Run, client: httpx.Client, panel: Panel) -> None:
    made(client, "/api/configs/wg0/nodes", node_id="fra1")
    operation = client.delete("/api/configs/wg0/nodes/fra1").json()
    assert operation["peers_migrated"] is None
    with panel.store.write() as tx:
        row = tx.session.get_one(Operation, operation["id"])
        row.state, row.finished_at, row.result = OperationState.SUCCEEDED, clock.now(), {"peers_migrated": 7}
    assert client.get(f"/api/operations/{operation['id']}").json()["peers_migrated"] == 7
    ended = wgfleet("operation", "wait", operation["id"])
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "remove node: succeeded (peers migrated 7)\n"
    assert document(wgfleet("operation", "list", "--json"))[0]["state"] == "succeeded"


@pytest.mark.usefixtures("wg0", "fra1")
def test_whoever_ends_relays_says_which(wgfleet: Run) -> None:
    assert wgfleet("relay", "list", "--config", "wg0", "--json").stdout.strip() == "[]"
    unsaid = wgfleet("relay", "end", "wg0", "fra1")
    assert (unsaid.returncode, "--peer NAME for one relay, or --all" in unsaid.stderr) == (2, True)
    assert "nobody hangs on a relay there" in wgfleet("relay", "end", "wg0", "fra1", "--all").stderr
    assert "nobody would notice" in wgfleet("relay", "end", "wg0", "fra1", "--all", "--dry-run").stderr
    missing = wgfleet("relay", "prolong", "wg0", "fra1", "--peer", "anna", "--hours", "2")
    assert "relays no peer 'anna'" in missing.stderr
    assert "`wgfleet relay list --config wg0 --node fra1`" in missing.stderr


def test_maintenance_with_commands(wgfleet: Run, client: httpx.Client, panel: Panel, wg0: dict[str, Any]) -> None:
    for name, address in (("fra1", "192.0.2.1"), ("ams1", "192.0.2.2")):
        node = made(client, "/api/nodes", name=name, endpoint_addresses=[address])
        made(client, "/api/configs/wg0/nodes", node_id=name)
        with panel.store.write() as tx:
            assignment = assignment_rows.get(tx, wg0["id"], node["id"])
            assert assignment is not None
            assignments.serve(tx, assignment)
    shown = wgfleet("config", "capacity", "wg0")
    assert "ams1" in shown.stdout
    assert "no automatic failover" in " ".join(shown.stderr.split())
    assert shown.stdout.count("nobody takes over") == 2
    assert document(wgfleet("config", "capacity", "wg0", "--json"))["warnings"] == []
    assert document(wgfleet("node", "drain", "fra1", "--json"))[0]["kind"] == "drain"
    assert document(wgfleet("node", "uncordon", "fra1", "--json"))["cordoned"] is False
    assert document(wgfleet("node", "cordon", "fra1", "--json"))["cordoned"] is True
    assert "is pending" in wgfleet("config", "rebalance", "wg0").stdout
    assert (
        "it has no config to drain"
        in wgfleet(
            "node", "drain", made(client, "/api/nodes", name="idle", endpoint_addresses=["192.0.2.3"])["id"]
        ).stdout
    )


@pytest.mark.usefixtures("wg0", "fra1")
def test_a_node_that_does_not_serve_is_told_with_its_reason(wgfleet: Run, client: httpx.Client, panel: Panel) -> None:
    assigned = made(client, "/api/configs/wg0/nodes", node_id="fra1")
    with panel.store.write() as tx:
        row = assignment_rows.get(tx, assigned["config_id"], assigned["node_id"])
        assert row is not None
        row.health, row.health_reason = Health.DOWN, "no answer to 3 of 3 vantage points"
        freezes.begin(tx, "3 of 4 nodes fell silent at once", [assigned["node_id"]])
    listed = wgfleet("config", "nodes", "wg0").stdout
    assert "down" in listed
    assert "no answer to 3 of 3 vantage points" in listed
    shown = wgfleet("config", "health", "wg0")
    assert "no answer to 3 of 3 vantage points" in shown.stdout
    assert shown.stderr.startswith(
        "warning: nodes that do not answer are left in use: 3 of 4 nodes fell silent at once"
    )
    assert "wgfleet config health-approve" in shown.stderr
    assert document(wgfleet("config", "health", "wg0", "--json"))["nodes"][0]["health"] == "down"


@pytest.mark.usefixtures("wg0", "fra1")
def test_where_nobody_takes_over_a_warning_names_the_commands_that_end_it(wgfleet: Run) -> None:
    said = "there is no automatic failover if node 'fra1' dies: it is the only node of the config; assign a node"
    for command in (("assign", "wg0", "fra1"), ("health", "wg0")):
        shown = wgfleet("config", *command)
        assert shown.returncode == 0
        assert said in shown.stderr
        assert "`wgfleet config assign wg0 NODE`" in shown.stderr


@pytest.mark.usefixtures("wg0")
def test_a_witness_is_made_with_the_command_for_its_machine_and_listed_as_one(wgfleet: Run) -> None:
    made_so = wgfleet("node", "create", "helper", "--witness", "--agent-host", "198.51.100.9")
    assert made_so.returncode == 0, made_so.stderr
    assert "runuser -u wgfleet-witness -- wgfleet agent enroll" in made_so.stdout
    assert "--state-dir /var/lib/wgfleet-witness" in made_so.stdout
    assert "witness" in wgfleet("node", "list").stdout
    refused = wgfleet("config", "assign", "wg0", "helper")
    assert refused.returncode != 0
    assert "is a witness" in " ".join(refused.stderr.split())


@pytest.mark.usefixtures("fra1")
def test_a_node_at_the_address_of_another_is_refused_or_warned_of(wgfleet: Run) -> None:
    refused = wgfleet("node", "create", "fra2", "--endpoint", "192.0.2.1")
    assert refused.returncode != 0
    assert "the agent of node 'fra1' is at 192.0.2.1, port 51900" in " ".join(refused.stderr.split())
    assert "wgfleet node join fra1" in refused.stderr
    warning = "warning: fra2: 192.0.2.1 is an address of node 'fra1' too: no config can be on both at one port\n"
    made_so = wgfleet("node", "create", "fra2", "--endpoint", "192.0.2.1", "--agent-port", "51901")
    assert made_so.returncode == 0
    assert made_so.stderr.startswith(warning)
    assert "--port 51901" in made_so.stdout
    assert warning in wgfleet("node", "list").stderr
    assert wgfleet("node", "update", "fra2", "--capacity", "5").stderr == warning
    refused = wgfleet("config", "create", "wg7", "--pool", "10.7.0.0/16", "--node-port", "tcp/51000-52000")
    assert refused.returncode != 0
    assert "tcp/51000-52000 has port 51900 of the agent of node 'fra1'" in " ".join(refused.stderr.split())


def test_an_approval_is_asked_for_by_name_and_given_once(wgfleet: Run, panel: Panel, client: httpx.Client) -> None:
    assert (
        wgfleet("config", "health-approve").stderr
        == "Nothing to approve: no node is left in use that does not answer.\n"
    )
    node = made(client, "/api/nodes", name="fra9", endpoint_addresses=["192.0.2.9"])
    with panel.store.write() as tx:
        freezes.begin(tx, "3 of 4 nodes fell silent at once", [node["id"]])
    approved = wgfleet("config", "health-approve", "--yes")
    assert approved.stderr == "3 of 4 nodes fell silent at once: fra9\n"
    assert "fra9" in approved.stdout
    with panel.store.read() as tx:
        assert freezes.approved(tx) == {node["id"]}


@pytest.mark.usefixtures("wg0", "fra1")
def test_a_rotation_of_probe_keys_says_first_what_happens_and_whom_it_waits_for(
    wgfleet: Run, client: httpx.Client, panel: Panel
) -> None:
    assigned = made(client, "/api/configs/wg0/nodes", node_id="fra1")
    with panel.store.write() as tx:
        row = assignment_rows.get(tx, assigned["config_id"], assigned["node_id"])
        assert row is not None
        row.phase = Phase.SERVING
    words = ("config", "rotate-probe-keys", "wg0")
    assert wgfleet(*words, "--status").stdout == "No rotation is under way.\n"
    declined = wgfleet(*words)
    assert declined.returncode == 2
    assert "repeat with --yes" in declined.stderr
    assert "Users and health notice nothing." in declined.stderr
    assert "It waits for fra1, whose agents are not connected." in declined.stderr
    assert client.get("/api/configs/wg0/probe-keys").json()["rotation"] is None
    begun = wgfleet(*words, "--yes")
    assert begun.returncode == 0
    assert re.search(r"step 'spread' since \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ; ", begun.stdout)
    assert "waits for fra1 to have it" in begun.stdout
    assert document(wgfleet(*words, "--status", "--json"))["rotation"]["waits_for"] == ["fra1"]
    again = wgfleet(*words, "--yes")
    assert again.returncode == 1
    assert "are being rotated already; it waits for fra1" in again.stderr


@pytest.mark.usefixtures("wg0")
def test_an_errors_way_out_is_a_command(wgfleet: Run) -> None:
    assert wgfleet("node", "show", "x").stderr == "error: there is no node 'x'; list them with `wgfleet node list`\n"
    assert "`wgfleet config endpoint wg0" in wgfleet("dns", "show", "wg0").stderr


def test_an_agent_that_is_refused_says_the_command_that_makes_a_new_token(
    wgfleet: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    words = ("--panel", environment["WGFLEET_URL"], "--token", "wgj_unknown", "--state-dir", str(tmp_path / "agent"))
    refused = wgfleet("agent", "enroll", *words)
    assert refused.returncode == 1
    assert refused.stderr == (
        "enrollment failed: the panel refused (401): the join token is unknown; "
        "make a new one with `wgfleet node join NODE`\n"
    )


@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("login", "wgfleet login"),
        ("check", "wgfleet panel check-settings"),
        ("sample", "wgfleet panel sample-settings"),
    ],
)
def test_what_is_no_command_of_a_config_is_named_where_it_is(wgfleet: Run, word: str, command: str) -> None:
    refused = wgfleet("config", word)
    assert refused.returncode == 2
    assert f"No such command '{word}'" in refused.stderr
    assert command in " ".join(refused.stderr.replace("│", " ").split())
    assert wgfleet(*command.split()[1:], "--help").returncode == 0
    assert word not in wgfleet("config", "--help").stdout.split()


def test_a_name_that_nobody_publishes_is_said_to_be_so(wgfleet: Run, wg0: dict[str, Any]) -> None:
    assert wg0["name"] == "wg0"
    made = wgfleet("endpoint", "update", "wg0", "--domain", "vpn.example.com")
    assert "nobody publishes vpn.example.com yet" in made.stderr
    assert "nobody publishes" not in wgfleet("endpoint", "show", "wg0").stderr
    joined = wgfleet("node", "create", "fra1", "--endpoint", "192.0.2.1")
    assert "within 1h (before " in joined.stdout
    again = wgfleet("node", "join", "fra1")
    assert "within 1h" in again.stderr
    assert again.stdout.startswith("wgfleet agent enroll ")
