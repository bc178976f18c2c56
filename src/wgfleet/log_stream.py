"""The stream that a service logs to: nothing waits for its reader, and nothing fails where it cannot be written.

A log is for people; what it tells of comes first. A pipe whose reader stands still, a reader that is gone and a full
disk cost lines, which are counted: the next one that is written says how many.
"""

import contextlib
import io
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Literal, TextIO, cast

LogForm = Literal["auto", "json", "text"]
"""`auto`: text on a terminal, else JSON."""

PATIENCE_S = 0.05  # for a reader that is only slow; once, until it reads again
_LOOK_S = 0.001


def as_json(dropped: int) -> str:
    """Say in a line of JSON how many lines are missing."""
    return f'{{"event": "log.dropped", "lines": {dropped}, "level": "warning"}}'


def as_text(dropped: int) -> str:
    """Say in a line for people how many lines are missing."""
    return f"[warning  ] log.dropped                    lines={dropped}"


class LogStream(io.TextIOBase):
    """Lines to the file behind `stream`, by any thread. `said`: the line that says how many were dropped."""

    def __init__(self, stream: TextIO, said: Callable[[int], str] = as_json) -> None:
        self._stream = stream
        self._said = said
        self._send, self._end = _opened(stream)
        self._guard = threading.Lock()
        self._begun = threading.local()
        self._left = b""  # of a line that was written in part, and has to end before the next
        self._dropped = 0

    def isatty(self) -> bool:
        """Whether people look at it as it is written."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, text: str) -> int:
        """Take a part of a line; all of it is written at its end."""
        line = getattr(self._begun, "line", "") + text
        whole, end, self._begun.line = line.rpartition("\n")
        if end:
            with self._guard:
                self._emit((whole + end).encode("utf-8", "backslashreplace"))
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back that could be written."""

    def close(self) -> None:
        """End it; the stream behind it stays open. Safe to call twice."""
        end, self._end = self._end, _nothing
        end()
        super().close()

    def _emit(self, data: bytes) -> None:
        lines = data.count(b"\n")
        if self._dropped:
            data = f"{self._said(self._dropped)}\n".encode() + data
        patience_s = 0.0 if self._dropped or self._left else PATIENCE_S
        self._left = self._left[self._sent(self._left, patience_s) :]
        sent = 0 if self._left else self._sent(data, patience_s)
        if sent:
            self._left, self._dropped = data[sent:], 0
        else:
            self._dropped += lines

    def _sent(self, data: bytes, patience_s: float) -> int:
        """Write what can be written; return how many bytes that is."""
        sent, until = 0, time.monotonic() + patience_s
        while sent < len(data):
            try:
                sent += self._send(data[sent:])
            except BlockingIOError:
                left_s = until - time.monotonic()
                if left_s <= 0:
                    break
                time.sleep(min(left_s, _LOOK_S))
            except (OSError, ValueError):  # nobody reads it, it has no room, or it is closed
                break
        return sent


def log_to(stream: TextIO, said: Callable[[int], str] = as_json) -> TextIO:
    """Return a `LogStream` for those who want a text stream of the standard library."""
    return cast("TextIO", LogStream(stream, said))


def _opened(stream: TextIO) -> tuple[Callable[[bytes], int], Callable[[], None]]:
    """Return what writes bytes without waiting, and says how many it has written; and what ends that."""
    try:
        descriptor = stream.fileno()
        kind = os.fstat(descriptor).st_mode
    except (OSError, ValueError):  # not one of the system
        return partial(_put, stream), _nothing
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(kind):  # the journal's
            peer = socket.socket(fileno=os.dup(descriptor))
            return lambda data: peer.send(data, socket.MSG_DONTWAIT), peer.close
        if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
            # Opened once more: whether a write waits is a matter of the opening, and others have this one, too.
            own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            return partial(os.write, own), partial(os.close, own)
    return partial(os.write, descriptor), _nothing


def _put(stream: TextIO, data: bytes) -> int:
    stream.write(data.decode("utf-8", "replace"))
    stream.flush()
    return len(data)


def _nothing() -> None:
    """End nothing: the descriptor is not ours."""
