"""Relays on disk: what is kept comes back, and what cannot be used is set aside."""

from pathlib import Path

import msgspec
import pytest

from wgfleet.agent.state.files import ASIDE, DamagedFiles
from wgfleet.agent.state.relay_files import BootClock, KeptRelay, KeptRelays, RelayFiles
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.relay import RelayStatus

WG0 = InterfaceName("wg0")
KEY = PublicKey("k")
HOUR_S = 3600.0


class SetClock(BootClock):
    """Clocks that a test sets."""

    def __init__(self, boot: str, uptime: float, wall: float) -> None:
        super().__init__(boot)
        self._uptime, self._wall = uptime, wall

    def uptime(self) -> float:
        return self._uptime

    def wall(self) -> float:
        return self._wall


THEN = SetClock("a", 100.0, 1_800_000_000.0)
KEPT = KeptRelays(
    ConfigId("c"),
    51820,
    {KEY: KeptRelay("192.0.2.1:4000", "192.0.2.2:51820", 20000, THEN.wall() - 60, THEN.uptime() + HOUR_S)},
)


def files_at(directory: Path, clock: BootClock = THEN, damaged: DamagedFiles | None = None) -> RelayFiles:
    return RelayFiles(directory, damaged or DamagedFiles(), clock)


@pytest.mark.parametrize(
    ("now", "left_s"),
    [
        (SetClock("a", 700.0, THEN.wall() + 600), 3000),
        (SetClock("a", 700.0, THEN.wall() + 86_400), 3000),
        (SetClock("a", 700.0, 0.0), 3000),
        (SetClock("b", 5.0, THEN.wall() + 600), 3000),
        (SetClock("b", 5.0, 0.0), 3600),
        (SetClock("b", 5.0, THEN.wall() + 7200), -3600),
    ],
    ids=["restarted", "set ahead", "set back", "rebooted", "rebooted without a clock", "off for longer than it had"],
)
def test_what_a_relay_has_left_follows_no_clock_that_was_set(tmp_path: Path, now: SetClock, left_s: float) -> None:
    files_at(tmp_path).write(WG0, KEPT)
    shown = files_at(tmp_path, now).load()[WG0].peers[KEY].shown(now)
    assert shown.left_s == pytest.approx(left_s)
    assert shown.ends_at == pytest.approx(now.wall() + left_s)


def test_what_is_written_is_read_and_what_is_removed_is_not(tmp_path: Path) -> None:
    files = files_at(tmp_path / "relays")
    assert files.load() == {}
    files.write(WG0, KEPT)
    assert files_at(tmp_path / "relays").load() == {WG0: KEPT}
    files.remove(WG0)
    files.remove(WG0)
    assert files.load() == {}


@pytest.mark.parametrize("junk", [b"", b"\0" * 40, b"[" * 100_000, b'{"config_id": "c", "listen_port": 1}'])
def test_a_file_that_cannot_be_used_is_set_aside_and_the_others_are_read(tmp_path: Path, junk: bytes) -> None:
    damaged = DamagedFiles()
    files = files_at(tmp_path, damaged=damaged)
    files.write(WG0, KEPT)
    (tmp_path / "wg1.json").write_bytes(junk)
    assert files.load() == {WG0: KEPT}
    assert [path.name.partition(ASIDE)[0] for path in tmp_path.glob(f"*{ASIDE}*")] == ["wg1.json"]
    assert len(damaged.notes) == 1


@pytest.mark.parametrize("port", [0, -1, 65536, 10**20])
def test_a_port_that_an_agent_cannot_have_is_no_answer(port: int) -> None:
    said = b'{"peers": {"k": {"endpoint": "a", "target": "b", "port": %d, "ends_at": 1.0}}}' % port
    with pytest.raises(msgspec.MsgspecError):
        msgspec.json.decode(said, type=RelayStatus)
