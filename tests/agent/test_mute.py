"""A node that may have been replaced says nothing to anybody before it has heard the panel; all others speak on."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from tests.agent.node import Node
from tests.agent.segment import PROBE_KEY, Segment, at, floating
from tests.agent.test_push import applied, refused
from tests.agent.values import peer, public_key, random_key
from tests.waiting import eventually
from wgfleet.agent.interfaces import mute
from wgfleet.agent.kernel import mute_table
from wgfleet.agent.settings import AgentSettings
from wgfleet.lab.processes import command_line
from wgfleet.protocol.desired import DesiredInterface, MuteSettings
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import ProbeResult

pytestmark = pytest.mark.lab
TABLE = mute_table.table_of("wg0")  # type: ignore[arg-type]


def wanted(generation: int, *witnesses: str) -> DesiredInterface:
    found = at(generation, floating())
    return replace(found, settings=replace(found.settings, floating=None, mute=MuteSettings(witnesses, PROBE_KEY)))


def speaks(segment: Segment, node: Node, address: str, within_s: float) -> bool:
    """Whether a node's WireGuard answers the other node."""
    asker = segment.b if node is segment.a else segment.a
    key = public_key(at(1, floating()).settings.private_key)
    target = {"endpoint": f"{address}:51820", "public_key": key, "private_key": PROBE_KEY}
    answer = asker.call("POST", "/v1/probe", {"interface": "wg0", "targets": [target], "timeout_s": within_s})
    return bool(ProbeResult(**answer.json()).answered)


def a_speaks(segment: Segment) -> bool:
    return any(speaks(segment, segment.a, "198.18.0.1", within_s) for within_s in (0.5, 2.0, 8.0))


def a_is_silent(segment: Segment) -> bool:
    return not speaks(segment, segment.a, "198.18.0.1", 0.5)


def may_send(node: Node) -> bool:
    """Whether the kernel lets a node's WireGuard send just now."""
    return "elements" in node.host.run("nft", "list", "table", "inet", TABLE)


def muted(node: Node) -> str | None:
    (interface,) = node.call("GET", "/v1/status").json()["interfaces"]
    found: str | None = interface["muted"]
    return found


def heard(node: Node) -> int:
    """Return how many packets have come to a node's WireGuard."""
    counter = node.host.run("nft", "list", "counter", "inet", TABLE, "heard")
    return int(counter.partition("packets ")[2].split()[0])


def shortly(most_s: float, do: Callable[[], None], again: Callable[[], object]) -> None:
    """Do something that has to be over soon; do it again where this machine was too busy for that."""
    while True:
        begun = time.monotonic()
        do()
        if time.monotonic() - begun < most_s:
            return
        again()


@contextmanager
def armed(segment: Segment) -> Iterator[Node]:
    """Node a may be replaced by b, its witness, and its panel is there."""
    a, b = segment.a, segment.b
    applied(b, wanted(1, "198.18.0.1:51820"))
    with a.watch():
        applied(a, wanted(1, "198.18.0.2:51820"))
        eventually(lambda: TABLE in a.host.run("nft", "list", "tables"))
        eventually(lambda: TABLE in b.host.run("nft", "list", "tables") and heard(b))
        time.sleep(1.0)  # it has the answer of its witness by then
        yield a


def wireguard_go(node: Node) -> int:
    """Find the process; `nft` and others come and go beside it."""
    pids = subprocess.run(["ip", "netns", "pids", node.host.namespace], capture_output=True, text=True, check=True)
    (found,) = [pid for pid in pids.stdout.split() if "wireguard-go" in " ".join(command_line(int(pid)))]
    return int(found)


def hang(node: Node, seconds: float) -> None:
    """Stop WireGuard and the agent for a while, as in a machine that hangs."""
    pid = wireguard_go(node)
    node.signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
    node.signal(signal.SIGCONT)


def speaks_again(node: Node) -> None:
    """Wait until the panel's word lets a node speak that was muted, if it was."""
    time.sleep(2.0)

    def let() -> bool:
        node.call("POST", "/v1/wg/wg0/unmute", heard_at=time.monotonic())
        return muted(node) is None

    eventually(let, every_s=0.5)


def cut(segment: Segment, *, up: bool = False) -> None:
    """Cut node a off from the others, and from the panel, which is on its own machine here."""
    drops = "tcp dport 51900 drop; tcp sport 51900 drop;"
    rules = f"table inet cut {{ chain in {{ type filter hook input priority 0; {drops} }}; }}"
    segment.a.host.run("nft", "-f", "-", stdin="delete table inet cut\n" if up else rules)
    segment.cut(1, up=up)


