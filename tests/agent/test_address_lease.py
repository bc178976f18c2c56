"""Floating addresses end with the agent that may hold them: the kernel takes them off when nobody renews them."""

import itertools
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from tests.agent.node import Node
from tests.agent.segment import FOUR, SIX, Segment, at, drift, floating, has
from tests.agent.test_push import applied, refused
from tests.agent.values import peers
from tests.waiting import eventually
from wgfleet.protocol.desired import LEASE_MARGIN_S, DesiredInterface, delta_between
from wgfleet.protocol.ids import Generation
from wgfleet.protocol.messages import Snapshot

pytestmark = pytest.mark.lab
GIVE_UP_S = 2.0
WITNESSES = ("198.18.0.2:51820",)


def lose(node: Node, address: str, since: float, within_s: float = GIVE_UP_S + LEASE_MARGIN_S) -> None:
    """Wait until an address is gone; one that is there when it is looked for after that time is too late.

    Judged by when the look began: what a busy machine takes for the look itself is no time of the address.
    """
    while True:
        asked_at = time.monotonic()
        if not has(node, address):
            return
        assert asked_at - since < within_s, f"{address} is still there after {within_s} s"
        time.sleep(0.02)


def hang(node: Node, number: signal.Signals = signal.SIGSTOP) -> float:
    """Stop an agent; return when it had stopped."""
    node.signal(number)
    return time.monotonic()


@contextmanager
def held(segment: Segment, give_up_after_s: float = GIVE_UP_S, generation: int = 1) -> Iterator[Node]:
    """Node a holds two addresses, b is its witness, and the panel of a is there."""
    a, b = segment.a, segment.b
    applied(b, at(generation, floating()))
    wanted = at(generation, floating(FOUR, SIX, witnesses=WITNESSES, give_up_after_s=give_up_after_s))
    with a.watch():
        assert applied(a, wanted).verified
        time.sleep(2 * GIVE_UP_S)  # it stays while it is renewed
        assert has(a)
        assert has(a, SIX)
        yield a


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_hung_or_dead_agent_loses_its_addresses_by_the_kernel(segment: Segment, number: signal.Signals) -> None:
    with held(segment) as a:
        hung_at = hang(a, number)
        for address in (FOUR, SIX):
            lose(a, address, hung_at)
        # Its WireGuard goes on: only the address was a matter of who has it.
        assert "wg0" in a.host.run("wg", "show", "interfaces")


def test_an_agent_that_is_restarted_in_time_keeps_its_addresses(segment: Segment) -> None:
    for generation in itertools.count(1):
        long_s = 3 * GIVE_UP_S * 2**generation
        with held(segment, long_s, generation) as a:
            stopped_at = time.monotonic()
            a.stop()
            a.start()
            if time.monotonic() < stopped_at + long_s:
                break  # in time: a busy machine may need longer to start an agent
    until = stopped_at + long_s + LEASE_MARGIN_S
    while time.monotonic() < until:
        assert has(a)
        assert has(a, SIX)
        time.sleep(0.02)


def test_a_restart_gives_no_more_time_to_an_agent_that_hears_nobody(segment: Segment) -> None:
    with held(segment) as a:
        segment.cut(1)
        since = asked_at = time.monotonic()
        a.stop()
        while has(a):
            assert asked_at - since < GIVE_UP_S + LEASE_MARGIN_S
            a.start()
            time.sleep(0.2)
            a.stop(signal.SIGKILL)
            asked_at = time.monotonic()


def test_an_agent_that_hung_leaves_its_addresses_to_who_has_them_now(segment: Segment) -> None:
    with held(segment) as a:
        lose(a, FOUR, hang(a))
        assert applied(segment.b, at(2, floating(FOUR))).verified
        a.signal(signal.SIGCONT)
        until = time.monotonic() + 2 * GIVE_UP_S
        while time.monotonic() < until:
            assert not has(a)
            time.sleep(0.02)
        assert drift(a)[f"floating.{FOUR}"]


def test_a_push_that_waited_for_a_hung_agent_brings_no_address_back(segment: Segment) -> None:
    with held(segment) as a:
        before = time.monotonic()
        hung_at = hang(a)
        wanted = at(2, floating(FOUR, SIX, witnesses=WITNESSES, give_up_after_s=GIVE_UP_S))
        waiting = a.begin("PUT", "/v1/wg/wg0", wanted, heard_at=before)
        for address in (FOUR, SIX):
            lose(a, address, hung_at)
        assert applied(segment.b, at(2, floating(FOUR, SIX))).verified
        a.signal(signal.SIGCONT)
        until = time.monotonic() + 2 * GIVE_UP_S
        while time.monotonic() < until:
            assert not has(a)
            assert not has(a, SIX)
            time.sleep(0.02)
        assert waiting.result().json()["held"] == []
        assert drift(a)[f"floating.{FOUR}"]


