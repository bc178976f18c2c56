"""The desired state on disk survives whatever was cut off."""

import base64
import itertools
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.agent.state.journal import Journal, replay
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings, delta_between
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey

KEYS = [PublicKey(base64.b64encode(bytes([number]) * 32).decode()) for number in range(6)]
SETTINGS = InterfaceSettings(
    name=InterfaceName("wg0"),
    config_id=ConfigId("config-1"),
    private_key=PrivateKey(base64.b64encode(bytes(31) + b"\x40").decode()),
    listen_port=51820,
)


def state(generation: int, numbers: set[int]) -> DesiredInterface:
    peers = {KEYS[number]: DesiredPeer((f"10.0.0.{number}/32",)) for number in sorted(numbers)}
    return DesiredInterface(generation=Generation(generation), settings=SETTINGS, peers=peers)


def states(sets: list[set[int]]) -> list[DesiredInterface]:
    return [state(generation, numbers) for generation, numbers in enumerate(sets, 1)]


@given(sets=st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=5), data=st.data())
def test_a_journal_cut_at_any_byte_gives_one_of_the_states_that_were_written(
    sets: list[set[int]], data: st.DataObject
) -> None:
    history = states(sets)
    pairs = itertools.pairwise(history)
    lines = b"".join(msgspec.json.encode(delta_between(a, b)) + b"\n" for a, b in pairs)
    cut = data.draw(st.integers(0, len(lines)))
    found, used, *_ = replay(history[0], lines[:cut])
    whole_lines = lines[:cut].count(b"\n")
    assert found == history[whole_lines]
    assert used == len(lines[:cut].rpartition(b"\n")[0]) + (1 if whole_lines else 0)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "desired")
    assert journal.load() == {}
    history = states([{0}, {0, 1}, {1}, {1, 2, 3}])
    journal.write(history[0])
    for before, after in itertools.pairwise(history):
        journal.append(delta_between(before, after), after)
        assert Journal(tmp_path / "desired").load() == {"wg0": after}
    journal.remove(InterfaceName("wg0"))
    assert Journal(tmp_path / "desired").load() == {}


def test_a_torn_line_is_overwritten_by_the_next(tmp_path: Path) -> None:
    history = states([{0}, {0, 1}, {0, 1, 2}])
    journal = Journal(tmp_path)
    journal.load()
    journal.write(history[0])
    journal.append(delta_between(history[0], history[1]), history[1])
    with (tmp_path / "wg0.journal").open("ab") as file:
        file.write(b'{"type":"delta","na')
    reopened = Journal(tmp_path)
    assert reopened.load() == {"wg0": history[1]}
    reopened.append(delta_between(history[1], history[2]), history[2])
    assert Journal(tmp_path).load() == {"wg0": history[2]}


def test_deltas_that_the_base_holds_already_are_skipped(tmp_path: Path) -> None:
    history = states([{0}, {0, 1}, {0, 1, 2}])
    journal = Journal(tmp_path)
    journal.load()
    journal.write(history[0])
    journal.append(delta_between(history[0], history[1]), history[1])
    stale = (tmp_path / "wg0.journal").read_bytes()
    journal.write(history[1])
    (tmp_path / "wg0.journal").write_bytes(stale)  # as a kill between the two steps leaves it
    reopened = Journal(tmp_path)
    assert reopened.load() == {"wg0": history[1]}
    reopened.append(delta_between(history[1], history[2]), history[2])
    assert Journal(tmp_path).load() == {"wg0": history[2]}