def test_a_node_that_hung_says_nothing_before_it_has_heard_the_panel(segment: Segment) -> None:
    with armed(segment) as a:
        hang(a, mute_table.SPEAKS_FOR_S + 1)
        assert a_is_silent(segment)
        eventually(lambda: "the machine hung" in str(muted(a)))
        assert a.call("POST", "/v1/wg/wg0/unmute").status_code == 204
        eventually(lambda: muted(a) is None)
        assert a_speaks(segment)


def test_a_node_that_was_cut_off_says_nothing_before_the_panel_has_pushed(segment: Segment) -> None:
    with armed(segment) as a:
        cut(segment)
        time.sleep(2.5)
        cut(segment, up=True)
        assert str(muted(a)).startswith("cut off:")
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            assert a_is_silent(segment)
        applied(a, wanted(2, "198.18.0.2:51820"))
        eventually(lambda: muted(a) is None)
        assert a_speaks(segment)


def test_what_was_under_way_during_the_cut_does_not_count_as_the_panels_word(segment: Segment) -> None:
    with armed(segment) as a:
        before = time.monotonic()
        cut(segment)
        time.sleep(2.5)
        cut(segment, up=True)
        late = a.call("PUT", "/v1/wg/wg0", wanted(2, "198.18.0.2:51820"), heard_at=before)
        assert late.status_code == 200
        unmute = a.call("POST", "/v1/wg/wg0/unmute", heard_at=before)
        assert (unmute.status_code, unmute.json()["reason"]) == (409, "late")
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            assert a_is_silent(segment)
        assert a.call("POST", "/v1/wg/wg0/unmute", heard_at=time.monotonic()).status_code == 204
        eventually(lambda: muted(a) is None)


def test_a_short_cut_mutes_nobody(segment: Segment) -> None:
    with armed(segment) as a:

        def cut_shortly() -> None:
            cut(segment)
            time.sleep(0.4)
            cut(segment, up=True)

        shortly(mute.ALONE_S, cut_shortly, lambda: speaks_again(a))
        time.sleep(2.0)
        assert muted(a) is None


def test_a_panel_that_dies_mutes_nobody_and_neither_do_other_nodes_after_it(segment: Segment) -> None:
    with armed(segment) as a:
        pass
    until = time.monotonic() + mute.PANEL_AWAY_S + 1.0
    while time.monotonic() < until:
        assert a_speaks(segment)
        time.sleep(0.2)
    segment.cut(2)  # the last witness
    time.sleep(2 * mute.ALONE_S)
    segment.cut(2, up=True)
    assert muted(a) is None


def test_an_agent_that_is_dead_mutes_nobody_who_is_asked_for(segment: Segment) -> None:
    with armed(segment) as a:
        a.signal(signal.SIGKILL)
        until = time.monotonic() + 2 * mute_table.SPEAKS_FOR_S
        while time.monotonic() < until:
            assert a_speaks(segment)
            time.sleep(0.5)
        a.stop(signal.SIGKILL)
        a.start()
        time.sleep(1.0)
        assert muted(a) is None
        assert a_speaks(segment)


def speaks_after_a_rest(segment: Segment) -> bool:
    """Whether node a still answers when it had nothing to say for longer than the kernel would have it."""
    segment.b.signal(signal.SIGSTOP)  # it asks now and then as well
    time.sleep(mute_table.SPEAKS_FOR_S + 0.5)
    segment.b.signal(signal.SIGCONT)
    return a_speaks(segment)


def test_an_agent_that_is_stopped_leaves_an_interface_that_speaks_however_quiet_it_is(segment: Segment) -> None:
    with armed(segment) as a:
        pass
    a.stop()
    assert speaks_after_a_rest(segment)


def test_an_agent_that_cannot_start_again_leaves_an_interface_that_speaks(segment: Segment) -> None:
    with armed(segment) as a:
        a.stop(signal.SIGKILL)
        cannot_start(a)
    assert speaks_after_a_rest(segment)


def cannot_start(node: Node) -> None:
    """Start an agent that ends at once: its state directory is a file."""
    settings = AgentSettings(state_dir=node.state.agent, backend="userspace")
    command = node.host.command(sys.executable, "-P", "-m", "wgfleet.agent", settings.to_json())
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "the agent cannot run" in done.stderr


def test_an_interface_that_is_muted_stays_so_when_its_agent_ends(segment: Segment) -> None:
    with armed(segment) as a:
        hang(a, mute_table.SPEAKS_FOR_S + 1)
        eventually(lambda: muted(a))
        a.stop()
        assert a_is_silent(segment)
        cannot_start(a)
        assert a_is_silent(segment)


