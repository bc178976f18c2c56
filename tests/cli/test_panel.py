"""`wgfleet panel` as a person starts it: what it makes, prints and refuses; real processes on loopback."""

import base64
import contextlib
import fcntl
import hashlib
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from tests import programs
from wgfleet.cli import panel
from wgfleet.cli.panel import _overrides as panel_overrides
from wgfleet.cli.panel_greeting import login_line, plain_address_hint, private_address_hint
from wgfleet.panel.domain.certificates import CertificateKind
from wgfleet.panel.server_certificate import certificate_subjects
from wgfleet.panel.services import certificates
from wgfleet.panel.settings import Settings, load_settings
from wgfleet.panel.settings.listeners import parse_listener
from wgfleet.panel.settings.panel_node import PanelNodeSettings
from wgfleet.panel.settings.tls import TlsSettings
from wgfleet.panel.store import Store

pytestmark = pytest.mark.slow

WGFLEET = str(Path(sys.executable).parent / "wgfleet")


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """Commands run in this process tighten its umask."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def wgfleet(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(panel.app, arguments, env=env)


@contextlib.contextmanager
def running(data_dir: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run a panel until the end of the block; give the lines that it printed up to the CA's fingerprint."""
    command = ["panel", "run", "--data-dir", str(data_dir), "--no-panel-node", *arguments]
    with programs.Forked(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            lines = []
            for line in process.stdout:
                lines.append(line.strip())
                if line.startswith("CA fingerprint"):
                    break
            yield process, lines
        finally:
            process.kill()


def got(url: str, **options: Any) -> httpx.Response:
    return httpx.get(url, timeout=60, trust_env=False, **options)


def value(lines: list[str], label: str) -> list[str]:
    return [line.removeprefix(label).strip() for line in lines if line.startswith(label)]


def fingerprint(pem: str) -> str:
    return "sha256:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def test_a_first_start_prints_one_key_that_works_and_a_second_prints_none(tmp_path: Path) -> None:
    listen = ["--listen", "127.0.0.1:0", "--listen", "https://127.0.0.1:0"]
    data_dir = tmp_path / "data"
    with running(data_dir, *listen) as (process, lines):
        [place] = value(lines, "admin API key:")
        assert re.fullmatch(rf"in {data_dir}/first-admin-key; .*", place)
        key = (data_dir / "first-admin-key").read_text().strip()
        plain, secure = value(lines, "listening on")
        assert (plain[:7], secure[:8]) == ("http://", "https://")
        headers = {"authorization": f"Bearer {key}"}
        assert got(f"{plain}/api/nodes", headers=headers).status_code == 200
        assert got(f"{plain}/api/nodes").status_code == 401
        ca = got(f"{plain}/api/ca.pem").text
        assert value(lines, "CA fingerprint:") == [fingerprint(ca)]
        trust = ssl.create_default_context(cadata=ca)
        assert got(f"{secure}/api/nodes", headers=headers, verify=trust).status_code == 200
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
        modes = {(file.is_dir(), stat.S_IMODE(file.stat().st_mode)) for file in data_dir.iterdir()}
        assert modes == {(False, 0o600), (True, 0o700)}
        assert process.stdout
        told = process.stdout.readline().strip()
        assert told == f"log in with: wgfleet login {secure} --ca-fingerprint {fingerprint(ca)}"
        login = programs.run(
            *told.split()[4:], given=f"{key}\n", environment={**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "cli")}
        )
        assert login.returncode == 0, login.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    with running(data_dir, *listen) as (_, again):
        assert not value(again, "admin API key:")
        assert value(again, "CA fingerprint:") == value(lines, "CA fingerprint:")


