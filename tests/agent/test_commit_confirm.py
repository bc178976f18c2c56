"""A push never cuts a machine off from the panel for long: it is refused, or taken back."""

import asyncio
import ipaddress
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.agent.node import Node
from tests.agent.test_faults import status
from tests.agent.test_push import applied, refused
from tests.agent.values import peers, settings, whole
from tests.waiting import eventually
from wgfleet.agent.interfaces.commit_confirm import SettingsTrial
from wgfleet.agent.interfaces.way_out import cuts_off
from wgfleet.agent.kernel.uplinks import Uplinks
from wgfleet.agent.state.confirmed import ConfirmedFiles, ConfirmedSettings
from wgfleet.protocol.ids import Generation, InterfaceName

WG0 = InterfaceName("wg0")
HOME = Uplinks(
    (
        ipaddress.ip_network("0.0.0.0/0"),
        ipaddress.ip_network("192.0.2.0/24"),
        ipaddress.ip_network("::/0"),
        ipaddress.ip_network("2001:db8:1::/64"),
    ),
    frozenset({"192.0.2.1", "2001:db8:1::1"}),
)


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("203.0.113.0/24", "203.0.113.5"),  # the panel, behind the default route
        ("203.0.113.5/32", "203.0.113.5"),
        ("128.0.0.0/1", "203.0.113.5"),
        ("0.0.0.0/0", "203.0.113.5"),
        ("192.0.2.0/24", "192.0.2.1"),  # the machine's own network
        ("192.0.2.1/32", "192.0.2.1"),
        ("2001:db8:1::/64", "2001:db8:1::1"),
        ("192.0.0.0/16", None),  # the machine's own network is narrower
        ("10.0.0.0/8", None),
        ("2001:db8::/32", None),
    ],
)
def test_what_would_lead_the_panel_or_the_gateway_into_the_tunnel_is_found(network: str, address: str | None) -> None:
    found = cuts_off({network: ipaddress.ip_network(network)}, {"203.0.113.5", "127.0.0.1"}, HOME)
    assert (None if found is None else found[:2]) == (None if address is None else (network, address))


class FakeContact:
    """A panel that is heard or not, as the test says."""

    def __init__(self) -> None:
        self.heard = True
        self.acknowledged = False

    def is_near(self) -> bool:
        return self.heard

    def sent(self) -> object:
        return None

    def acknowledged_since(self, sent: object) -> bool:
        del sent
        return self.acknowledged


BEFORE, AFTER = settings(routes=("10.70.0.0/16",)), settings(routes=("10.71.0.0/16",), masquerade=True)


def trial(tmp_path: Path, contact: FakeContact, wait_s: float = 0.05) -> SettingsTrial:
    return SettingsTrial(WG0, ConfirmedFiles(tmp_path), contact, lambda: contact.heard, wait_s)


async def run_until(it: SettingsTrial, done: Callable[[], bool]) -> list[str]:
    said: list[str] = []

    async def apply_again(why: str) -> None:
        said.append(why)

    task = asyncio.create_task(it.run(apply_again))
    async with asyncio.timeout(20):
        while not done():  # noqa: ASYNC110 - what `done` looks at tells nobody
            await asyncio.sleep(0.01)
    task.cancel()
    return said


def push(it: SettingsTrial) -> None:
    it.begin(BEFORE, AFTER)
    it.applying()
    it.applied()


def test_settings_that_the_panel_acknowledges_are_kept(tmp_path: Path) -> None:
    contact = FakeContact()
    contact.acknowledged = True
    it = trial(tmp_path, contact)
    push(it)
    assert (tmp_path / "wg0.confirmed").exists()
    assert asyncio.run(run_until(it, lambda: not (tmp_path / "wg0.confirmed").exists())) == []
    assert it.effective(AFTER) == AFTER
    assert it.drift(AFTER) == ()


def test_settings_after_which_the_panel_is_silent_are_taken_back_and_tried_again_when_it_is_heard(
    tmp_path: Path,
) -> None:
    contact = FakeContact()
    it = trial(tmp_path, contact)
    push(it)
    contact.heard = False

    async def work() -> None:
        (said,) = await run_until(it, lambda: it.effective(AFTER).routes == BEFORE.routes)
        assert "the panel was not heard for 0.05 s" in said
        assert it.effective(AFTER).masquerade is False
        assert {each.field for each in it.drift(AFTER)} == {
            "routes.10.70.0.0/16",
            "routes.10.71.0.0/16",
            "masquerade",
        }
        it.begin(AFTER, AFTER)  # the panel pushes peers, and the same settings: no reason to try at once
        assert it.effective(AFTER).routes == BEFORE.routes
        contact.heard = contact.acknowledged = True
        await run_until(it, lambda: it.drift(AFTER) == () and not (tmp_path / "wg0.confirmed").exists())
        assert it.effective(AFTER) == AFTER

    asyncio.run(work())


def test_an_agent_that_was_held_up_does_not_take_its_own_silence_for_the_panels(tmp_path: Path) -> None:
    contact = FakeContact()
    it = trial(tmp_path, contact, wait_s=0.6)
    push(it)

    async def work() -> None:
        said = asyncio.create_task(run_until(it, lambda: not (tmp_path / "wg0.confirmed").exists()))
        await asyncio.sleep(0.1)
        time.sleep(1)  # noqa: ASYNC251 - the loop stands still, as on an overloaded machine
        await asyncio.sleep(0.05)
        contact.acknowledged = True
        assert await said == []

    asyncio.run(work())
    assert it.effective(AFTER) == AFTER


