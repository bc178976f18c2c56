"""Which sessions count as in use, when an interface has to be made again."""

from wgfleet.agent.interfaces.live_sessions import LiveSessions
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


def test_sessions_outlive_the_interface_but_not_what_the_panel_says() -> None:
    sessions = LiveSessions()
    note(sessions, 0, a=PeerStats("1.2.3.4:1", NOW, rx=1), b=PeerStats("1.2.3.5:1", NOW, rx=1))
    sessions.note([A, B], {}, 1, NOW)  # the new interface has no session data
    assert sessions.in_use(2).keys() == {A, B}
    sessions.forget([A])
    assert sessions.in_use(2).keys() == {B}
    sessions.keep({A})
    assert sessions.in_use(2) == {}
