"""Whatever dies or fails, the interface comes back as it was wanted."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from tests.agent.node import Host, Node
from tests.agent.test_push import applied, refused
from tests.agent.values import peer, peers, random_key, settings, whole
from tests.waiting import eventually
from wgfleet.protocol.desired import delta_between
from wgfleet.protocol.ids import Generation
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import AgentStatus, Takeover, TakeoverPeer

pytestmark = pytest.mark.lab


def peers_of(node: Node) -> set[str]:
    return set(node.host.run("wg", "show", "wg0", "peers", check=False).split())


def wireguard_go(node: Node, name: str = "wg0") -> int | None:
    pids = subprocess.run(["ip", "netns", "pids", node.host.namespace], capture_output=True, text=True, check=True)
    for pid in pids.stdout.split():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:3] == [b"wireguard-go", b"-f", name.encode()]:
                return int(pid)
    return None


def status(node: Node) -> AgentStatus:
    return msgspec.json.decode(node.call("GET", "/v1/status").content, type=AgentStatus)


def test_a_killed_wireguard_go_is_noticed_and_back_with_its_peers(node: Node) -> None:
    wanted = whole(1, settings(addresses=("10.8.0.1/16",), routes=("10.77.0.0/16",)), peers(500))
    applied(node, wanted)
    before = wireguard_go(node)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    eventually(lambda: peers_of(node) == wanted.peers.keys())
    eventually(lambda: "10.77.0.0/16 dev wg0" in node.host.run("ip", "route"))
    assert wireguard_go(node) != before
    assert any(line["event"] in {"wireguard_go.ended", "link.vanished"} for line in node.log())


def test_a_removed_link_comes_back(node: Node) -> None:
    wanted = whole(1)
    applied(node, wanted)
    node.host.run("ip", "link", "del", "wg0")
    eventually(lambda: peers_of(node) == wanted.peers.keys())


@pytest.mark.parametrize(
    "damage",
    [
        ("ip", "addr", "del", "10.8.0.1/16", "dev", "wg0"),
        ("ip", "addr", "add", "10.99.0.1/24", "dev", "wg0"),
        ("ip", "link", "set", "wg0", "down"),
        ("ip", "route", "del", "10.77.0.0/16"),
        ("wg", "set", "wg0", "listen-port", "1234"),
        ("nft", "delete", "table", "inet", "wgfleet_wg0"),
    ],
)
def test_what_is_changed_by_hand_is_put_back(node: Node, damage: tuple[str, ...]) -> None:
    made = settings(routes=("10.77.0.0/16",), masquerade=True)
    wanted = whole(1, made)
    applied(node, wanted)

    def state() -> list[str]:
        dump = node.host.run("wg", "show", "wg0", "dump").splitlines()
        commands = ("ip -o addr show wg0", "ip route", "ip link show wg0", "nft list ruleset")
        return [*sorted(dump), *(node.host.run(*command.split()) for command in commands)]

    before = state()
    node.host.run(*damage)
    assert state() != before
    eventually(lambda: state() == before, 90, 0.2)


@pytest.mark.parametrize("damage", [("nft", "flush", "ruleset"), ("sysctl", "-qw", "net.ipv4.ip_forward=0")])
def test_lost_rules_and_forwarding_are_back_at_once(node: Node, damage: tuple[str, ...]) -> None:
    applied(node, whole(1, settings(masquerade=True)))
    eventually(lambda: status(node).interfaces[0].summary != "not read yet")
    time.sleep(2)
    node.host.run(*damage)
    started = time.monotonic()
    eventually(lambda: "masquerade" in node.host.run("nft", "list", "ruleset"), 60, 0.05)
    eventually(lambda: node.host.run("cat", "/proc/sys/net/ipv4/ip_forward").strip() == "1", 60, 0.05)
    assert time.monotonic() - started < 20  # about 1 s on an idle machine; 28 s without the kernel's events


def test_a_machine_without_tun_says_so(node: Node) -> None:
    node.host.run("mount", "-t", "tmpfs", "tmpfs", "/dev/net")
    refusal = refused(node, whole(1))
    assert "/dev/net/tun, which cannot be opened (No such file or directory)" in refusal.detail
    assert "modprobe tun" in refusal.detail


def test_an_agent_without_the_capability_names_it(make_node: Callable[..., Node]) -> None:
    node = make_node()
    done = subprocess.run(
        node.host.command(
            *("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", sys.executable, "-c"),
            "from wgfleet.cli import main; main()",
            *("agent", "run", "--state-dir", str(node.state.root)),
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "CAP_NET_ADMIN" in done.stdout + done.stderr


def test_the_agent_answers_over_ipv6(node: Node) -> None:
    assert "[::]:51900" in node.host.run("ss", "-6ltn") or "*:51900" in node.host.run("ss", "-6ltn")


def test_the_watchdog_hears_of_an_agent_that_works(make_node: Callable[..., Node], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        node = make_node()
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
            environment.setenv("WATCHDOG_USEC", "600000")
            node.start()
        heard = [systemd.recv(100) for _ in range(4)]
        assert heard.count(b"WATCHDOG=1") >= 2
        os.kill(node.pid, signal.SIGSTOP)
        systemd.settimeout(1.5)
        with contextlib.suppress(TimeoutError):
            heard.extend(systemd.recv(100) for _ in range(10))  # what was under way
        os.kill(node.pid, signal.SIGCONT)
        assert len(heard) < 10


def test_drift_is_only_reported_when_repair_is_off(make_node: Callable[..., Node]) -> None:
    node = make_node()
    node.start("--report-only")
    wanted = whole(1)
    applied(node, wanted)
    (gone, *_) = wanted.peers
    node.host.run("wg", "set", "wg0", "peer", gone, "remove")
    eventually(lambda: [d.field for d in status(node).interfaces[0].drift] == [f"peers.{gone}"])
    assert gone not in peers_of(node)


HANG = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect("/run/wireguard/wg0.sock")
    connection.sendall(b"set=1\\n")  # wireguard-go holds its lock until the end of what is to be set
    print("hangs", flush=True)
    sys.stdin.read()
"""


