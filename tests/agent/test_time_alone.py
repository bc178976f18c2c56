"""A machine that no panel was heard on for too long stops serving; reboots and clocks that are set change nothing."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.agent.node import Node
from tests.agent.values import peers, settings, whole
from tests.waiting import eventually
from wgfleet.agent.state import time_alone
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.time_alone import TimeAlone

DAY_S = 86400.0


@dataclass
class Clocks:
    """The machine's clocks, as the test turns them. `asleep_s`: what the monotonic clock does not have."""

    now: float = 1000.0
    asleep_s: float = 0.0
    heard_at: float = float("-inf")

    def monotonic(self) -> float:
        return self.now - self.asleep_s

    def clock_gettime(self, _which: int) -> float:
        return self.now

    CLOCK_BOOTTIME = 7

    def time(self) -> float:
        raise AssertionError("the wall clock may be set by anybody")


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    monkeypatch.setattr(time_alone, "time", made)
    return made


def counter(folder: Path, clocks: Clocks, days: float = 3) -> TimeAlone:
    made = TimeAlone(folder / "alone.json", DamagedFiles(), lambda: clocks.heard_at, days * DAY_S)
    made.load()
    return made


def pass_by(clocks: Clocks, alone: TimeAlone, days: float, steps: int = 50) -> None:
    for _ in range(steps):
        clocks.now += days * DAY_S / steps
        alone.look()


def test_it_adds_up_over_reboots_and_ends_when_the_panel_is_heard(tmp_path: Path, clocks: Clocks) -> None:
    alone = counter(tmp_path, clocks)
    pass_by(clocks, alone, 1.5)
    assert not alone.too_long
    clocks.now = 5.0  # a reboot: these clocks begin again
    alone = counter(tmp_path, clocks)
    pass_by(clocks, alone, 1.4)
    assert not alone.too_long
    pass_by(clocks, alone, 0.2)
    assert alone.too_long
    assert "down until one is" in alone.notes[0]
    clocks.now = 5.0
    alone = counter(tmp_path, clocks)
    assert alone.too_long, "from the start on"
    clocks.now += 10
    clocks.heard_at = clocks.monotonic() - 1
    alone.look()
    assert not alone.too_long
    assert alone.notes == []
    assert not counter(tmp_path, clocks).too_long


def test_a_machine_that_sleeps_is_alone_and_one_that_is_started_again_and_again_too(
    tmp_path: Path, clocks: Clocks
) -> None:
    alone = counter(tmp_path, clocks)
    clocks.now += 4 * DAY_S
    clocks.asleep_s += 4 * DAY_S
    alone.look()
    assert alone.too_long
    (tmp_path / "other").mkdir()
    again = counter(tmp_path / "other", clocks, days=10 / DAY_S)
    for _ in range(30):
        clocks.now += 0.9
        again.look()
        if again.too_long:
            return
        again = counter(tmp_path / "other", clocks, days=10 / DAY_S)
    pytest.fail("it never adds up")


@pytest.mark.parametrize("content", [b"", b"{", b'"x"', b"-5", b"\xff"])
def test_a_damaged_file_begins_the_time_again(tmp_path: Path, clocks: Clocks, content: bytes) -> None:
    (tmp_path / "alone.json").write_bytes(content)
    alone = counter(tmp_path, clocks)
    assert not alone.too_long
    pass_by(clocks, alone, 3.1)
    assert alone.too_long


def test_without_a_limit_nothing_is_counted(tmp_path: Path, clocks: Clocks) -> None:
    alone = counter(tmp_path, clocks, days=0)

    async def run() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await alone.run(lambda: pytest.fail("nothing turns"))

    asyncio.run(run())
    pass_by(clocks, alone, 10_000)
    assert not alone.too_long


@pytest.mark.lab
def test_an_interface_goes_down_stays_so_over_a_restart_and_is_back_when_the_panel_is(
    make_node: Callable[..., Node],
) -> None:
    node = make_node()

    def up() -> bool:
        return "UP" in node.host.run("ip", "-br", "link", "show", "wg0").split("<")[1].split(">")[0].split(",")

    options = ("--down-after-days", str(4 / DAY_S))
    node.start(*options)
    assert node.call("PUT", "/v1/wg/wg0", whole(1, settings(), peers(1))).status_code == 200
    assert up()
    eventually(lambda: not up())
    node.stop()
    node.start(*options, wait=False)  # waiting would be hearing the panel
    eventually(lambda: ":51900" in node.host.run("ss", "-Hltn"))
    assert not up()
    assert node.call("GET", "/v1/status").status_code == 200
    eventually(up)
