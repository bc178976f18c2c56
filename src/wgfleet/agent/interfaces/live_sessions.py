"""The sessions of an interface that are in use, remembered beyond the interface itself. Pure.

When a WireGuard interface is made again it knows no session, and its peers notice only after 15 s of silence
(KEEPALIVE_TIMEOUT + REKEY_TIMEOUT). Called at their last endpoints they are back within a fraction of a second.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from wgfleet.agent.state.session_files import LiveSession
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.messages import CallBack
from wgfleet.protocol.observed import LIVE_S, PeerStats

# A session in which nothing came for so long may be over, or have moved to another node by itself: calling its peer
# could pull it from there. Stock clients behind NAT send every 25 s.
_IN_USE_S = 60.0


@dataclass(slots=True)
class CallBacks:
    """What an interface lost of sessions since the agent's start, and how many peers answered when they were called.

    `last` is the last of these calls, for the panel.
    """

    times: int = 0
    called: int = 0
    answered: int = 0
    last: CallBack | None = None

    def note(self, call: CallBack) -> None:
        """Count it."""
        self.times += 1
        self.called += call.called
        self.answered += call.answered
        self.last = call


@dataclass
class LiveSessions:
    """Where peers were heard last. `now` is in s of the monotonic clock."""

    _sessions: dict[PublicKey, LiveSession] = field(default_factory=dict)
    _cleaned_at: float = 0.0

    def note(
        self, keys: Iterable[PublicKey], stats: Mapping[PublicKey, PeerStats], now: float, wall_clock: float
    ) -> None:
        """Take in what changed. A peer without session data is remembered: its interface may be a new one.

        `wall_clock` (s since the epoch) is the clock of handshakes.
        """
        if now - self._cleaned_at > _IN_USE_S:
            self._cleaned_at = now
            self.in_use(now)
        for key in keys:
            seen = stats.get(key)
            if seen is None or seen.endpoint is None or wall_clock - seen.latest_handshake > LIVE_S:
                continue
            if "%" in seen.endpoint:  # a link-local address (RFC 4007), which only its link has: nobody else calls it
                self._sessions.pop(key, None)
                continue
            known = self._sessions.get(key)
            if known is None or (known.received, known.handshake) != (seen.rx, seen.latest_handshake):
                self._sessions[key] = LiveSession(seen.endpoint, seen.rx, seen.latest_handshake, now)

    def restore(self, sessions: Mapping[PublicKey, LiveSession]) -> None:
        """Take over what another run of the agent, in the same boot, knew."""
        self._sessions = {**sessions, **self._sessions}

    def kept(self, now: float) -> dict[PublicKey, LiveSession]:
        """Return what the next run of the agent is to know, and forget what it need not."""
        self.in_use(now)
        return self._sessions

    def forget(self, keys: Iterable[PublicKey]) -> None:
        """Peers left, or their sessions were given to another node."""
        for key in keys:
            self._sessions.pop(key, None)

    def keep(self, keys: Container[PublicKey]) -> None:
        """Forget all others."""
        self._sessions = {key: session for key, session in self._sessions.items() if key in keys}

    def in_use(self, now: float) -> dict[PublicKey, str]:
        """Return the endpoints of peers that were heard lately, and forget the others."""
        since = now - _IN_USE_S
        self._sessions = {key: session for key, session in self._sessions.items() if session.heard_at >= since}
        return {key: session.endpoint for key, session in self._sessions.items()}
