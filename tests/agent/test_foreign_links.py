"""Links that other programs make under the name of ours, before and after it, are left alone."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.agent.node import Host, Node
from tests.agent.test_faults import status, wireguard_go
from tests.agent.test_push import applied, refused
from tests.agent.values import private_key, whole
from tests.waiting import eventually
from wgfleet.protocol.ids import Generation

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("deleting", [False, True])
def test_a_link_that_another_program_made_after_a_boot_is_left_alone(node: Node, deleting: bool) -> None:
    wanted = whole(1)
    applied(node, wanted)
    node.stop()
    node.host.run("ip", "link", "del", "wg0")
    eventually(lambda: wireguard_go(node) is None)
    ledger = msgspec.json.decode(node.state.ledger.read_bytes())
    ledger["owned"]["wg0"] |= {"deleting": deleting, "boot": "an earlier one"}
    node.state.ledger.write_bytes(msgspec.json.encode(ledger))
    node.host.run("ip", "link", "add", "wg0", "type", "bridge")
    node.start()
    assert refused(node, msgspec.structs.replace(wanted, generation=Generation(2))).reason == "foreign_interface"
    assert "bridge" in node.host.run("ip", "-d", "link", "show", "wg0")
    assert status(node).interfaces == ()


@pytest.mark.parametrize("kind", ["bridge", "wireguard"])
def test_a_link_that_another_program_makes_in_place_of_ours_is_left_alone(node: Node, kind: str) -> None:
    wanted = whole(1)
    applied(node, wanted)
    os.kill(node.pid, signal.SIGSTOP)
    node.host.run("ip", "link", "del", "wg0")
    eventually(lambda: wireguard_go(node) is None)
    if kind == "bridge":
        node.host.run("ip", "link", "add", "wg0", "type", "bridge")
    else:
        node.host.run("wireguard-go", "wg0")
    key = private_key()
    if kind == "wireguard":
        node.host.run("wg", "set", "wg0", "private-key", "/dev/stdin", stdin=key)
    os.kill(node.pid, signal.SIGCONT)

    def left_alone() -> bool:
        here = status(node).interfaces[0]
        return "was not made by wgfleet" in here.summary and not here.up

    eventually(left_alone)
    assert refused(node, msgspec.structs.replace(wanted, generation=Generation(2))).reason == "foreign_interface"
    node.stop()
    node.start()
    assert refused(node, msgspec.structs.replace(wanted, generation=Generation(2))).reason == "foreign_interface"
    if kind == "bridge":
        assert "bridge" in node.host.run("ip", "-d", "link", "show", "wg0")
    else:
        assert node.host.run("wg", "show", "wg0", "private-key").strip() == key
    node.host.run("ip", "link", "del", "wg0")
    assert applied(node, msgspec.structs.replace(wanted, generation=Generation(2))).verified


SCANNED_BEFORE_IT_IS_TOLD = """
import asyncio, subprocess, sys
from pathlib import Path
import msgspec
from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.kernel.commands import KernelError
from wgfleet.agent.kernel.machine import Machine
from wgfleet.agent.state.ledger import Ledger
from wgfleet.protocol.desired import DesiredInterface

class Quiet:
    def changed(self, *_): pass

async def work(root, wanted, replace):
    machine = Machine("userspace", root)
    reconciler = InterfaceReconciler(machine, wanted, Quiet(), FloatingAddresses(Ledger(root / "ledger.json")))
    async with reconciler.lock:
        await reconciler.apply_whole(wanted)
        subprocess.run(["sh", "-ec", replace], check=True)
        try:
            await reconciler.scan(repair=True)
        except KernelError as error:
            print(error)

wanted = msgspec.json.decode(sys.stdin.read(), type=DesiredInterface)
asyncio.run(work(Path(sys.argv[1]), wanted, sys.argv[2]))
"""


def test_a_scan_before_anybody_tells_of_another_link_leaves_it_alone(
    make_host: Callable[[], Host], tmp_path: Path
) -> None:
    """The kernel tells of it in time, a busy machine does not."""
    host, key = make_host(), private_key()
    (tmp_path / "key").write_text(key)
    replace = (
        "ip link del wg0; while pgrep --ns $$ --nslist net -x wireguard-go; do sleep 0.05; done; wireguard-go wg0; "
        f"wg set wg0 private-key {tmp_path}/key"
    )
    said = host.run(
        *(sys.executable, "-c", SCANNED_BEFORE_IT_IS_TOLD, str(tmp_path), replace),
        stdin=msgspec.json.encode(whole(1)).decode(),
    )
    assert "was not made by wgfleet" in said
    assert host.run("wg", "show", "wg0", "private-key").strip() == key
    assert host.run("wg", "show", "wg0", "peers") == ""


def test_a_removal_leaves_a_link_alone_that_took_the_place_of_ours(node: Node) -> None:
    applied(node, whole(1))
    os.kill(node.pid, signal.SIGSTOP)
    node.host.run("ip", "link", "del", "wg0")
    node.host.run("ip", "link", "add", "wg0", "type", "bridge")
    os.kill(node.pid, signal.SIGCONT)
    node.call("DELETE", "/v1/wg/wg0?config_id=config-1&generation=2")
    assert "bridge" in node.host.run("ip", "-d", "link", "show", "wg0")


def test_a_link_of_ours_without_a_mark_is_ours_by_its_key(node: Node) -> None:
    wanted = whole(1)
    applied(node, wanted)
    process = wireguard_go(node)
    node.stop(signal.SIGKILL)
    node.host.run("ip", "link", "set", "wg0", "alias", "")
    node.start()
    assert applied(node, msgspec.structs.replace(wanted, generation=Generation(2))).verified
    assert wireguard_go(node) == process
    node.host.run("ip", "link", "set", "wg0", "alias", "")
    assert applied(node, msgspec.structs.replace(wanted, generation=Generation(3))).verified
