"""docs/production.md word for word: a bare machine serves, moves, is upgraded, and has nothing left of it at the end.

One machine is panel, node, and the panel's new machine. What the document leaves to its reader is put in here: what is
looked up (the fingerprint), typed (a key, "y"), or printed to be typed elsewhere (the command that enrolls).
"""

import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.machine import host
from tests.machine.host import INTERNET, NODE, journal, run, succeeds
from tests.waiting import eventually

pytestmark = pytest.mark.machine

DOCUMENT = (Path(__file__).parents[2] / "docs/production.md").read_text()
BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
SOURCE = Path("/srv/wgfleet")  # the checkout that the administrator works in, by script/systemd-machine
CLIENT = "client"
LEFT = ("/opt/wgfleet", "/usr/local/bin/wgfleet", "/etc/wgfleet", "/var/lib/wgfleet", "/var/lib/wgfleet-agent")


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    return str(found)


def block(title: str, beginning: str) -> str:
    """The block of commands in a section that begins so."""
    (found,) = (text for text in BLOCK.findall(section(title)) if text.startswith(beginning))
    return str(found)


def inline(title: str, beginning: str) -> str:
    """The command in a section's sentences that begins so."""
    found = re.findall(rf"`({re.escape(beginning)}[^`]*)`", BLOCK.sub("", section(title)))
    assert found, (title, beginning)
    return str(found[0])


