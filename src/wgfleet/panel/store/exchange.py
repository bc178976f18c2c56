"""The exchange between the processes of a panel, and between panels: wakes of commits, and what a core reports.

A message may be late but is not lost without a word: where one may have been, `lost` is called, and who listens
looks at everything. What the messages go by is a `Transport`; nobody that commits waits for one.
"""

import threading
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import structlog

from wgfleet.panel import clock
from wgfleet.panel.domain.operations import OperationKind
from wgfleet.panel.store.wakes import Topic, Wake

MAX_BYTES = 7900  # of a message; a notification of PostgreSQL has less than 8000
WAKES = 40  # in a message: an id is up to 65 characters
MAX_PENDING = 10_000  # more are as good as "look at everything"
LOOK_S = 0.2
RETRY_S = 1.0
END_S = 2.0  # for its threads to end; one that waits for the database for longer ends by itself

log = structlog.get_logger()


class TransportError(Exception):
    """Messages cannot be sent, or received, at the moment."""


class Transport(Protocol):
    """What messages go by. `send` is called in one thread, `receive` in another."""

    def send(self, message: bytes) -> None:
        """Send to all others, or raise `TransportError`. Without a message: to those that missed one before."""

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next message of others, None when there is none in time, or raise `TransportError`."""

    def stop_sending(self) -> None:
        """Let go of what `send` uses, in its thread."""

    def stop_receiving(self) -> None:
        """Let go of what `receive` uses, in its thread."""


class Message(msgspec.Struct, omit_defaults=True):
    """What goes from one process to all others. Fields of later versions are ignored."""

    sender: str
    wakes: tuple[tuple[str, str, str | None], ...] = ()
    lost: bool = False
    report: msgspec.Raw = msgspec.Raw()


@dataclass(slots=True)
class Listeners:
    """Who is called with what: with the wakes of commits, when some may have been lost, with the reports of others."""

    committed: list[Callable[[list[Wake]], None]] = field(default_factory=list)
    lost: list[Callable[[], None]] = field(default_factory=list)
    reported: list[Callable[[str, bytes], None]] = field(default_factory=list)

    def hear(self, wakes: list[Wake]) -> None:
        """Pass wakes on, in a context of their own: what follows from a request is not done for its caller."""
        for listener in self.committed:
            Context().run(listener, wakes)

    def lose(self) -> None:
        """Pass on that wakes may have been lost."""
        for listener in self.lost:
            listener()


class Exchange:
    """Runs two threads until it is closed. `sender` names this process to the others."""

    def __init__(self, transport: Transport, listeners: Listeners) -> None:
        self.sender = clock.new_id()
        self._transport = transport
        self._listeners = listeners
        self._pending: dict[Wake, None] = {}
        self._lost = False
        self._report: bytes = b""
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._send, name="exchange-send", daemon=True),
            threading.Thread(target=self._receive, name="exchange-receive", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def tell(self, wakes: Sequence[Wake]) -> None:
        """Send wakes soon; never waits."""
        with self._changed:
            self._pending.update(dict.fromkeys(wakes))
            if len(self._pending) > MAX_PENDING:
                self._pending, self._lost = {}, True
            self._changed.notify()

    def report(self, report: bytes) -> None:
        """Send a report soon; of several that could not be sent the last."""
        with self._changed:
            self._report = report
            self._changed.notify()

    def close(self) -> None:
        """Send what is waiting, if that can be done at once, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        for thread in self._threads:
            thread.join(END_S)

    def _send(self) -> None:
        try:
            self._keep_sending()
        finally:
            self._transport.stop_sending()

    def _receive(self) -> None:
        try:
            self._keep_receiving()
        finally:
            self._transport.stop_receiving()

    def _keep_sending(self) -> None:
        while True:
            with self._changed:
                if not (self._pending or self._lost or self._report or self._closed):
                    self._changed.wait(RETRY_S)
                wakes, self._pending = list(self._pending), {}
                lost, self._lost = self._lost, False
                report, self._report = self._report, b""
                closed = self._closed
            try:
                if not (wakes or lost or report):
                    self._transport.send(b"")
                elif lost:
                    self._transport.send(msgspec.json.encode(Message(self.sender, lost=True)))
                for start in range(0, len(wakes), WAKES):
                    some = wakes[start : start + WAKES]
                    texts = tuple((wake.topic.value, wake.id, wake.kind and wake.kind.value) for wake in some)
                    self._transport.send(msgspec.json.encode(Message(self.sender, wakes=texts)))
                if report:
                    self._transport.send(msgspec.json.encode(Message(self.sender, report=msgspec.Raw(report))))
            except Exception as error:  # whatever it is: a thread that ends would cut us off for good
                log.warning("exchange.not_sent", error=str(error), exc_info=_unexpected(error))
                with self._changed:
                    self._pending = {**dict.fromkeys(wakes), **self._pending}
                    self._lost |= lost
                    if not self._closed:
                        self._changed.wait(RETRY_S)
            if closed:
                return

    def _keep_receiving(self) -> None:
        # Whatever others sent before we listened is lost to us, at the start as after each time that we could not.
        well = False
        while not self._closed:
            try:
                message = self._transport.receive(LOOK_S)
                if not well:
                    self._listeners.lose()
                    well = True
                if message is not None:
                    self._take(message)
            except Exception as error:  # as above
                if well or _unexpected(error):
                    log.warning("exchange.cut_off", error=str(error), exc_info=_unexpected(error))
                well = False
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, RETRY_S)

    def _take(self, text: bytes) -> None:
        try:
            message = msgspec.json.decode(text, type=Message)
            if message.sender == self.sender:
                return
            wakes = [
                Wake(Topic(topic), identifier, OperationKind(kind) if kind else None)
                for topic, identifier, kind in message.wakes
            ]
        except ValueError as error:  # of a later version
            log.warning("exchange.not_understood", error=str(error))
            self._listeners.lose()
            return
        if message.lost:
            self._listeners.lose()
        if wakes:
            self._listeners.hear(wakes)
        if message.report:
            for listener in self._listeners.reported:
                listener(message.sender, bytes(message.report))


def _unexpected(error: Exception) -> Exception | None:
    """Return an error that no transport should raise, to be logged with its traceback."""
    return None if isinstance(error, TransportError) else error
