"""Quotas at a node: what is said twice, what outlives the agent, and how its looks follow what was counted."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.agent.test_usage import CONFIG, meter, reads
from wgfleet.agent.interfaces.quotas import HeldQuota, QuotaKeeper, without_overlaps
from wgfleet.agent.interfaces.usage import UsageMeter
from wgfleet.agent.kernel.quota_table import CountedBytes
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.quota_file import QuotaFile
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey
from wgfleet.protocol.quota import Quota, QuotaUpdate

NAME = InterfaceName("lo")
ALICE = PublicKey("alice")
NETWORKS = ("127.0.0.5/32", "::1/128", "127.9.0.0/16")


@dataclass
class Link:
    """The loopback link as an interface: its peers are addresses of it. WireGuard would count `overhead` more."""

    meter: UsageMeter
    networks: tuple[str, ...] = NETWORKS
    counters: int = 0
    name: InterfaceName = NAME
    config_id: ConfigId = CONFIG
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def desired(self) -> DesiredInterface:
        settings = InterfaceSettings(NAME, CONFIG, PrivateKey(""), 51820)
        return DesiredInterface(Generation(1), settings, {ALICE: DesiredPeer(self.networks)})

    async def count_usage(self) -> None:
        reads(self.meter, alice=(self.counters, 0))


def keeper(link: Link, directory: Path) -> QuotaKeeper:
    file = QuotaFile(directory / "quotas.json", DamagedFiles())
    return QuotaKeeper({link.name: link}, link.meter, file)


def say(left: int, *, counted: int = 0, life: int = -1, whole: bool = True) -> QuotaUpdate:
    return QuotaUpdate({CONFIG: (Quota(ALICE, life, counted, left),)}, whole=whole)


def done(*work: Callable[[], Awaitable[object]]) -> None:
    async def all_of_them() -> None:
        for each in work:
            await each()

    asyncio.run(all_of_them())


def test_what_was_said_outlives_the_agent_and_is_said_again_without_effect(tmp_path: Path) -> None:
    link = Link(meter())
    kept = keeper(link, tmp_path)
    done(lambda: kept.update(say(5_000)))
    before = (tmp_path / "quotas.json").read_bytes()
    done(lambda: keeper(link, tmp_path).update(say(5_000)))
    assert (tmp_path / "quotas.json").read_bytes() == before
    done(lambda: kept.update(QuotaUpdate({CONFIG: ()})), lambda: kept.update(QuotaUpdate({})))
    assert (tmp_path / "quotas.json").read_bytes() == before
    done(lambda: kept.update(QuotaUpdate({CONFIG: ()}, whole=True)))
    assert (tmp_path / "quotas.json").read_bytes() != before


def test_networks_within_others_are_left_out_of_the_map() -> None:
    found = without_overlaps(
        {
            PublicKey("a"): ("10.8.0.2/32", "10.0.0.0/8", "fd00::/64"),
            PublicKey("b"): ("10.1.0.0/16", "fd00::/80", "192.168.0.0/24"),
        }
    )
    assert found == {"a": ("10.8.0.2/32", "10.0.0.0/8", "fd00::/64"), "b": ("192.168.0.0/24",)}


packets = st.lists(st.tuples(st.integers(64, 1420), st.sampled_from(["pass", "look", "restart"])), max_size=200)


@given(st.integers(0, 200_000), packets)
def test_nobody_gets_beyond_a_ceiling_by_looks_and_restarts(ceiling: int, steps: list[tuple[int, str]]) -> None:
    """A kernel that counts inner bytes, and WireGuard, which counts 32 more and padding, as a model."""
    numbers = itertools.count(1)
    total = used = 0
    held = HeldQuota(next(numbers), ())
    limit = 0

    def look() -> None:
        nonlocal limit, used
        counted = CountedBytes(min(used, limit), limit)
        if held.is_due(ceiling, total):
            if held.set_again(ceiling, total, counted, next(numbers)):
                used = 0
            limit = held.limit

    look()
    for size, what in steps:
        if what == "look":
            look()
        elif what == "restart":
            held, used, limit = HeldQuota(next(numbers), ()), 0, 0
            look()
        elif used + size <= limit:
            used += size
            total += size + 32 + -size % 16
        else:
            used += size
    # Without a look small packets, which WireGuard makes half as large again, pass for what was left at the last one.
    assert total <= ceiling + max(NEAR_MISS, ceiling // 2)


NEAR_MISS = 1500
