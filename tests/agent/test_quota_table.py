"""Quotas in the kernel: what it lets through, in both families, after restarts, and after somebody emptied it."""

import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from tests.agent.node import Host
from tests.agent.test_quotas import NAME, Link, done, keeper, say
from tests.agent.test_usage import meter, reads
from wgfleet.agent.kernel import quota_table
from wgfleet.protocol.quota import ENDLESS

pytestmark = pytest.mark.lab
SIZE = 1000


@pytest.fixture
def within() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Return what runs a function in a network namespace of its own."""
    host = Host("wgfleet-quota")
    with ThreadPoolExecutor(1, initializer=host.enter) as pool:
        yield lambda work: pool.submit(work).result()
    host.close()


def ping(count: int, source: str = "127.0.0.5", target: str = "127.0.0.1") -> int:
    """Send packets of 1000 bytes; return how many arrived."""
    header = 48 if ":" in source else 28
    command = ("ping", "-c", str(count), "-i", "0.01", "-W", "1", "-s", str(SIZE - header), "-I", source, target)
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+) received", shown)
    assert found, shown
    return int(found[1])


def test_a_quota_holds_over_both_families_and_networks_and_restarts(
    within: Callable[[Callable[[], None]], None], tmp_path: Path
) -> None:
    def work() -> None:
        link = Link(meter())
        first = keeper(link, tmp_path)
        # A ping of IPv4 is two packets, to the peer and from it; one of ::1 to itself is both four times.
        done(lambda: first.update(say(20_000)), first.look)
        assert ping(2) == 2
        assert ping(2, "::1", "::1") == 2
        assert ping(9, "127.9.3.4") < 9
        assert ping(3) == 0
        link.counters = 16_000  # what WireGuard counted
        second = keeper(link, tmp_path)  # the agent starts anew, without the panel
        done(second.look)
        assert 0 < ping(20) <= 2
        link.counters = 20_000
        done(second.look)
        assert ping(3) == 0
        done(lambda: second.update(say(50_000, counted=20_000, life=1)), second.look)  # the panel raised it
        assert ping(5) == 5
        done(lambda: second.update(say(ENDLESS)), second.look)
        assert ping(60) == 60
        assert (
            quota_table.table_of(NAME)
            not in subprocess.run(("nft", "list", "tables"), capture_output=True, text=True, check=True).stdout
        )

    within(work)


def test_a_table_that_somebody_removed_comes_back(within: Callable[[Callable[[], None]], None], tmp_path: Path) -> None:
    def work() -> None:
        link = Link(meter())
        kept = keeper(link, tmp_path)
        done(lambda: kept.update(say(5_000)), kept.look)
        subprocess.run(("nft", "flush", "ruleset"), check=True)
        link.counters = 5_000
        reads(link.meter, alice=(5_000, 0))
        done(kept.look, kept.look)
        assert ping(3) == 0
        link.networks = ("127.0.0.6/32",)  # other addresses
        done(kept.look)
        assert (ping(2), ping(2, "127.0.0.6")) == (2, 0)
        subprocess.run(("nft", "flush", "ruleset"), check=True)

    within(work)


def test_the_first_quota_of_an_interface_that_had_none_holds_at_once(
    within: Callable[[Callable[[], None]], None], tmp_path: Path
) -> None:
    def work() -> None:
        kept = keeper(Link(meter()), tmp_path)
        with structlog.testing.capture_logs() as logged:
            done(kept.look, lambda: kept.update(say(5_000)), kept.look)
            assert ping(5) < 5
            done(lambda: kept.update(say(ENDLESS)), kept.look, lambda: kept.update(say(0)), kept.look)
            assert ping(2) == 0
        assert logged == []

    within(work)
