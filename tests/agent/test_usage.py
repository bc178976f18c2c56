"""What peers used, counted over the ends of interfaces, of agents and of disks."""

import asyncio
import itertools
import threading
from pathlib import Path

import msgspec
import pytest

from wgfleet.agent.interfaces.usage import MAX_MARKS, RESERVED, UsageMeter
from wgfleet.agent.interfaces.usage_writer import UsageWriter
from wgfleet.agent.state.files import DamagedFiles
from wgfleet.agent.state.usage_file import UsageFile, UsageState
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.ids import ConfigId
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import PeerStats
from wgfleet.protocol.usage import MAX_ROWS, UsageBatch, UsageRequest, UsageRow

CONFIG = ConfigId("c1")
ALICE, BOB, PROBE = PublicKey("alice"), PublicKey("bob"), PublicKey("probe")
DESIRED = {key: DesiredPeer(("10.8.0.2/32",)) for key in (ALICE, BOB)} | {PROBE: DesiredPeer(())}
NOON = 1_764_000_000.0
HOUR = 3600.0


def meter(state: UsageState | None = None, *, fresh: bool = False) -> UsageMeter:
    numbers = itertools.count(1)
    return UsageMeter(state or UsageState("", 0, {}), lambda: next(numbers), "boot", fresh=fresh)


def reads(counted: UsageMeter, at: float = NOON, index: int = 7, **counters: tuple[int, int] | None) -> None:
    stats = {PublicKey(key): PeerStats(rx=each[0], tx=each[1]) for key, each in counters.items() if each}
    counted.note(CONFIG, index, [PublicKey(key) for key in counters], stats, DESIRED, at)


def told(batch: UsageBatch) -> list[tuple[str, int, int]]:
    return [(row.public_key, row.received, row.sent) for rows in batch.configs.values() for row in rows]


def lives(batch: UsageBatch) -> dict[str, int]:
    return {row.public_key: row.life for rows in batch.configs.values() for row in rows}


def again(counted: UsageMeter) -> UsageMeter:
    """Return the meter of an agent that was ended, and has what is on disk."""
    return UsageMeter(msgspec.json.decode(msgspec.json.encode(counted.state), type=UsageState), machine="boot")


def test_counters_that_begin_again_go_on_in_the_total() -> None:
    counted = meter()
    reads(counted, alice=(100, 1000), bob=(1, 1))
    reads(counted, alice=(150, 1500))
    reads(counted, alice=(20, 200))
    reads(counted, index=8, alice=(60, 600))
    reads(counted, index=8, alice=None)
    reads(counted, index=8, alice=(70, 700))
    assert told(counted.batch(UsageRequest(), NOON)) == [("alice", 300, 3000), ("bob", 1, 1)]


def test_an_agent_that_was_killed_counts_what_passed_meanwhile() -> None:
    counted = meter()
    reads(counted, alice=(100, 1000))
    file = msgspec.json.encode(counted.state)
    reads(counted, alice=(200, 2000))
    counted.batch(UsageRequest(), NOON)
    killed = UsageMeter(msgspec.json.decode(file, type=UsageState), machine="boot")
    reads(killed, alice=(350, 3500))
    assert told(killed.batch(UsageRequest(), NOON)) == [("alice", 350, 3500)]


def test_probes_and_strangers_are_not_counted() -> None:
    counted = meter()
    reads(counted, probe=(10, 10), stranger=(10, 10))
    assert counted.batch(UsageRequest(), NOON).configs == {}


def test_each_hour_is_told_apart_until_it_is_acknowledged() -> None:
    counted = meter()
    for hour in range(3):
        reads(counted, NOON + hour * HOUR, alice=(hour + 1, 10 * (hour + 1)))
    batch = counted.batch(UsageRequest(), NOON)
    assert told(batch) == [("alice", 1, 10), ("alice", 2, 20), ("alice", 3, 30)]
    reads(counted, NOON + 2 * HOUR, alice=(5, 50))
    left = counted.batch(UsageRequest(batch.epoch, batch.sequence), NOON)
    assert told(left) == [("alice", 5, 50)]
    assert counted.batch(UsageRequest(left.epoch, left.sequence), NOON).configs == {}


def test_what_is_not_acknowledged_is_said_again_with_another_number() -> None:
    counted = meter()
    reads(counted, alice=(1, 2))
    first = counted.batch(UsageRequest(), NOON)
    second = counted.batch(UsageRequest(), NOON)
    late = counted.batch(UsageRequest(first.epoch, first.sequence), NOON)
    assert told(first) == told(second) == told(late) == [("alice", 1, 2)]
    assert first.sequence < second.sequence < late.sequence


