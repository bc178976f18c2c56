"""The watch over TCP connections of users: tells other nodes which this one's NAT carries, and ends those of arrivals.

With a backbone the nodes tell each other. Otherwise the panel asks one and tells another: where users move from a node
whose agent lives, or, of one that has died, with what that one said last. What is to be told and ended is decided by
`flows_elsewhere`. It is a help for users after a takeover: where it fails, nothing else does.
"""

import asyncio
import contextlib
import errno
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import chain

import structlog

from wgfleet.agent.interfaces.believed_networks import pools
from wgfleet.agent.interfaces.flows_elsewhere import FlowsElsewhere, choose, parts
from wgfleet.agent.kernel import conntrack, tcp_challenges
from wgfleet.protocol.backbone import Flows
from wgfleet.protocol.desired import InterfaceSettings
from wgfleet.protocol.flow_owners import SIZES, Users, of_peers, server_of, user_of
from wgfleet.protocol.keys import PublicKey
from wgfleet.protocol.open_flows import FlowListing

_LOOK_S = 2.0
_SHARE = 50  # looks take at most a fiftieth of the time
_IDLE_S = 0.5
_AT_ONCE = 64  # challenges between other work
_REST_S = 0.001
_LINK_IS_DOWN = {errno.ENETDOWN, errno.ENODEV, errno.ENXIO}
AGAIN_S = 10.0
_log = structlog.get_logger()


class FlowWatch:
    """The watch of one interface; `run` is a background task.

    `tell` sends messages to all other nodes. `carry` gets to know whether this node's NAT has connections.
    """

    def __init__(
        self,
        settings: Callable[[], InterfaceSettings],
        tell: Callable[[Iterable[Flows]], None],
        carry: Callable[[bool], None],
    ) -> None:
        self._carry = carry
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

    async def carried(self, networks: Mapping[PublicKey, Collection[str]]) -> dict[PublicKey, tuple[bytes, ...]]:
        """Return the connections that this node's NAT has of some peers; none where the nodes tell each other."""
        settings = self._settings()
        if settings.backbone is not None or not _masquerades(settings):
            return {}
        try:
            found, _ = await asyncio.to_thread(_timed, Users(chain.from_iterable(networks.values())))
        except OSError as error:
            _log.warning("flows.not_read", interface=settings.name, reason=str(error))
            return {}
        return of_peers(networks, choose(found, ()))

    async def listing(self) -> FlowListing:
        """Return the connections that this node's NAT has of all users; none where the nodes tell each other."""
        settings = self._settings()
        if settings.backbone is not None or not _masquerades(settings):
            return FlowListing()
        users = Users([*map(str, pools(settings)), *settings.routes])
        try:
            found, took_s = await asyncio.to_thread(_timed, users)
        except OSError as error:
            _log.warning("flows.not_read", interface=settings.name, reason=str(error))
            return FlowListing()
        chosen = choose((flow for flow in found if not users.has(server_of(flow))), self._told)
        self._told = frozenset(chosen)
        four, six = (b"".join(flow for flow in chosen if len(flow) == size) for size in SIZES)
        return FlowListing(four, six, took_s)

    def brought(self, networks: Collection[str], flows: Iterable[bytes]) -> None:
        """End connections that a peer with some networks, who has come, had through another node."""
        if self._settings().backbone is None:
            self._elsewhere.brought(networks, flows, time.monotonic())
            self._woken.set()

    async def run(self) -> None:
        """Work until cancelled; what fails in a way that is not known is logged, and begun again."""
        name = self._settings().name
        while True:
            try:
                await self._run()
            except Exception:  # noqa: BLE001 - a bug of ours, whatever it is, must not cost users more than this help
                _log.exception("flows.died", interface=name, seconds_to_next=AGAIN_S)
                self._elsewhere.drop_due()
                await asyncio.sleep(AGAIN_S)

    async def _run(self) -> None:
        look_at = 0.0
        while True:
            self._woken.clear()
            settings = self._settings()
            if _masquerades(settings):
                await self._challenge(settings)
            else:
                self._elsewhere.drop_due()
            if not _masquerades(settings) or settings.backbone is None:
                self._carry(False)
            elif time.monotonic() >= look_at:
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
        self._carry(bool(found))
        chosen = choose(found, self._told)
        self._told = frozenset(chosen)
        self._tell(parts(time.time_ns() // 1_000_000, chosen))
        return took_s

    async def _challenge(self, settings: InterfaceSettings) -> None:
        if self._elsewhere.next_at() > time.monotonic():
            return
        due = self._elsewhere.take_due(time.monotonic())
        users = Users([*map(str, pools(settings)), *settings.routes])
        results = Counter[str | None]()  # by what went wrong; None: nothing
        try:
            with tcp_challenges.Challenges(settings.name) as challenges:
                for flows in due:
                    wanted = [flow for flow in flows if not users.has(server_of(flow))]
                    for number, flow in enumerate(wanted):
                        result = _send(challenges, flow)
                        results[result] += 1
                        if result is not None or number % _AT_ONCE == _AT_ONCE - 1:
                            await asyncio.sleep(_REST_S)  # what is full may empty
                    await asyncio.sleep(0)
        except OSError as error:  # a scan repairs it
            results[str(error)] += 1
        for reason, count in results.items():
            if reason is None:
                _log.info("flows.challenged", interface=settings.name, flows=count)
            else:
                _log.warning("flows.not_challenged", interface=settings.name, flows=count, reason=reason)


def _masquerades(settings: InterfaceSettings) -> bool:
    """Whether users' connections do not move along; where they live on they must not be ended."""
    return settings.enabled and settings.masquerade and settings.mute is not None


def _send(challenges: tcp_challenges.Challenges, flow: bytes) -> str | None:
    """Challenge a user; return why that failed, None where it did not; raise where no other will succeed either."""
    try:
        challenges.send(flow, len(user_of(flow)))
    except OSError as error:
        if error.errno in _LINK_IS_DOWN:
            raise
        return str(error)
    return None


def _timed(users: Users) -> tuple[set[bytes], float]:
    begun = time.thread_time()  # not that of the wall: waiting for a busy machine is no work
    return conntrack.masqueraded(users.has), time.thread_time() - begun