def test_a_wireguard_that_answers_nobody_is_ended_and_started_anew(node: Node) -> None:
    wanted = whole(3)
    applied(node, wanted)
    process = wireguard_go(node)
    command = node.host.command(sys.executable, "-c", HANG)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hanging:
        assert hanging.stdout is not None
        assert hanging.stdout.readline() == "hangs\n"
        eventually(lambda: wireguard_go(node) not in {None, process}, within_s=120)
        hanging.communicate()
    eventually(lambda: peers_of(node) == wanted.peers.keys())


def test_an_agent_that_ends_leaves_the_interface_and_takes_it_up_again(node: Node) -> None:
    wanted = whole(3)
    applied(node, wanted)
    process = wireguard_go(node)
    assert node.stop() == 0
    assert wireguard_go(node) == process
    assert peers_of(node) == wanted.peers.keys()
    node.start()
    eventually(lambda: status(node).interfaces[0].summary == "as wanted")
    assert wireguard_go(node) == process
    os.kill(process or 0, signal.SIGKILL)  # it is watched again, though it is no child of this agent
    eventually(lambda: peers_of(node) == wanted.peers.keys())


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.03, 0.1, 0.2, 0.4])
def test_an_agent_killed_during_a_push_ends_at_one_of_the_two_states(node: Node, after_s: float) -> None:
    before = whole(1, having=peers(400))
    applied(node, before)
    after = whole(2, before.settings, peers(800))
    killer = subprocess.Popen(["sh", "-c", f"sleep {after_s}; kill -9 {node.pid}"])
    with contextlib.suppress(httpx.TransportError):
        node.call("PUT", "/v1/wg/wg0", after)
    killer.wait()
    node.stop(signal.SIGKILL)
    node.start()
    eventually(lambda: status(node).interfaces[0].summary in {"as wanted", "repaired what had changed on the machine"})
    generation = status(node).interfaces[0].generation
    wanted = {1: before, 2: after}[generation]
    eventually(lambda: peers_of(node) == wanted.peers.keys())
    assert applied(node, after).verified
    assert peers_of(node) == after.peers.keys()