def test_old_tls_is_not_spoken(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--listen", "https://127.0.0.1:0") as (_, lines):
        port = int(value(lines, "listening on")[0].rpartition(":")[2])
        probe = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_1"],
            input="", capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert probe.returncode != 0


def test_init_makes_everything_once_and_a_lost_key_can_be_replaced(tmp_path: Path) -> None:
    first = wgfleet("init", "--data-dir", str(tmp_path / "data"))
    second = wgfleet("init", "--data-dir", str(tmp_path / "data"))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "wgf_" not in first.stdout + first.stderr, "it would stay in a log"
    assert re.fullmatch(r"wgf_\S{43}\n", (tmp_path / "data" / "first-admin-key").read_text())
    assert "wgf_" not in second.stdout + second.stderr
    with (tmp_path / "data" / "panel.lock").open("w+") as lock:
        lock.write("process 7\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        beside = wgfleet("init", "--data-dir", str(tmp_path / "data"))
    assert (beside.exit_code, "a panel (process 7) runs on" in beside.stderr) == (1, True)
    replaced = wgfleet("admin-key", "rescue", "--data-dir", str(tmp_path / "data"))
    assert re.fullmatch(r"admin API key: wgf_\S{43}\n", replaced.stdout)
    refused = wgfleet("admin-key", "rescue", "--data-dir", str(tmp_path / "data"))
    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: name: an API key named 'rescue' already exists")


def test_an_empty_directory_is_not_the_one_that_a_shell_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = wgfleet("init", "--data-dir", "")
    assert (refused.exit_code, "names no directory; write one" in refused.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []
    assert wgfleet("init", "--data-dir", ".").exit_code == 0


@pytest.mark.parametrize(
    "command",
    [
        ["admin-key", "rescue"],
        ["backup", "FOLDER/copy"],
        ["restored"],
        ["reseal"],
        ["client-certificate", "FOLDER/calls"],
    ],
)
def test_a_wrong_directory_does_not_become_a_panel(tmp_path: Path, command: list[str]) -> None:
    arguments = [each.replace("FOLDER", str(tmp_path)) for each in command]
    refused = wgfleet(*arguments, "--data-dir", str(tmp_path / "wrong"))
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert f"no panel has used {tmp_path / 'wrong' / 'panel.sqlite'}: name the panel's directory" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_panel_leaves_a_directory_of_something_else_as_it_is(tmp_path: Path) -> None:
    other = tmp_path / "www"
    other.mkdir()
    (other / "index.html").touch()
    other.chmod(0o755)
    command = [WGFLEET, "panel", "run", "--data-dir", str(other), "--listen", "127.0.0.1:0"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 1
    assert "has files of something else" in refused.stderr
    assert [each.name for each in other.iterdir()] == ["index.html"]
    assert stat.S_IMODE(other.stat().st_mode) == 0o755


def test_a_lost_master_key_is_not_replaced(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert wgfleet("init", "--data-dir", str(data)).exit_code == 0
    (data / "master.key").unlink()
    for command in ("init", "restored"):
        refused = wgfleet(command, "--data-dir", str(data))
        assert refused.exit_code == 1
        assert f"{data / 'master.key'}: is missing; put back the key" in refused.stderr
    assert not (data / "master.key").exists()


def test_a_damaged_database_is_told_in_one_line_and_gets_no_master_key(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert wgfleet("init", "--data-dir", str(data_dir)).exit_code == 0
    (data_dir / "master.key").unlink()
    (data_dir / "panel.sqlite").write_text("no database " * 1000)
    for command in (["run", "--listen", "127.0.0.1:0"], ["init"]):
        refused = programs.run("panel", *command, "--data-dir", str(data_dir))
        assert refused.returncode == 1
        assert refused.stderr.startswith("error: the database is damaged (file is not a database); stop the panel")
        assert refused.stderr.count("\n") == 1
        assert not (data_dir / "master.key").exists()


def test_an_emptied_database_does_not_become_a_second_panel(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert wgfleet("init", "--data-dir", str(data_dir)).exit_code == 0
    for file in data_dir.glob("panel.sqlite-*"):
        file.unlink()
    (data_dir / "panel.sqlite").write_bytes(b"")
    for command in (["run", "--listen", "127.0.0.1:0"], ["init"], ["restored"]):
        refused = programs.run("panel", *command, "--data-dir", str(data_dir))
        assert refused.returncode == 1
        assert f"the database {data_dir / 'panel.sqlite'} is empty" in refused.stderr
        assert "put a backup in its place" in refused.stderr
        assert refused.stderr.count("\n") == 1
    (data_dir / "panel.sqlite").unlink()
    assert wgfleet("init", "--data-dir", str(data_dir)).exit_code == 0, "the way out that is said"


@pytest.mark.parametrize(
    ("listen", "public_url", "line"),
    [
        ("127.0.0.1:8080", None, "http://127.0.0.1:8080"),
        ("[2001:db8::5]:8443", None, "https://[2001:db8::5]:8443 --ca-fingerprint sha256:ab"),
        ("127.0.0.1:8443", "https://vpn.example.com/panel", "https://vpn.example.com/panel"),
        ("203.0.113.1:8443", "https://vpn.example.com", "https://vpn.example.com --ca-fingerprint sha256:ab"),
    ],
)
def test_the_login_line_is_where_others_reach_the_panel(listen: str, public_url: str | None, line: str) -> None:
    settings = Settings(listen=(parse_listener(listen),), public_url=public_url)
    assert login_line(settings.listen, "sha256:ab", settings) == f"wgfleet login {line}"


def settings_of(listen: str, names: tuple[str, ...], addresses: tuple[str, ...] = ()) -> Settings:
    return Settings(
        listen=(parse_listener(listen),),
        tls=TlsSettings(names=names),
        panel_node=PanelNodeSettings(endpoint_addresses=addresses),
    )


def test_a_panel_behind_another_address_is_logged_in_to_by_that_one() -> None:
    """As machines of clouds are, which know nothing of their public address."""
    for names, addresses, url in (
        (("vpn.example.com", "203.0.113.7"), (), "https://vpn.example.com:8443"),
        ((), ("203.0.113.7",), "https://203.0.113.7:8443"),
        (("2001:db8::7",), (), "https://[2001:db8::7]:8443"),
    ):
        settings = settings_of("10.0.0.5:8443", names, addresses)
        assert login_line(settings.listen, "sha256:ab", settings) == f"wgfleet login {url} --ca-fingerprint sha256:ab"
        assert private_address_hint(settings.listen, settings) is None
    plain = settings_of("127.0.0.1:8080", ("vpn.example.com",))
    assert login_line(plain.listen, "sha256:ab", plain) == "wgfleet login http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("listen", "hinted"),
    [
        ("10.0.0.5:8443", True),
        ("100.64.3.4:8443", True),
        ("[fd00::5]:8443", True),
        ("203.0.113.1:8443", False),
        ("127.0.0.1:8080", False),
    ],
)
def test_where_only_a_private_address_is_known_it_is_said_what_to_set(listen: str, hinted: bool) -> None:
    settings = settings_of(listen, ())
    hint = private_address_hint(settings.listen, settings)
    assert (hint is not None and "--name" in hint and "tls.names" in hint) is hinted


def test_a_public_url_of_plain_http_is_warned_of_unless_it_stays_on_the_machine(tmp_path: Path) -> None:
    for url, hinted in (
        ("http://panel.example.com", True),
        ("http://203.0.113.1:8080/vpn", True),
        ("http://127.0.0.1:8080", False),
        ("http://localhost:8080", False),
        ("https://panel.example.com", False),
        (None, False),
    ):
        hint = plain_address_hint(Settings(public_url=url))
        assert (hint is not None and "agents refuse to join" in hint and "https://" in hint) is hinted, url
    file = tmp_path / "panel.toml"
    file.write_text(f'data_dir = "{tmp_path}"\npublic_url = "http://panel.example.com"\n')
    checked = wgfleet("check-settings", "--settings-file", str(file))
    assert checked.exit_code == 0
    assert "warning: public_url is http://panel.example.com" in checked.output


def test_the_name_of_the_command_line_is_one_of_the_certificate(tmp_path: Path) -> None:
    found = load_settings(None, {"WGFLEET_TLS__NAMES": '["b"]'}, panel_overrides(tmp_path, names=["203.0.113.7"]))
    assert certificate_subjects(found)[1][0] == "203.0.113.7"


def test_a_certificate_whose_files_are_there_is_not_issued(tmp_path: Path) -> None:
    data, calls = str(tmp_path / "data"), tmp_path / "calls"
    assert wgfleet("init", "--data-dir", data).exit_code == 0
    assert wgfleet("client-certificate", str(calls), "--data-dir", data).exit_code == 0
    (calls / "panel.crt").unlink()
    refused = wgfleet("client-certificate", str(calls), "--data-dir", data)
    assert refused.exit_code == 1
    assert f"{calls / 'panel.key'} exists; choose another directory" in refused.stderr
    with contextlib.closing(Store(f"sqlite:///{tmp_path}/data/panel.sqlite")) as store, store.read() as tx:
        issued = certificates.page(tx, None, 10, kind=CertificateKind.CLIENT)
    assert len(issued) == 1, "what is not in the caller's hands is not accepted either"


def test_another_master_key_stops_the_start_in_one_line(tmp_path: Path) -> None:
    assert wgfleet("init", "--data-dir", str(tmp_path / "data")).exit_code == 0
    other = {"WGFLEET_MASTER_KEY": base64.b64encode(bytes(32)).decode()}
    refused = wgfleet("init", "--data-dir", str(tmp_path / "data"), env=other)
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert "authority.key was sealed by master key" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--listen", "http://0.0.0.0:8080"], "plain http is for loopback only"),
        (["--listen", "nonsense"], "ADDRESS:PORT"),
        (["--panel-node-address", "x"], "not an IPv4 or IPv6 address"),
        (["--settings-file", "/nonexistent.toml"], "cannot be read"),
    ],
)
def test_wrong_settings_end_with_two_and_make_nothing(tmp_path: Path, arguments: list[str], text: str) -> None:
    refused = wgfleet("run", "--data-dir", str(tmp_path / "data"), *arguments)
    assert refused.exit_code == 2
    assert text in refused.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "command", [["run", "--listen", "127.0.0.1:0"], ["init"], ["admin-key", "x"], ["backup", "/x"]]
)
@pytest.mark.parametrize(
    ("directory", "database", "text"),
    [
        ("file", None, "Not a directory"),
        ("file/below", None, "Not a directory"),
        ("data", "directory", "Is a directory"),
        ("data", "file/panel.sqlite", "Not a directory"),
    ],
)
def test_places_that_cannot_hold_a_panel_are_told_in_one_line(
    tmp_path: Path, command: list[str], directory: str, database: str | None, text: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    env = {} if database is None else {"WGFLEET_DATABASE_URL": f"sqlite:///{tmp_path / database}"}
    refused = programs.run("panel", *command, "--data-dir", str(tmp_path / directory), environment=os.environ | env)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert text in refused.stderr or "File exists" in refused.stderr or "no panel has used" in refused.stderr
    assert not list(tmp_path.rglob("master.key"))


def test_the_directory_of_the_database_is_made(tmp_path: Path) -> None:
    env = {"WGFLEET_DATABASE_URL": f"sqlite:///{tmp_path}/new/panel.sqlite"}
    assert wgfleet("init", "--data-dir", str(tmp_path / "data"), env=env).exit_code == 0
    assert (tmp_path / "new" / "panel.sqlite").exists()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_port_in_use_ends_before_a_key_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = wgfleet("run", "--data-dir", str(tmp_path / "data"), "--listen", address)
    assert refused.exit_code == 2
    assert "choose another with --listen" in refused.stderr
    assert not (tmp_path / "data").exists()