def test_the_journal_stays_bounded(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.load()
    now = state(1, {0})
    journal.write(now)
    for generation in range(2, 600):
        after = state(generation, {generation % 6})
        journal.append(delta_between(now, after), after)
        now = after
    deltas = tmp_path / "wg0.journal"
    assert not deltas.exists() or deltas.stat().st_size <= 64 * 1024
    assert Journal(tmp_path).load() == {"wg0": now}


def test_half_written_files_are_ignored_and_removed(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.load()
    journal.write(state(1, {0}))
    (tmp_path / "wg0.json.tmp").write_bytes(b'{"type":')
    assert Journal(tmp_path).load() == {"wg0": state(1, {0})}
    assert not (tmp_path / "wg0.json.tmp").exists()


def test_files_are_for_the_agent_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        journal = Journal(tmp_path / "desired")
        journal.load()
        journal.write(state(1, {0}))
        journal.append(delta_between(state(1, {0}), state(2, {1})), state(2, {1}))
    finally:
        os.umask(old)
    assert [oct(path.stat().st_mode & 0o777) for path in sorted((tmp_path / "desired").iterdir())] == ["0o600"] * 3


def test_what_a_later_release_stored_is_read_without_what_is_unknown(tmp_path: Path) -> None:
    history = states([{0}, {0, 1}])
    journal = Journal(tmp_path)
    journal.load()
    journal.write(history[0])
    journal.append(delta_between(history[0], history[1]), history[1])
    for name in ("wg0.json", "wg0.journal"):
        stored = msgspec.json.decode((tmp_path / name).read_bytes())
        stored["of_later"] = {"a": 1}
        if name == "wg0.json":
            stored["settings"]["isolation"] = True
            stored["peers"][KEYS[0]]["quota"] = 5
        (tmp_path / name).write_bytes(msgspec.json.encode(stored) + b"\n")
    rolled_back = Journal(tmp_path)
    assert rolled_back.load() == {"wg0": history[1]}
    [note] = rolled_back.notes
    assert "of_later, settings.isolation, peers.quota" in note
    assert "later release" in note


def with_history(whole: DesiredInterface, history: str) -> DesiredInterface:
    return msgspec.structs.replace(whole, history=history)


# What 0.1.0 decodes its files with: it refuses any other field, and then does not start.
class WholeOf010(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="whole"):
    generation: int
    settings: dict[str, object]
    peers: dict[str, object]


class DeltaOf010(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="delta", kw_only=True):
    name: str
    config_id: str
    base: int
    generation: int
    settings: dict[str, object] | None = None
    upsert: dict[str, object] = {}
    remove: tuple[str, ...] = ()


def test_what_is_new_is_stored_where_0_1_0_does_not_stumble_over_it(tmp_path: Path) -> None:
    first, second, third = (
        with_history(each, history) for each, history in zip(states([{0}, {0, 1}, {1}]), ("a", "b", "b"), strict=True)
    )
    journal = Journal(tmp_path)
    journal.load()
    journal.write(first)
    assert Journal(tmp_path).load() == {"wg0": first}
    journal.append(delta_between(first, second), second)
    assert Journal(tmp_path).load() == {"wg0": second}
    again = Journal(tmp_path)
    again.load()
    again.append(delta_between(second, third), third)
    assert Journal(tmp_path).load() == {"wg0": third}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wg0.extension", "wg0.journal", "wg0.json"]
    msgspec.json.decode((tmp_path / "wg0.json").read_bytes(), type=WholeOf010)
    for line in (tmp_path / "wg0.journal").read_bytes().splitlines():
        msgspec.json.decode(line, type=DeltaOf010)


def test_a_state_that_0_1_0_wrote_since_belongs_to_no_history(tmp_path: Path) -> None:
    """An agent was rolled back and came forward again: the panel is to send the whole."""
    first, second = (with_history(each, "a") for each in states([{0}, {0, 1}]))
    journal = Journal(tmp_path)
    journal.load()
    journal.write(first)
    plain = [with_history(each, "") for each in (first, second)]
    line = msgspec.json.encode(delta_between(*plain)) + b"\n"
    (tmp_path / "wg0.journal").write_bytes(line)
    assert Journal(tmp_path).load() == {"wg0": plain[1]}


@pytest.mark.parametrize("step", ["extension", "base", "deltas"])
def test_a_kill_between_two_files_leaves_the_state_before_or_after_whole(tmp_path: Path, step: str) -> None:
    first, second, third = (
        with_history(each, history) for each, history in zip(states([{0}, {0, 1}, {1}]), "abc", strict=True)
    )
    journal = Journal(tmp_path)
    journal.load()
    journal.write(first)
    journal.append(delta_between(first, second), second)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    journal.write(third)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = {"extension": ["wg0.extension"], "base": ["wg0.extension", "wg0.json"], "deltas": list(after)}[step]
    for name, content in before.items():
        (tmp_path / name).write_bytes(after[name] if name in done and name in after else content)
    assert Journal(tmp_path).load() == {"wg0": second if step == "extension" else third}


def test_a_full_disk_leaves_the_history_of_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (with_history(each, history) for each, history in zip(states([{0}, {0, 1}]), "ab", strict=True))
    journal = Journal(tmp_path)
    journal.load()
    journal.write(first)
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", lambda *_: 1)
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                journal.append(delta_between(first, second), second)
    assert Journal(tmp_path).load() == {"wg0": first}
    journal.append(delta_between(first, second), second)
    assert Journal(tmp_path).load() == {"wg0": second}


def test_a_delta_waits_twice_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = states([{0}, {0, 1}, {1}, {1, 2}])
    journal = Journal(tmp_path)
    journal.load()
    journal.write(found[0])
    journal.append(delta_between(found[0], found[1]), found[1])
    synced: list[int] = []
    for before, after in itertools.pairwise(found[1:]):
        with monkeypatch.context() as counting:
            counting.setattr(os, "fsync", synced.append)
            journal.append(delta_between(before, after), after)
    assert len(synced) == 2 * 2


def test_what_a_crash_left_of_the_last_extension_costs_nothing(tmp_path: Path) -> None:
    first, second, third = (
        with_history(each, history) for each, history in zip(states([{0}, {0, 1}, {1}]), "abc", strict=True)
    )
    journal = Journal(tmp_path)
    journal.load()
    journal.write(first)
    journal.append(delta_between(first, second), second)
    place = tmp_path / "wg0.extension"
    whole = place.read_bytes()
    for left in (b'{"digest":"', b"\0" * 40, whole[: len(whole) // 2]):
        place.write_bytes(whole + left)
        again = Journal(tmp_path)
        assert again.load() == {"wg0": second}
        again.append(delta_between(second, third), third)
        assert Journal(tmp_path).load() == {"wg0": third}
        again.write(second)
        whole = place.read_bytes()


def test_an_extension_that_was_removed_or_cut_by_hand_is_written_again(tmp_path: Path) -> None:
    first, second, third = (
        with_history(each, history) for each, history in zip(states([{0}, {0, 1}, {1}]), "abc", strict=True)
    )
    for damage in (Path.unlink, lambda path: path.write_bytes(b"")):
        journal = Journal(tmp_path)
        journal.load()
        journal.write(first)
        damage(tmp_path / "wg0.extension")
        journal.append(delta_between(first, second), second)
        journal.append(delta_between(second, third), third)
        assert Journal(tmp_path).load() == {"wg0": third}


def test_extensions_do_not_grow_for_ever(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.load()
    before = with_history(states([{0}])[0], "a")
    journal.write(before)
    for _ in range(300):
        after = msgspec.structs.replace(before, generation=Generation(before.generation + 1), peers=before.peers)
        journal.append(delta_between(before, after), after)
        before = after
    assert (tmp_path / "wg0.extension").stat().st_size <= 80 * 1024
    assert Journal(tmp_path).load() == {"wg0": before}
