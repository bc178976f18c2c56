"""Which sessions count as in use, when an interface has to be made again."""

from pathlib import Path

from wgfleet.agent.interfaces.live_sessions import LiveSessions
from wgfleet.agent.state.session_files import SessionFiles
from wgfleet.protocol.ids import ConfigId, InterfaceName
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.observed import PeerStats

A, B = PublicKey("a"), PublicKey("b")
NOW = 1_000_000


def note(sessions: LiveSessions, at: float, **stats: PeerStats) -> None:
    found = {PublicKey(key): each for key, each in stats.items()}
    sessions.note(found, found, at, NOW + at)


def test_a_peer_that_was_heard_lately_is_in_use_at_its_last_endpoint() -> None:
    sessions = LiveSessions()
    note(sessions, 0, a=PeerStats("1.2.3.4:1", NOW, rx=1), b=PeerStats("1.2.3.5:1", NOW, rx=1))
    note(sessions, 50, a=PeerStats("1.2.3.4:2", NOW, rx=2))
    assert sessions.in_use(59) == {A: "1.2.3.4:2", B: "1.2.3.5:1"}
    assert sessions.in_use(61) == {A: "1.2.3.4:2"}
    assert sessions.in_use(111) == {}


def test_what_only_we_send_keeps_no_session_in_use() -> None:
    sessions = LiveSessions()
    note(sessions, 0, a=PeerStats("1.2.3.4:1", NOW, rx=1))
    note(sessions, 50, a=PeerStats("1.2.3.4:1", NOW, rx=1, tx=9000))
    assert sessions.in_use(61) == {}


def test_a_session_that_has_ended_by_its_age_is_none() -> None:
    sessions = LiveSessions()
    note(sessions, 0, a=PeerStats("1.2.3.4:1", NOW - 181, rx=1), b=PeerStats(None, NOW, rx=1))
    assert sessions.in_use(0) == {}


def test_a_client_of_the_same_link_is_not_called_and_keeps_nobody_else_from_it() -> None:
    sessions = LiveSessions()
    note(sessions, 0, a=PeerStats("1.2.3.4:1", NOW, rx=1), b=PeerStats("1.2.3.5:1", NOW, rx=1))
    note(sessions, 1, b=PeerStats("[fe80::1%eth0]:1", NOW, rx=2))
    assert sessions.in_use(2) == {A: "1.2.3.4:1"}


def test_sessions_outlive_the_interface_but_not_what_the_panel_says() -> None:
    sessions = LiveSessions()
    note(sessions, 0, a=PeerStats("1.2.3.4:1", NOW, rx=1), b=PeerStats("1.2.3.5:1", NOW, rx=1))
    sessions.note([A, B], {}, 1, NOW)  # the new interface has no session data
    assert sessions.in_use(2).keys() == {A, B}
    sessions.forget([A])
    assert sessions.in_use(2).keys() == {B}
    sessions.keep({A})
    assert sessions.in_use(2) == {}


def test_the_next_run_of_the_agent_knows_them_in_the_same_boot_and_namespace_for_the_same_config(
    tmp_path: Path,
) -> None:
    sessions, wg0 = LiveSessions(), InterfaceName("wg0")
    note(sessions, 5, a=PeerStats("1.2.3.4:1", NOW, rx=1))
    files = SessionFiles("boot-1", tmp_path)
    files.write(wg0, ConfigId("c"), sessions.kept(6))
    assert not files.is_due(wg0)
    later = LiveSessions()
    later.restore(SessionFiles("boot-1", tmp_path).read(wg0, ConfigId("c")))
    assert later.in_use(64) == {A: "1.2.3.4:1"}
    assert later.in_use(66) == {}
    assert SessionFiles("boot-2", tmp_path).read(wg0, ConfigId("c")) == {}
    assert SessionFiles("boot-1", tmp_path).read(wg0, ConfigId("other")) == {}
    files.remove(wg0)
    assert files.read(wg0, ConfigId("c")) == {}


def test_a_file_that_cannot_be_used_is_done_without(tmp_path: Path) -> None:
    files, wg0 = SessionFiles("boot-1", tmp_path), InterfaceName("wg0")
    for junk in (b"", b"\0" * 100, b'{"machine": 1}', b"[" * 100_000):
        (tmp_path / "wg0.wgfleet-sessions").write_bytes(junk)
        assert files.read(wg0, ConfigId("c")) == {}
    files = SessionFiles("boot-1", tmp_path / "wg0.wgfleet-sessions")
    files.write(wg0, ConfigId("c"), {})
    assert not files.is_due(wg0)