def test_a_push_from_before_it_was_cut_off_brings_no_address_back(segment: Segment) -> None:
    with held(segment) as a:
        before = time.monotonic()
    segment.cut(2)
    lose(a, FOUR, time.monotonic())
    wanted = at(2, floating(FOUR, SIX, witnesses=WITNESSES, give_up_after_s=GIVE_UP_S))
    assert a.call("PUT", "/v1/wg/wg0", wanted, heard_at=before).json()["held"] == []
    assert not has(a)
    wanted = at(3, floating(FOUR, SIX, witnesses=WITNESSES, give_up_after_s=GIVE_UP_S))
    assert a.call("PUT", "/v1/wg/wg0", wanted, heard_at=time.monotonic()).json()["held"] == [FOUR, SIX]


def test_an_address_that_no_other_node_can_have_stays(segment: Segment) -> None:
    a = segment.a
    applied(a, at(1, floating(FOUR, give_up_after_s=1.0)))
    a.signal(signal.SIGKILL)
    time.sleep(1.0 + LEASE_MARGIN_S)
    assert has(a)


def asking(*addresses: str, ask_first: tuple[str, ...]) -> DesiredInterface:
    wanted = at(2, floating(*addresses, witnesses=WITNESSES, give_up_after_s=GIVE_UP_S))
    assert wanted.settings.floating is not None
    floating_settings = replace(wanted.settings.floating, ask_first=ask_first)
    return replace(wanted, settings=replace(wanted.settings, floating=floating_settings))


def test_an_address_that_is_asked_for_is_taken_when_the_kernel_of_a_hung_node_has_left_it(segment: Segment) -> None:
    with held(segment) as a, segment.b.watch():
        b = segment.b
        a.signal(signal.SIGSTOP)
        result = applied(b, asking(FOUR, SIX, ask_first=(FOUR, SIX)))
        assert result.held == ()

        def taken() -> bool:
            # b's kernel is read first: what moves between the two readings must not look as if both had it.
            here = {address for address in (FOUR, SIX) if has(b, address)}
            assert not {address for address in here if has(a, address)}
            return len(here) == len((FOUR, SIX))

        eventually(taken)
        assert segment.reaches(b)
        assert segment.reaches(b, SIX)


def test_a_change_of_users_does_not_end_the_asking(segment: Segment) -> None:
    with held(segment) as a, segment.b.watch():
        b = segment.b
        hung_at = hang(a)
        wanted = asking(FOUR, ask_first=(FOUR,))
        assert applied(b, wanted).held == ()
        later = replace(wanted, generation=Generation(3), peers={**wanted.peers, **peers(1)})
        assert applied(b, delta_between(wanted, later)).held == ()
        lose(a, FOUR, hung_at)
        eventually(lambda: has(b))


def test_an_address_that_is_asked_for_and_nobody_has_is_taken_at_once(segment: Segment) -> None:
    b = segment.b
    applied(b, at(1, floating()))
    assert applied(b, asking(FOUR, SIX, ask_first=(FOUR, SIX))).held == (FOUR, SIX)  # within the push


def test_only_addresses_of_the_list_may_be_asked_for(node: Node) -> None:
    assert refused(node, asking(FOUR, ask_first=(SIX,))).field == "settings.floating.ask_first[0]"


def test_who_else_says_to_have_an_address_is_named_and_has_it_where_the_panel_is_not_heard(segment: Segment) -> None:
    with held(segment) as a:
        assert applied(segment.b, at(2, floating(FOUR, SIX))).verified  # without asking, as an agent of 0.1.0 does
        (link,) = json.loads(segment.b.host.run("ip", "-j", "link", "show", "dev", "eth0"))
        mac = link["address"]
        named = {f"floating.{address}": f"{mac} says that it has it too" for address in (FOUR, SIX)}
        eventually(lambda: named.items() <= drift(a).items(), within_s=15)
        with a.watch() as messages:
            snapshot = next(each for _, each in iter(messages.get, None) if isinstance(each, Snapshot))
        assert snapshot.interfaces[0].rivals == {FOUR: mac, SIX: mac}
        assert has(a)
    # Its witness answers, but it does not hear the panel, who has given the addresses to another node.
    eventually(lambda: not has(a))  # where its witness answers, nothing else takes it
    eventually(lambda: drift(a).get(f"floating.{FOUR}", "").startswith(f"given up: {mac} has it"), within_s=15)
