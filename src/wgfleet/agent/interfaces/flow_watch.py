"""The watch over TCP connections of users: tells other nodes which this one's NAT carries, and ends those of arrivals.

What is to be told and ended is decided by `flows_elsewhere`. It is a help for users after a takeover: where it fails,
nothing else does.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable

import structlog

from wgfleet.agent.interfaces.believed_networks import pools
from wgfleet.agent.interfaces.flows_elsewhere import FlowsElsewhere, Users, choose, parts, server_of, user_of
from wgfleet.agent.kernel import conntrack, tcp_challenges
from wgfleet.protocol.backbone import Flows
from wgfleet.protocol.desired import InterfaceSettings

_LOOK_S = 2.0
_SHARE = 50  # looks take at most a fiftieth of the time
_IDLE_S = 0.5
_AT_ONCE = 64  # challenges between other work
_log = structlog.get_logger()


class FlowWatch:
    """The watch of one interface; `run` is a background task. `tell` sends messages to all other nodes."""

    def __init__(self, settings: Callable[[], InterfaceSettings], tell: Callable[[Iterable[Flows]], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._elsewhere = FlowsElsewhere()
        self._told = frozenset[bytes]()
        self._failed = False
        self._woken = asyncio.Event()

    @property
    def known(self) -> int:
        """How many connections other nodes say they carry."""
        return len(self._elsewhere)

    def heard(self, node: int, message: Flows) -> None:
        """Take what another node says."""
        self._elsewhere.heard(node, message, time.monotonic())

    def arrived(self, networks: Collection[str]) -> None:
        """Take note that the users of some networks have come to this node."""
        self._elsewhere.arrived(networks, time.monotonic())
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled."""
        look_at = 0.0
        while True:
            self._woken.clear()
            settings = self._settings()
            # Where nothing is masqueraded connections live on, and must not be ended.
            if settings.enabled and settings.masquerade and settings.mute is not None and settings.backbone is not None:
                await self._challenge(settings)
                if time.monotonic() >= look_at:
                    took_s = await self._look(settings)
                    look_at = time.monotonic() + max(_LOOK_S, _SHARE * took_s)
            pause = min(_IDLE_S, self._elsewhere.next_at() - time.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pause)):
                    await self._woken.wait()

    async def _look(self, settings: InterfaceSettings) -> float:
        """Tell the others of the connections that there are now; return the processor time of that, in s."""
        users = Users([*map(str, pools(settings)), *settings.routes])
        try:
            found, took_s = await asyncio.to_thread(_timed, users)
        except OSError as error:
            if not self._failed:
                _log.warning("flows.not_read", interface=settings.name, reason=str(error))
            self._failed = True
            return 0.0
        chosen = choose(found, self._told)
        self._told = frozenset(chosen)
        self._tell(parts(time.time_ns() // 1_000_000, chosen))
        return took_s

    async def _challenge(self, settings: InterfaceSettings) -> None:
        flows = self._elsewhere.take_due(time.monotonic())
        if not flows:
            return
        users = Users([*map(str, pools(settings)), *settings.routes])
        try:
            with tcp_challenges.Challenges(settings.name) as challenges:
                for number, flow in enumerate(flows):
                    if not users.has(server_of(flow)):
                        challenges.send(flow, len(user_of(flow)))
                    if number % _AT_ONCE == _AT_ONCE - 1:
                        await asyncio.sleep(0.001)
        except OSError as error:  # the link is down, or gone; a scan repairs it
            _log.warning("flows.not_challenged", interface=settings.name, reason=str(error))
        else:
            _log.info("flows.challenged", interface=settings.name, flows=len(flows))


def _timed(users: Users) -> tuple[set[bytes], float]:
    begun = time.thread_time()  # not that of the wall: waiting for a busy machine is no work
    return conntrack.masqueraded(users.has), time.thread_time() - begun
