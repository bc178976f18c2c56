"""Floating addresses: there, and known to the neighbours, when a push is answered; never in two places by our doing."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.agent.node import Host, Node
from tests.agent.segment import FOUR, SIX, Segment, at, drift, floating, has
from tests.agent.test_faults import fill
from tests.agent.test_push import applied, refused
from tests.waiting import eventually
from wgfleet.protocol.desired import delta_between

pytestmark = pytest.mark.lab


def test_an_address_moves_with_the_pushes_and_the_neighbours_follow_at_once(segment: Segment) -> None:
    a, b = segment.a, segment.b
    for node in (a, b):
        applied(node, at(1, floating()))
    held, free = at(2, floating(FOUR, SIX)), at(3, floating())
    result = applied(a, delta_between(at(1, floating()), held))
    assert (result.verified, result.drift, result.held) == (True, (), (FOUR, SIX))
    assert segment.reaches(a)
    assert segment.reaches(a, SIX)
    assert "198.18.0.100/32" in a.host.run("ip", "-o", "addr", "show", "dev", "eth0")
    # The neighbour keeps entries that say `a`; only the announcement can make it send to `b`.
    assert applied(a, delta_between(held, free)).held == ()
    assert not has(a)
    assert not has(a, SIX)
    assert applied(b, delta_between(at(1, floating()), held)).verified
    assert segment.reaches(b)
    assert segment.reaches(b, SIX)
    # Nothing of the machine's own leaves from it.
    for destination in ("198.18.0.3", "2001:db8:18::3"):
        assert "::100" not in (way := b.host.run("ip", "route", "get", destination))
        assert FOUR not in way
    # Deleted by hand, it is back and announced again; gone with the interface.
    b.host.run("ip", "addr", "del", f"{FOUR}/32", "dev", "eth0")
    eventually(lambda: has(b))
    assert b.call("DELETE", "/v1/wg/wg0").status_code == 204
    assert not has(b)
    assert not has(b, SIX)


def test_what_an_agent_left_when_it_was_killed_is_removed_or_kept_as_wanted(segment: Segment) -> None:
    a = segment.a
    applied(a, at(1, floating(FOUR)))
    a.stop(signal.SIGKILL)
    assert has(a)
    a.start()
    eventually(lambda: a.call("GET", "/v1/status").json()["interfaces"][0]["summary"] == "as wanted")
    assert has(a)
    a.stop(signal.SIGKILL)
    a.state.desired.joinpath("wg0.json").write_bytes(msgspec.json.encode(at(2, floating())))
    a.start()
    eventually(lambda: not has(a))


def test_an_agent_that_hears_nobody_gives_its_address_up_and_waits_for_the_panel(segment: Segment) -> None:
    a, b = segment.a, segment.b
    applied(b, at(1, floating()))
    applied(a, at(1, floating(FOUR, witnesses=("198.18.0.2:51820",))))
    assert segment.reaches(a)
    time.sleep(4.5)  # longer than it may be deaf: the witness answers
    assert has(a)
    before = time.monotonic()
    segment.cut(1)
    eventually(lambda: not has(a))
    assert time.monotonic() - before > 2.0  # its last question may have been answered a third of the time ago
    said = eventually(lambda: drift(a))
    assert said[f"floating.{FOUR}"].startswith("given up: nothing heard from the panel or from most of 1 other nodes")
    assert applied(b, at(2, floating(FOUR))).verified
    assert segment.reaches(b)
    segment.cut(1, up=True)
    time.sleep(1.5)
    assert not has(a)  # it could hear others now, but what they agreed on meanwhile only the panel knows
    with a.watch():
        eventually(lambda: "has it; waiting for the panel" in drift(a).get(f"floating.{FOUR}", ""))
        assert not has(a)
        # The panel's word counts for more than who answers: that may be a node that is out of order.
        taken = applied(a, at(2, floating(FOUR, witnesses=("198.18.0.2:51820",))))
        assert {each.desired for each in taken.drift} <= {"here alone"}  # b may have said by then that it has it too
        assert has(a)
        assert segment.reaches(a)


def test_a_full_disk_keeps_no_address_that_is_to_be_given_up(
    small_disk: Path, make_host: Callable[[], Host], make_node: Callable[..., Node]
) -> None:
    node = make_node(host=make_host(), state=small_disk / "state")
    node.host.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
    node.host.run("ip", "addr", "add", "198.18.0.1/24", "dev", "eth0")
    for link in ("eth0", "other"):
        node.host.run("ip", "link", "set", link, "up")
    node.start()
    both = (FOUR, "198.18.0.101")
    wanted = at(1, floating(*both, witnesses=("198.18.0.2:51820",)))
    assert applied(node, wanted).verified
    fill(small_disk)
    eventually(lambda: not any(has(node, each) for each in both))
    # And the interface is looked after as before.
    (key,) = wanted.peers
    node.host.run("wg", "set", "wg0", "peer", key, "remove")
    eventually(lambda: key in node.host.run("wg", "show", "wg0", "peers"))
    (small_disk / "filler").unlink()
    assert applied(node, at(2, floating(*both))).verified
    assert all(has(node, each) for each in both)


def test_after_a_boot_without_the_panel_an_address_is_taken_only_if_nobody_has_it(segment: Segment) -> None:
    a, b = segment.a, segment.b
    applied(b, at(1, floating(FOUR)))
    a.stop()
    a.state.desired.joinpath("wg0.json").write_bytes(msgspec.json.encode(at(1, floating(FOUR, SIX))))
    a.start()
    eventually(lambda: has(a, SIX))
    assert not has(a)
    assert "has it; waiting for the panel" in drift(a)[f"floating.{FOUR}"]
    assert b.call("DELETE", "/v1/wg/wg0").status_code == 204
    a.stop()
    a.start()
    eventually(lambda: has(a))
    assert segment.reaches(a)


def test_an_address_that_was_on_the_machine_before_is_left_alone(segment: Segment) -> None:
    a = segment.a
    result = applied(a, at(1, floating("198.18.0.1")))
    assert not result.verified
    assert [(each.field, each.observed) for each in result.drift] == [
        ("floating.198.18.0.1", "already on eth0, where this agent did not add it; remove it there")
    ]
    applied(a, at(2, floating()))
    assert has(a, "198.18.0.1")


def test_a_wrong_floating_address_is_refused_by_its_field(node: Node) -> None:
    assert refused(node, at(1, floating("127.0.0.1"))).field == "settings.floating.addresses[0]"
    assert refused(node, at(1, floating(FOUR, witnesses=("b",)))).field == "settings.floating.witnesses[0]"


def test_a_cloud_s_address_is_on_loopback_and_nobody_is_told(segment: Segment) -> None:
    a = segment.a
    bound = msgspec.structs.replace(floating(FOUR, SIX).floating, bound=True)  # type: ignore[type-var]
    result = applied(a, at(1, msgspec.structs.replace(floating(FOUR, SIX), floating=bound)))
    assert (result.verified, result.drift, result.held) == (True, (), (FOUR, SIX))
    assert f"{FOUR}/32" in a.host.run("ip", "-o", "addr", "show", "dev", "lo")
    assert FOUR not in a.host.run("ip", "-o", "addr", "show", "dev", "eth0")
    # Then it is one of the segment: it leaves loopback, and neighbors find it.
    assert applied(a, at(2, floating(FOUR))).held == (FOUR,)
    assert FOUR not in a.host.run("ip", "-o", "addr", "show", "dev", "lo")
    assert segment.reaches(a)
