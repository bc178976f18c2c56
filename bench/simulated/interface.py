"""An interface that a simulated agent keeps, and how it is reported."""

import time
from dataclasses import dataclass, field

import msgspec

from bench.simulated.sessions import LiveSessions
from wgfleet.protocol.desired import DesiredInterface, InterfaceSettings, Push
from wgfleet.protocol.ids import Generation
from wgfleet.protocol.messages import InterfaceReport, InterfaceStatus

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Kept:
    """An interface. `peers` are the keys that were pushed, `sessions` those of them that are live."""

    settings: InterfaceSettings
    generation: Generation
    history: str
    peers: set[str]
    sessions: LiveSessions = field(default_factory=lambda: LiveSessions({}, 0))

    @property
    def held(self) -> tuple[str, ...]:
        """Its floating addresses: a simulated machine has each that it may have."""
        return self.settings.floating.addresses if self.settings.floating else ()

    def status(self) -> InterfaceStatus:
        return InterfaceStatus(
            name=self.settings.name,
            config_id=self.settings.config_id,
            generation=self.generation,
            peers=len(self.peers),
            up=self.settings.enabled,
            drift=(),
            summary="in sync",
        )

    def rendered(self, peers: str = "") -> bytes:
        """Return the JSON of its report; `peers` are fields of a JSON object."""
        report = _encode(
            InterfaceReport(
                name=self.settings.name,
                config_id=self.settings.config_id,
                generation=self.generation,
                up=self.settings.enabled,
                summary="in sync",
                held=self.held,
                history=self.history,
            )
        )
        return b'%b,"peers":{%b}}' % (report[:-1], peers.encode()) if peers else report


def pushed(push: Push, before: Kept | None) -> Kept:
    """Return an interface after a push that was admitted."""
    if isinstance(push, DesiredInterface):
        sessions = before.sessions if before is not None else LiveSessions({}, 0)
        return Kept(push.settings, push.generation, push.history, set(push.peers), sessions)
    if before is None:
        raise ValueError(f"a delta of {push.name} was admitted, but there is no such interface")
    before.settings = push.settings or before.settings
    before.generation, before.history = push.generation, push.history
    before.peers.update(push.upsert)
    before.peers.difference_update(push.remove)
    return before


def change_line(rendered: bytes) -> bytes:
    """Return a line of a watch stream that has the report of one interface."""
    head = b'{"type":"change","now":%f,"mark":%f,' % (time.time(), time.monotonic())
    return b'%b"interfaces":[%b]}\n' % (head, rendered)


def snapshot_line(status: bytes, rendered: list[bytes]) -> bytes:
    """Return the first line of a watch stream."""
    head = b'{"type":"snapshot","status":%b,"mark":%f,' % (status, time.monotonic())
    return b'%b"interfaces":[%b]}\n' % (head, b",".join(rendered))
