"""Relays on disk: what is kept comes back, and what cannot be used is set aside."""

from pathlib import Path

import msgspec
import pytest

from wgfleet.agent.state.files import ASIDE, DamagedFiles
from wgfleet.agent.state.relay_files import KeptRelays, RelayFiles
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.relay import Relayed, RelayStatus

WG0 = InterfaceName("wg0")
KEPT = KeptRelays(
    ConfigId("c"), 51820, {PublicKey("k"): Relayed("192.0.2.1:4000", "192.0.2.2:51820", 20000, 1_800_000_000.0)}
)


def test_what_is_written_is_read_and_what_is_removed_is_not(tmp_path: Path) -> None:
    files = RelayFiles(tmp_path / "relays", DamagedFiles())
    assert files.load() == {}
    files.write(WG0, KEPT)
    assert RelayFiles(tmp_path / "relays", DamagedFiles()).load() == {WG0: KEPT}
    files.remove(WG0)
    files.remove(WG0)
    assert files.load() == {}


@pytest.mark.parametrize("junk", [b"", b"\0" * 40, b"[" * 100_000, b'{"config_id": "c", "listen_port": 1}'])
def test_a_file_that_cannot_be_used_is_set_aside_and_the_others_are_read(tmp_path: Path, junk: bytes) -> None:
    damaged = DamagedFiles()
    files = RelayFiles(tmp_path, damaged)
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
