"""A floating address that another machine still has: it is asked for at once after a push, and often at first."""

import asyncio
import time
from contextlib import suppress
from itertools import pairwise
from types import SimpleNamespace
from typing import cast

from wgfleet.agent.interfaces.floating_addresses import FloatingAddresses
from wgfleet.agent.interfaces.isolation import IsolationWatch
from wgfleet.agent.interfaces.reconciler import InterfaceReconciler
from wgfleet.agent.interfaces.witnesses import Witnesses
from wgfleet.protocol.desired import FloatingSettings
from wgfleet.protocol.ids import InterfaceName
from wgfleet.protocol.keys import PrivateKey

NAME = InterfaceName("wg0")
ADDRESS, WITNESS = "198.18.48.4", "198.18.0.2:51820"


class Addresses:
    """Addresses of which another machine has one until it was asked for `asks_left` times."""

    def __init__(self, asks_left: int) -> None:
        self.asks_left = asks_left
        self.claimed = False
        self.asked_at: list[float] = []

    def present(self, _name: str) -> frozenset[str]:
        return frozenset()

    def lapses_at(self, _name: str) -> float:
        return float("inf")

    def waits_for_panel(self, _name: str) -> bool:
        return False

    def asks(self, _name: str) -> bool:
        return self.claimed

    async def ask_again(self, _name: str) -> bool:
        self.asked_at.append(time.monotonic())
        self.claimed = len(self.asked_at) < self.asks_left
        return not self.claimed


class Reconciler:
    """What the watch needs of one: a push sets `settings_changed` once it is known who has the addresses."""

    def __init__(self, floating: FloatingSettings) -> None:
        self.name = NAME
        self.desired = SimpleNamespace(
            settings=SimpleNamespace(floating=floating, private_key=PrivateKey(""), enabled=True)
        )
        self.settings_changed = asyncio.Event()
        self.lock = asyncio.Lock()
        self.scanned = asyncio.Event()

    def refresh_link(self) -> None:
        """There is no link."""

    async def scan(self, *, repair: bool) -> None:
        assert repair
        self.scanned.set()


async def asked(asks: int) -> tuple[list[float], float]:
    """Return when an address was asked for after a push, and when it was taken, in s."""
    addresses = Addresses(asks)
    key = PrivateKey("")
    reconciler = Reconciler(FloatingSettings((ADDRESS,), give_up_after_s=30, witnesses=(WITNESS,), probe_key=key))
    watch = IsolationWatch(
        cast("InterfaceReconciler", reconciler),
        cast("FloatingAddresses", addresses),
        cast("Witnesses", None),
        heard_at=time.monotonic,
        watched=lambda: True,
    )
    task = asyncio.create_task(watch.run())
    await asyncio.sleep(0.05)  # it listens, and has nothing to do for seconds
    pushed = time.monotonic()
    addresses.claimed = True
    reconciler.settings_changed.set()
    await asyncio.wait_for(reconciler.scanned.wait(), 20)
    taken = time.monotonic() - pushed
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return [at - pushed for at in addresses.asked_at], taken


def test_an_address_that_becomes_free_is_taken_at_the_next_question_and_these_come_soon() -> None:
    at, taken = asyncio.run(asked(6))
    assert len(at) == 6
    assert taken < 3, "some 0.25 s; one that listened on would ask after seconds"


def test_what_stays_with_another_machine_is_asked_for_less_often_after_a_while() -> None:
    at, _ = asyncio.run(asked(24))
    pauses = [later - sooner for sooner, later in pairwise(at)]
    assert min(pauses[-2:]) > 2 * min(pauses[:5])