def typed(commands: str, answer: str = "y", cwd: Path = SOURCE) -> str:
    """What commands print that are typed at a terminal, where each question gets the answer."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode() * 20)
        environment = {**os.environ, "PIP_NO_INDEX": "1", "HOME": "/root"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        done = subprocess.run(
            ["sh", "-e", "-c", commands],
            check=False,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            env=environment,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    print(f"$ {commands}\n{done.stdout}")  # noqa: T201 - shown where it fails
    assert done.returncode == 0, (commands, done.stdout)
    return done.stdout


def follow(title: str, beginning: str, cwd: Path = SOURCE) -> str:
    return typed(block(title, beginning), cwd=cwd)


def serves() -> bool:
    return "serving" in typed("wgfleet config nodes wg0")


def client_is_served() -> bool:
    return host.pings(INTERNET, "10.8.0.1")


def index() -> str:
    return Path("/sys/class/net/wg0/ifindex").read_text()


@pytest.fixture(scope="module", autouse=True)
def _machine() -> None:
    host.begin()


def test_the_panel_is_installed_and_logged_in_to() -> None:
    key = follow("The panel", "script/install panel").split()[-1]
    assert key.startswith("wgf_")
    (fingerprint,) = set(re.findall("sha256:[0-9a-f]{64}", "\n".join(journal("--unit", "wgfleet-panel"))))
    log_in, create = block("The panel", "wgfleet login").splitlines()
    run("sh", "-e", "-c", f"HOME=/root {log_in.replace('sha256:...', fingerprint)}", stdin=f"{key}\n")
    assert "anna" in typed(f"{create}\nwgfleet user list")


def test_a_node_is_enrolled_behind_its_firewall_and_serves() -> None:
    follow("Ports", "ufw allow")
    typed(inline("Nodes", "script/install agent"))
    printed = typed(inline("Nodes", "wgfleet node create fra1"))
    (enroll,) = re.findall(r"wgfleet agent enroll .*", printed)
    typed(enroll)
    typed(inline("Nodes", "systemctl enable --now wgfleet-agent"))
    follow("Nodes", "wgfleet config create wg0")
    eventually(serves, every_s=2)
    # Nothing is in the way; that a packet comes through is proven by machines beyond, and here is none.
    eventually(lambda: re.search(r" yes  +(ok|not_proven) ", typed("wgfleet config nodes wg0")), every_s=2)


def test_a_client_goes_through_it() -> None:
    typed("wgfleet peer file wg0/alice -o /root/alice.conf")
    file = Path("/root/alice.conf").read_text()
    assert "Endpoint = vpn.example.com:51820\n" in file
    (address,) = re.findall(r"^Address = ([\d.]+)", file, re.MULTILINE)
    plain = re.sub(r"^(Address|DNS|MTU) .*\n", "", file.replace("vpn.example.com", NODE), flags=re.MULTILINE)
    if not succeeds("ip", "-n", INTERNET, "link", "add", CLIENT, "type", "wireguard"):
        run(*host.inside(INTERNET, "wireguard-go", CLIENT))
    run(*host.inside(INTERNET, "wg", "setconf", CLIENT, "/dev/stdin"), stdin=plain)
    run("ip", "-n", INTERNET, "address", "add", f"{address}/16", "dev", CLIENT)
    run("ip", "-n", INTERNET, "link", "set", CLIENT, "up")
    eventually(client_is_served, every_s=1)


def test_nodes_behind_routers_and_with_names_and_larger_pools() -> None:
    follow("Nodes behind a router", "wgfleet node create home")
    follow("Nodes whose address changes", "wgfleet node create cabin")
    follow("A pool that is full", "wgfleet config update wg0 --pool")
    typed(
        "wgfleet config unassign wg0 home --force --yes --wait\n"
        "wgfleet node delete home --force\nwgfleet node delete cabin"
    )
    eventually(serves, every_s=2)


def test_it_is_watched() -> None:
    (path,) = {inline("Monitoring", "GET /readyz").split()[1]}
    assert succeeds("curl", "--fail", "--silent", f"http://127.0.0.1:8080{path}")
    typed(f"{inline('Monitoring', 'wgfleet status')} || true")
    for shown in re.findall(r"`(journalctl [^`]*)`", section("Monitoring")):
        assert "{" in typed(f"{shown} --no-pager | head -5")


def test_the_panel_moves_and_users_notice_nothing(tmp_path: Path) -> None:
    before = index()
    typed(inline("Move the panel to another machine", "systemctl disable --now wgfleet-panel"))
    follow("Backup", "runuser")
    earlier = tmp_path / "earlier"
    shutil.move("/var/lib/wgfleet", earlier)
    follow_in = tmp_path / "copied"
    follow_in.mkdir()
    for name in ("backup.sqlite", "master.key"):
        shutil.copy(earlier / name, follow_in)
    assert client_is_served()
    follow("Move the panel to another machine", "install -d", cwd=follow_in)
    eventually(
        lambda: re.search(r"fra1\s.*\syes\s", typed(inline("Move the panel to another machine", "wgfleet node list"))),
        every_s=2,
    )
    assert (client_is_served(), index()) == (True, before)


def test_an_upgrade_ends_no_session() -> None:
    before = index()
    typed(f"{inline('Upgrade', 'script/install panel')}; {inline('Upgrade', 'systemctl restart')} wgfleet-panel")
    typed("systemctl restart wgfleet-agent")
    eventually(serves, every_s=2)
    assert (client_is_served(), index()) == (True, before)


def test_nothing_is_left_of_it() -> None:
    unassign = inline("Uninstall", "wgfleet config unassign wg0 fra1")
    (force,) = {inline("Uninstall", "--force")}
    typed(f"{unassign} {force} --yes\n{inline('Uninstall', 'wgfleet node delete fra1')}")
    node_block, panel_block = (
        block("Uninstall", "systemctl disable --now wgfleet-agent"),
        block("Uninstall", "systemctl disable --now wgfleet-panel"),
    )
    # This machine is the panel's as well, for which the document leaves the program in place.
    typed(node_block.replace("/opt/wgfleet /usr/local/bin/wgfleet ", ""))
    assert not succeeds("ip", "link", "show", "wg0")
    typed(panel_block)
    left = [path for path in LEFT if Path(path).exists()]
    assert not left
    assert not succeeds("id", "wgfleet")
    assert not succeeds("pgrep", "--full", "/opt/wgfleet")
