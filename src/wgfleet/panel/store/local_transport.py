"""Transport of messages between processes of one machine: a datagram socket each, in a directory of their own.

For SQLite, whose processes share a directory. Who is there is whose socket is there; of a process that was killed the
socket stays, and the next sender deletes it.
"""

import contextlib
import errno
import os
import socket
from pathlib import Path

from wgfleet.panel import clock
from wgfleet.panel.store.exchange import TransportError

PATIENCE_S = 1.0  # with a process that does not take its messages
_MISSED = b'{"sender":"","lost":true}'
_LABEL_ENDS = "."
_ID_DIGITS = 16


class LocalTransport:
    """The socket of this process, and the way to all others of the directory. `label` is part of the socket's name."""

    def __init__(self, directory: Path, label: str) -> None:
        """Make the directory, which only its owner may enter, and the socket; raise OSError where that fails."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # Processes that are forked together come here within a millisecond: only the random digits tell them apart.
        self._name = f"{label}{_LABEL_ENDS}{clock.new_id()[-_ID_DIGITS:]}"
        self._behind: set[str] = set()
        self._path = directory / self._name
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._receiver.bind(self._address(self._name))
        os.chmod(self._name, 0o600, dir_fd=self._directory)

    def send(self, message: bytes) -> None:
        """Send to all others. One that does not take it learns later that it missed something."""
        for name in os.listdir(self._directory):  # noqa: PTH208 - by the open directory, wherever it is now
            if name != self._name and (message or name in self._behind):
                self._send_to(name, message)

    def receive(self, timeout_s: float) -> bytes | None:
        """Return the next message."""
        try:
            self._receiver.settimeout(timeout_s)
            return self._receiver.recv(65536)
        except TimeoutError:
            return None
        except OSError as error:
            raise TransportError(str(error)) from error

    def stop_sending(self) -> None:
        """Close the socket that sends."""
        self._sender.close()
        os.close(self._directory)

    def stop_receiving(self) -> None:
        """Delete the socket that others send to."""
        self._receiver.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _send_to(self, name: str, message: bytes) -> None:
        behind = name in self._behind
        try:
            # One that has kept us waiting once does so no more.
            self._sender.settimeout(0 if behind else PATIENCE_S)
            self._sender.sendto(_MISSED if behind else message, self._address(name))
        except (TimeoutError, BlockingIOError):
            self._behind.add(name)
        except OSError as error:
            self._behind.discard(name)
            if error.errno == errno.ENOBUFS:
                self._behind.add(name)
            elif error.errno == errno.ECONNREFUSED:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self._directory)
            elif error.errno != errno.ENOENT:
                raise TransportError(str(error)) from error
        else:
            self._behind.discard(name)

    def _address(self, name: str) -> str:
        return _address(self._directory, name)


def labels(directory: Path) -> list[str]:
    """Return the labels of the processes whose sockets are there; "" for one of an earlier release."""
    if not directory.is_dir():
        return []
    found = []
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(opened):  # noqa: PTH208 - by the open directory, as they are reached
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking, contextlib.suppress(OSError):
                asking.connect(_address(opened, name))  # refused where the process is gone
                found.append(name.rpartition(_LABEL_ENDS)[0])
    finally:
        os.close(opened)
    return found


def _address(directory: int, name: str) -> str:
    # An address of a socket has 107 characters at most, the path of a data directory may have more.
    return f"/proc/self/fd/{directory}/{name}"
