"""Who is ended when there are too many strangers: never the newcomer, but the idle and silent of a crowded source."""

import socket
import time
from dataclasses import dataclass, field

import pytest

from wgfleet.doors.strangers import Stranger, StrangerLimits, Strangers, has_sent, source_of


@dataclass
class Street:
    """Strangers by name, and the names of those that were ended."""

    strangers: Strangers
    inside: dict[str, Stranger] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)

    def enter(self, name: str, source: str, *, spoken: bool = False, favored: bool = False) -> None:
        self.inside[name] = self.strangers.enter(
            source, lambda: self.ended.append(name), lambda: spoken, favored=favored
        )


@pytest.fixture
def street() -> Street:
    return Street(Strangers(StrangerLimits(source=3, favored=5, total=6)))


def test_the_oldest_of_the_same_source_goes(street: Street) -> None:
    for name in "abcde":
        street.enter(name, "one")
    assert street.ended == ["a", "b"]
    assert (len(street.strangers), street.strangers.of("one"), street.strangers.evicted) == (3, 3, 2)


def test_one_that_says_nothing_goes_before_one_that_is_busy_or_has_spoken(street: Street) -> None:
    street.enter("busy", "one")
    street.inside["busy"].busy = True
    street.enter("spoken", "one", spoken=True)
    street.enter("silent", "one")
    for name in ("d", "e", "f"):
        street.enter(name, "one", spoken=True)
    assert street.ended == ["silent", "spoken", "d"]


def test_those_who_have_all_sent_something_may_be_more_and_then_the_idle_ones_go_first() -> None:
    street = Street(Strangers(StrangerLimits(source=3, favored=5, total=100, spoken=4)))
    for number in range(12):
        street.enter(f"calls{number}", "one", spoken=True)
        street.inside[f"calls{number}"].busy = number != 7
    assert street.ended == []
    street.enter("one more", "one", spoken=True)
    assert street.ended == ["calls7"]
    street.enter("silent", "one")
    street.enter("later", "one", spoken=True)
    assert street.ended == ["calls7", "one more", "silent"]


def test_when_all_together_are_too_many_the_most_crowded_source_gives(street: Street) -> None:
    street.enter("alone", "two")
    for name in "abc":
        street.enter(name, "one")
    for name in ("x", "y"):
        street.enter(name, "three")
    street.enter("late", "four")
    street.enter("later", "five")
    assert street.ended == ["a", "b"]
    assert len(street.strangers) == 6


def test_a_favored_source_may_have_more_and_gives_last(street: Street) -> None:
    for number in range(5):
        street.enter(f"panel {number}", "panel", favored=True)
    for number in range(20):
        street.enter(f"stranger {number}", f"source {number}")
    assert not any(name.startswith("panel") for name in street.ended)
    street.enter("panel 5", "panel", favored=True)
    assert street.ended[-1] == "panel 0"


def test_who_left_is_not_counted_and_may_leave_twice(street: Street) -> None:
    street.enter("a", "one")
    street.strangers.leave(street.inside["a"])
    street.strangers.leave(street.inside["a"])
    assert (len(street.strangers), street.strangers.of("one")) == (0, 0)


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_an_ipv6_customer_is_one_source(address: str, source: str) -> None:
    assert source_of(address) == source


def test_the_kernel_knows_whether_anything_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, _ = server.accept()
        with accepted:
            assert not has_sent(accepted)
            client.sendall(b"x")
            deadline = time.monotonic() + 5
            while not has_sent(accepted) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert accepted.recv(1) == b"x"
            assert has_sent(accepted)
    assert not has_sent(None)