def test_a_removal_that_was_cut_short_is_finished_at_the_next_start(node: Node) -> None:
    applied(node, whole(1))
    node.stop(signal.SIGKILL)
    ledger = msgspec.json.decode(node.state.ledger.read_bytes())
    ledger["owned"]["wg0"]["deleting"] = True
    node.state.ledger.write_bytes(msgspec.json.encode(ledger))
    node.start()
    assert "wg0" not in node.host.run("ip", "link")
    assert status(node).interfaces == ()


def test_a_removal_that_failed_halfway_is_finished_when_it_is_asked_for_again(node: Node) -> None:
    applied(node, whole(1, settings(masquerade=True)))
    nft = shutil.which("nft") or ""
    node.host.run("mount", "--bind", "/bin/false", nft)
    assert node.call("DELETE", "/v1/wg/wg0").status_code == httpx.codes.INTERNAL_SERVER_ERROR
    assert "wg0" in node.host.run("ip", "link")
    node.host.run("umount", nft)
    assert node.call("DELETE", "/v1/wg/wg0").status_code == httpx.codes.NO_CONTENT
    assert "wg0" not in node.host.run("ip", "link")
    assert "wgfleet_wg0" not in node.host.run("nft", "list", "tables")


def test_a_leftover_of_the_search_for_wireguard_does_not_stop_the_next_start(node: Node) -> None:
    node.stop(signal.SIGKILL)
    node.host.run("ip", "link", "add", "wgfleet-probe", "type", "bridge")
    node.start()
    assert "wgfleet-probe" not in node.host.run("ip", "link")


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_refuses_a_push_and_keeps_the_old_state(
    small_disk: Path, make_host: Callable[[], Host], make_node: Callable[..., Node]
) -> None:
    node = make_node(host=make_host(), state=small_disk / "state")
    node.start()
    before = whole(1, having=peers(5))
    applied(node, before)
    fill(small_disk)
    refusal = refused(node, whole(2, before.settings, peers(2000)))
    assert (refusal.status, refusal.reason) == (507, "disk")
    grown = msgspec.structs.replace(
        before, generation=Generation(2), peers={**before.peers, PublicKey(random_key()): peer(77)}
    )
    refusal = refused(node, delta_between(before, grown))
    assert (refusal.status, refusal.reason) == (507, "disk")
    assert refused(node, whole(1, settings("wg1")), "wg1").reason == "disk"
    assert "wg1" not in node.host.run("ip", "link")
    assert peers_of(node) == before.peers.keys()
    assert status(node).interfaces[0].generation == 1
    (small_disk / "filler").unlink()
    assert applied(node, delta_between(before, grown)).verified
    node.stop(signal.SIGKILL)
    node.host.run("ip", "link", "del", "wg0")
    node.start()
    eventually(lambda: peers_of(node) == grown.peers.keys())


def test_secrets_stay_out_of_logs_and_arguments(node: Node) -> None:
    wanted = whole(1, having=peers(50))
    applied(node, wanted)
    bad = node.call(
        "PUT", "/v1/wg/wg0", msgspec.json.encode(wanted).replace(b'"allowed_ips":["10', b'"allowed_ips":["x', 1)
    )
    secrets = [wanted.settings.private_key, *(str(each.preshared_key) for each in wanted.peers.values())]
    text = bad.text + "".join(map(str, node.log()))
    assert bad.status_code == 422
    assert not [secret for secret in secrets if secret in text]
    for path in node.state.root.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5])
def test_an_agent_that_is_told_to_end_during_pushes_and_takeovers_ends(node: Node, after_s: float) -> None:
    before = whole(1, having=peers(300))
    applied(node, before)
    nowhere = tuple(TakeoverPeer(key, f"127.0.0.1:{9000 + i}") for i, key in enumerate(list(before.peers)[:200]))
    running = [
        node.begin("POST", "/v1/wg/wg0/takeover", Takeover(nowhere, timeout_s=10.0)),
        node.begin("PUT", "/v1/wg/wg0", whole(2, before.settings, peers(3000))),
    ]
    time.sleep(after_s)
    assert node.stop() == 0
    for call in running:
        call.exception()
    node.start()
    assert status(node).interfaces[0].generation in {1, 2}