def test_a_clock_that_goes_back_and_forth_takes_no_more_than_so_many_hours() -> None:
    counted = meter()
    for step in range(3 * MAX_MARKS):
        reads(counted, NOON + (step % 2) * HOUR, alice=(step + 1, 0))
    rows = told(counted.batch(UsageRequest(), NOON))
    assert len(rows) == MAX_MARKS
    assert rows[-1] == ("alice", 3 * MAX_MARKS, 0)


def test_a_peer_that_left_is_forgotten_once_that_is_acknowledged() -> None:
    counted = meter()
    reads(counted, alice=(1, 2))
    reads(counted, alice=None)
    batch = counted.batch(UsageRequest(), NOON)
    counted.batch(UsageRequest(batch.epoch, batch.sequence), NOON)
    assert counted.state.configs[CONFIG].peers == {}
    reads(counted, alice=(5, 5))
    (row,) = counted.batch(UsageRequest(), NOON).configs[CONFIG]
    assert row.life != batch.configs[CONFIG][0].life
    counted.ended(CONFIG)
    last = counted.batch(UsageRequest(), NOON)
    counted.batch(UsageRequest(last.epoch, last.sequence), NOON)
    assert counted.state.configs == {}


def test_many_peers_take_several_batches() -> None:
    counted = meter()
    keys = [PublicKey(f"k{number}") for number in range(MAX_ROWS + 10)]
    stats = dict.fromkeys(keys, PeerStats(rx=1, tx=2))
    counted.note(CONFIG, 7, keys, stats, dict.fromkeys(keys, DESIRED[ALICE]), NOON)
    first = counted.batch(UsageRequest(), NOON)
    second = counted.batch(UsageRequest(first.epoch, first.sequence), NOON)
    assert (first.rows, first.more) == (MAX_ROWS, True)
    assert (second.rows, second.more) == (10, False)


def test_who_uses_something_all_the_time_keeps_nobody_from_being_told_of() -> None:
    counted = meter()
    keys = [PublicKey(f"k{number}") for number in range(3 * MAX_ROWS - 5)]
    told_of: list[str] = []
    batch = UsageBatch("", 0, NOON)
    for used in range(1, 4):
        stats = dict.fromkeys(keys, PeerStats(rx=used, tx=used))
        counted.note(CONFIG, 7, keys, stats, dict.fromkeys(keys, DESIRED[ALICE]), NOON)
        batch = counted.batch(UsageRequest(batch.epoch, batch.sequence), NOON)
        told_of += [row.public_key for row in batch.configs[CONFIG]]
        assert batch.more is (used < 3)
    assert told_of == keys
    lost = counted.batch(UsageRequest(batch.epoch, batch.sequence), NOON)
    again = counted.batch(UsageRequest(batch.epoch, batch.sequence), NOON)
    assert again.configs == lost.configs, "a panel that has not got it"


def test_counting_begins_with_what_is_there_where_nothing_is_known_of_before() -> None:
    counted = meter(fresh=True)
    counted.kept_before(CONFIG)
    reads(counted, alice=(10**9, 10**9))
    reads(counted, alice=(10**9 + 5, 10**9 + 6))
    reads(counted, bob=(7, 8))
    assert told(counted.batch(UsageRequest(), NOON)) == [("alice", 5, 6), ("bob", 7, 8)]


def test_an_older_copy_of_the_state_begins_anew() -> None:
    counted = meter()
    reads(counted, alice=(100, 100))
    copy = again(counted)
    ahead = UsageRequest(counted.state.epoch, copy.state.reserved + 3 * RESERVED)
    old = copy.state.epoch
    reads(copy, alice=(100, 100))
    assert told(copy.batch(ahead, NOON)) == []
    assert copy.state.epoch != old
    reads(copy, alice=(130, 140))
    assert told(copy.batch(ahead, NOON)) == [("alice", 30, 40)]


def test_numbers_are_not_used_twice_by_an_agent_that_was_killed() -> None:
    counted = meter()
    given = [counted.batch(UsageRequest(), NOON).sequence for _ in range(5)]
    assert again(counted).batch(UsageRequest(), NOON).sequence > max(given)


def test_a_damaged_file_is_set_aside_and_a_full_disk_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = DamagedFiles()
    file = UsageFile(tmp_path / "usage.json", damaged)
    assert file.load() is None
    counted = meter()
    reads(counted, alice=(1, 2))
    writer = UsageWriter(counted, file)
    with monkeypatch.context() as patch:
        patch.setattr("wgfleet.agent.state.usage_file.write_atomic", _full)
        writer.close()
    assert counted.changed
    writer.close()
    assert not counted.changed
    assert file.load() == counted.state
    (tmp_path / "usage.json").write_bytes(b'{"epoch": 1}')
    assert file.load() is None
    assert "usage is counted on from now" in damaged.notes[-1]


