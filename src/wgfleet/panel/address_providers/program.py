"""Programs of the panel's machine that a provider may run: how one is started, fed, bounded and ended.

A program gets its request by stdin and nothing of the panel's environment. It runs in a session of its own, whose
processes are all killed in the end: what it leaves running, and what does not end in time. Must not know what is asked.
"""

import os
import selectors
import signal
import stat
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from wgfleet.panel import clock
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.protocol.reasons import Reason

MAX_OUTPUT = 64 * 1024  # bytes, of each stream
_CHUNK = 16 * 1024
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended by itself. `code` is negative for a signal."""

    code: int
    output: bytes
    errors: bytes


def check_there(path: str) -> os.stat_result:
    """Return a program's file; raise `PermanentError` for one that is not there, or cannot be run."""
    try:
        found = Path(path).stat()
    except OSError as error:
        raise PermanentError(
            Reason("the program {path} cannot be found: {error}", path=path, error=os.strerror(error.errno or 0))
        ) from None
    if not stat.S_ISREG(found.st_mode) or not os.access(path, os.X_OK):
        raise PermanentError(
            Reason("the program {path} cannot be run by the panel's user: it must be an executable file", path=path)
        )
    return found


def check_file(path: str) -> None:
    """Raise `PermanentError` for a program that others than the panel's administrator may have written."""
    found = check_there(path)
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or found.st_uid not in {0, os.geteuid()}:
        raise PermanentError(
            Reason(
                "the program {path} can be written by others; it must belong to root or to the panel's user, "
                "and be writable by nobody else (chmod go-w)",
                path=path,
            )
        )


def run(name: str, command: Sequence[str], request: bytes, timeout_s: float) -> Finished:
    """Run a program to its end. Raise `TransientError` if it takes longer, or says more than `MAX_OUTPUT`.

    `name` is what users know it by. Where its file is, only errors say that an administrator has to see to there.
    """
    check_file(command[0])
    try:
        process = subprocess.Popen(  # noqa: S603 - of the panel's settings file; no shell
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=_ENVIRONMENT, cwd="/", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise TransientError(
            Reason(
                "program {program!r} cannot be started: {error}",
                program=name,
                error=os.strerror(error.errno or 0),
            )
        ) from None
    try:
        output, errors = _exchange(process, request, clock.monotonic() + timeout_s, name)
    finally:
        # Its leader is not reaped yet, so that the group's number still stands for it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
    return Finished(process.returncode, output, errors)


def _exchange(process: subprocess.Popen[bytes], request: bytes, deadline: float, name: str) -> tuple[bytes, bytes]:
    """Write the request and read both streams to their ends, then wait until the program has ended."""
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    assert stdin is not None and stdout is not None and stderr is not None  # noqa: S101, PT018 - of PIPE
    said: dict[IO[bytes], bytearray] = {stdout: bytearray(), stderr: bytearray()}
    left = memoryview(request)
    with selectors.DefaultSelector() as selector:
        for stream, events in (
            (stdin, selectors.EVENT_WRITE), (stdout, selectors.EVENT_READ), (stderr, selectors.EVENT_READ),
        ):  # fmt: skip
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, events, stream)
        while selector.get_map():
            for key, _ in selector.select(_left(deadline, name)):
                ready: IO[bytes] = key.data
                if ready is stdin:
                    left = _written(stdin, left)
                    going_on = bool(left)
                else:
                    going_on = _read(ready, said[ready], name)
                if not going_on:
                    selector.unregister(ready)
                    with suppress(OSError):
                        ready.close()
    _wait(process, deadline, name)
    return bytes(said[stdout]), bytes(said[stderr])


def _written(stdin: IO[bytes], left: memoryview) -> memoryview:
    """Write what goes; nothing is left for a program that does not read its request."""
    try:
        return left[os.write(stdin.fileno(), left[:_CHUNK]) :]
    except BlockingIOError:
        return left
    except OSError:
        return left[:0]


def _read(stream: IO[bytes], said: bytearray, name: str) -> bool:
    """Read what is there; False at the end."""
    try:
        found = os.read(stream.fileno(), _CHUNK)
    except BlockingIOError:
        return True
    if len(said) + len(found) > MAX_OUTPUT:
        raise TransientError(
            Reason("program {name!r} says more than {size} KB, and was ended", name=name, size=MAX_OUTPUT // 1024)
        )
    said += found
    return bool(found)


def _left(deadline: float, name: str) -> float:
    if (left := deadline - clock.monotonic()) <= 0:
        raise TransientError(Reason("program {name!r} did not end in time, and was ended", name=name))
    return left


def _wait(process: subprocess.Popen[bytes], deadline: float, name: str) -> None:
    """Wait until the program has ended, and leave it unreaped."""
    pause_s = 0.001
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        time.sleep(min(pause_s, _left(deadline, name)))
        pause_s = min(pause_s * 2, 0.05)