def test_what_fails_again_has_to_wait(tmp_path: Path) -> None:
    contact = FakeContact()
    it = trial(tmp_path, contact)
    push(it)

    async def work() -> None:
        said = await run_until(it, lambda: it._pause_s > 600)  # noqa: SLF001 - ten minutes are too long for a test
        assert [each.startswith("trying again") for each in said] == [False, True, False]
        assert it.effective(AFTER).routes == BEFORE.routes
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await run_until(it, lambda: it.effective(AFTER) == AFTER)

    asyncio.run(work())


def test_other_settings_get_a_trial_of_their_own(tmp_path: Path) -> None:
    contact = FakeContact()
    it = trial(tmp_path, contact)
    push(it)
    asyncio.run(run_until(it, lambda: it.drift(AFTER) != ()))
    it.begin(AFTER, BEFORE)  # the panel takes it out
    assert it.drift(BEFORE) == ()
    assert not (tmp_path / "wg0.confirmed").exists()


def test_after_a_power_cut_what_was_confirmed_applies(tmp_path: Path) -> None:
    it = trial(tmp_path, FakeContact())
    push(it)
    after_boot = trial(tmp_path, FakeContact())
    assert after_boot.effective(AFTER).routes == BEFORE.routes
    assert ConfirmedFiles(tmp_path).read(WG0) == ConfirmedSettings.of(BEFORE)


def test_nothing_is_on_trial_where_nobody_listens(tmp_path: Path) -> None:
    contact = FakeContact()
    contact.heard = False
    it = trial(tmp_path, contact)
    push(it)
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "wg0.confirmed").write_bytes(b"\0")
    assert trial(tmp_path, FakeContact()).effective(AFTER) == AFTER
    assert list(tmp_path.glob("wg0.confirmed.damaged-*"))


@pytest.mark.lab
def test_a_machine_that_cannot_hear_the_panel_after_a_push_goes_back(make_node: Callable[..., Node]) -> None:
    node = make_node()
    node.start("--confirm", "2")
    before = whole(1, settings(routes=("10.70.0.0/16",)))
    with node.watch():
        applied(node, before)
        eventually(lambda: not (node.state.desired / "wg0.confirmed").exists())
        # As soon as the push is about to be applied, nothing reaches the panel: as if that were its doing.
        node.host.run(
            "nft",
            "-f",
            "-",
            stdin="table ip cut { chain c { type filter hook output priority 0; tcp sport 1 drop; }; }",
        )
        file = node.state.desired / "wg0.confirmed"
        node.host.spawn("sh", "-c", f"until [ -e {file} ]; do :; done; exec nft add rule ip cut c tcp sport 51900 drop")
        after = whole(2, msgspec.structs.replace(before.settings, routes=("10.71.0.0/16",)), peers(4))
        running = node.begin("PUT", "/v1/wg/wg0", after)
        eventually(lambda: "10.71.0.0/16" in node.host.run("ip", "route"))
        eventually(lambda: "10.71.0.0/16" not in node.host.run("ip", "route"), 10)
        eventually(lambda: "10.70.0.0/16 dev wg0" in node.host.run("ip", "route"), 10)  # one is taken, then one given
        assert set(node.host.run("wg", "show", "wg0", "peers").split()) == after.peers.keys()
        assert json.loads((node.state.desired / "wg0.confirmed").read_bytes())["routes"] == ["10.70.0.0/16"]
        # A power cut now: what was confirmed applies at boot.
        node.stop(signal.SIGKILL)
        running.exception()
        node.host.run("ip", "link", "del", "wg0")
        node.start("--confirm", "2", wait=False)
        eventually(lambda: "10.70.0.0/16 dev wg0" in node.host.run("ip", "route"), 20)
        node.host.run("nft", "delete", "table", "ip", "cut")
    eventually(node.answers)
    back = {"routes.10.70.0.0/16", "routes.10.71.0.0/16"}
    eventually(lambda: {each.field for each in status(node).interfaces[0].drift} == back)
    assert status(node).interfaces[0].generation == 2
    with node.watch():
        eventually(lambda: "10.71.0.0/16 dev wg0" in node.host.run("ip", "route"), 20)
        eventually(lambda: not (node.state.desired / "wg0.confirmed").exists(), 20)
    assert status(node).interfaces[0].drift == ()


@pytest.mark.lab
def test_a_push_that_would_take_the_gateway_is_refused(node: Node) -> None:
    node.host.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    node.host.run("ip", "addr", "add", "198.51.100.2/24", "dev", "eth0")
    for link in ("eth0", "eth1"):
        node.host.run("ip", "link", "set", link, "up")
    node.host.run("ip", "route", "add", "default", "via", "198.51.100.1")
    before = whole(1, settings(routes=("10.70.0.0/16",)))
    applied(node, before)
    for routes in (("198.51.100.0/24",), ("10.71.0.0/16", "198.51.100.1/32")):
        wanted = whole(2, msgspec.structs.replace(before.settings, routes=routes))
        refusal = refused(node, wanted)
        assert refusal.reason == "cuts_off"
        assert "198.51.100.1, the gateway of this machine's default route" in refusal.detail
    assert refused(node, whole(1, settings("wg1", addresses=("198.51.100.9/24",))), "wg1").reason == "cuts_off"
    assert status(node).interfaces[0].generation == 1
    wide = msgspec.structs.replace(before.settings, routes=("198.51.0.0/16",))
    assert applied(node, msgspec.structs.replace(before, generation=Generation(2), settings=wide)).verified