def test_the_name_of_a_counter_is_in_the_file_before_it_is_told(tmp_path: Path) -> None:
    """An agent that was killed would count the same again, under another name, and the panel would add it again."""
    file = UsageFile(tmp_path / "usage.json", DamagedFiles())
    counted = meter()
    writer = UsageWriter(counted, file)

    def killed() -> UsageWriter:
        return UsageWriter.load(file, "boot")

    reads(counted, alice=(1, 2))
    first = asyncio.run(writer.batch(UsageRequest(), NOON))
    next_run = killed()
    reads(next_run.meter, alice=(1, 2))
    again_told = asyncio.run(next_run.batch(UsageRequest(first.epoch, first.sequence), NOON))
    assert lives(again_told) == lives(first)
    assert again_told.epoch == first.epoch
    for _ in range(3):  # killed right after each: the number of its batch is in the file too
        number = asyncio.run(next_run.batch(UsageRequest(first.epoch, again_told.sequence), NOON)).sequence
        next_run = killed()
        assert asyncio.run(next_run.batch(UsageRequest(first.epoch, number), NOON)).epoch == first.epoch


def test_a_disk_that_is_full_keeps_nothing_back_and_what_was_told_is_not_told_again_by_the_next_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = UsageFile(tmp_path / "usage.json", DamagedFiles())
    counted = meter()
    writer = UsageWriter(counted, file)
    reads(counted, alice=(1, 2))
    first = asyncio.run(writer.batch(UsageRequest(), NOON))
    with monkeypatch.context() as patch:
        patch.setattr("wgfleet.agent.state.usage_file.write_atomic", _full)
        reads(counted, bob=(3, 4))
        said = asyncio.run(writer.batch(UsageRequest(first.epoch, first.sequence), NOON))
        assert told(said) == [("bob", 3, 4)]
        later = asyncio.run(writer.batch(UsageRequest(said.epoch, said.sequence), NOON))
        assert told(later) == []
    next_run = UsageWriter.load(file, "boot")  # killed
    reads(next_run.meter, alice=(1, 2), bob=(3, 4))
    told_then = asyncio.run(next_run.batch(UsageRequest(said.epoch, said.sequence), NOON))
    assert told(told_then) == []
    reads(next_run.meter, bob=(13, 14))
    after = asyncio.run(next_run.batch(UsageRequest(told_then.epoch, told_then.sequence), NOON))
    assert told(after) == [("bob", 10, 10)]


def test_what_is_told_waits_for_a_write_that_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = UsageFile(tmp_path / "usage.json", DamagedFiles())
    counted = meter()
    writer, begun, go_on, write = UsageWriter(counted, file), threading.Event(), threading.Event(), file.write
    monkeypatch.setattr("wgfleet.agent.interfaces.usage_writer._LOOK_S", 0.0)

    def slow(content: bytes) -> bool:
        begun.set()
        assert go_on.wait(60)
        return write(content)

    monkeypatch.setattr(file, "write", slow)

    async def scenario() -> UsageBatch:
        reads(counted, alice=(1, 2))
        running = asyncio.create_task(writer.run())
        await asyncio.to_thread(begun.wait, 60)
        assert not counted.first
        telling = asyncio.create_task(writer.batch(UsageRequest(), NOON))
        done, _ = await asyncio.wait([telling], timeout=0.1)
        assert not done
        go_on.set()
        said = await telling
        running.cancel()
        return said

    said = asyncio.run(scenario())
    kept = file.load()
    assert kept is not None
    assert {each.life for each in kept.configs[CONFIG].peers.values()} == set(lives(said).values())


def test_an_older_state_does_not_come_after_a_newer_one(tmp_path: Path) -> None:
    file = UsageFile(tmp_path / "usage.json", DamagedFiles())
    counted = meter()
    writer = UsageWriter(counted, file)
    late = writer._begin()  # noqa: SLF001 - as a thread has it that nobody waits for any more
    reads(counted, alice=(1, 2))
    writer.close()
    writer._write(*late)  # noqa: SLF001 - and as it ends
    assert file.load() == counted.state


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_row_is_short() -> None:
    row = UsageRow(PublicKey("k" * 44), 2**61, int(NOON), 10**12, 10**12)
    assert len(msgspec.json.encode(row)) < 120