def test_a_node_that_hung_speaks_again_by_itself_where_the_panel_is_dead(segment: Segment) -> None:
    with armed(segment) as a:
        pass
    hang(a, mute_table.SPEAKS_FOR_S + 1)
    assert a_is_silent(segment)
    eventually(lambda: not a_is_silent(segment), every_s=0.5)


def test_a_push_without_users_mutes_before_a_hung_wireguard_could_draw_them(segment: Segment) -> None:
    with armed(segment) as a:
        pid = wireguard_go(a)
        pushed: list[Future[Any]] = []

        def at_next(*, users: bool) -> DesiredInterface:
            found = wanted(next(generations), "198.18.0.2:51820")
            if users:
                return replace(found, peers={**found.peers, public_key(PROBE_KEY): peer(7)})
            return replace(found, peers={key: replace(each, allowed_ips=()) for key, each in found.peers.items()})

        def fence() -> None:
            os.kill(pid, signal.SIGSTOP)
            pushed.append(a.begin("PUT", "/v1/wg/wg0", at_next(users=False)))
            eventually(lambda: not may_send(a))

        def go_on() -> None:
            os.kill(pid, signal.SIGCONT)
            assert pushed.pop().result().status_code == 200

        def again() -> None:
            go_on()
            speaks_again(a)
            applied(a, at_next(users=True))

        generations = itertools.count(2)
        applied(a, at_next(users=True))
        shortly(mute.HUNG_S, fence, again)  # before it would be muted for hanging
        go_on()
        eventually(lambda: not a_is_silent(segment))


def test_a_wireguard_that_hangs_alone_says_nothing_before_it_works_and_the_panel_was_heard(segment: Segment) -> None:
    with armed(segment) as a, a.watch():
        pid = wireguard_go(a)
        os.kill(pid, signal.SIGSTOP)
        try:
            eventually(lambda: str(muted(a)).startswith("WireGuard hangs"), within_s=2 * mute.HUNG_S)
            a.call("POST", "/v1/wg/wg0/unmute")
            time.sleep(7.0)  # longer than the panel may be silent to a node that does not hang
            assert str(muted(a)).startswith("WireGuard hangs")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert a_is_silent(segment)
        eventually(lambda: str(muted(a)).startswith("WireGuard hung, and works again"))
        assert a.call("POST", "/v1/wg/wg0/unmute").status_code == 204
        eventually(lambda: muted(a) is None)
        assert a_speaks(segment)


def test_a_wireguard_that_hangs_for_a_moment_is_not_muted(segment: Segment) -> None:
    with armed(segment) as a, a.watch():
        pid = wireguard_go(a)

        def hang_shortly() -> None:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.8)
            os.kill(pid, signal.SIGCONT)

        for _ in range(4):
            shortly(mute.HUNG_S, hang_shortly, lambda: speaks_again(a))
            time.sleep(0.6)
            assert muted(a) is None


def test_a_wireguard_that_works_on_thousands_of_peers_does_not_hang(segment: Segment) -> None:
    with armed(segment) as a, a.watch():
        many = wanted(2, "198.18.0.2:51820")
        peers = {PublicKey(random_key()): peer(1000 + number) for number in range(4000)}
        pushed = a.begin("PUT", "/v1/wg/wg0", replace(many, peers={**many.peers, **peers}))
        while not pushed.done():
            assert muted(a) is None
            time.sleep(0.1)
        assert pushed.result().status_code == 200


def test_who_flushes_all_rules_stops_nobody_and_the_table_goes_with_the_interface(segment: Segment) -> None:
    with armed(segment) as a:
        a.host.run("nft", "flush", "ruleset")
        assert a_speaks(segment)
        assert a.call("DELETE", "/v1/wg/wg0").status_code == 204
        assert TABLE not in a.host.run("nft", "list", "tables")


STAND_DOWN = """
import asyncio
from wgfleet.agent.kernel import mute_table
async def work():
    await mute_table.arm("elements", 51820)
    await mute_table.mute("elements")
    await mute_table.stand_down()
    print(await mute_table.speaks("elements", 51820))
asyncio.run(work())
"""


def test_a_muted_interface_stays_muted_whatever_it_is_called(node: Node) -> None:
    assert node.host.run(sys.executable, "-c", STAND_DOWN).strip() == "False"


def test_a_wrong_witness_is_refused_by_its_field(node: Node) -> None:
    assert refused(node, wanted(1, "b")).field == "settings.mute.witnesses[0]"
