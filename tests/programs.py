"""The `wgfleet` program and its agent as processes, without the time that they take to load: forks of one that has.

It has its own input, output, environment, directory and signals, and is a child of the tests' process. Tests of how the
program is loaded start it for themselves.
"""

import atexit
import ctypes
import functools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fork_server import AGENT, MOST_BYTES, ROOM
from wgfleet.lab.errors import LabError
from wgfleet.lab.hosts import Host

PROGRAM = str(Path(sys.executable).with_name("wgfleet"))
_SERVER = Path(__file__).with_name("fork_server.py")
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
# Names of variables that are read while the program is loaded: with others, it is loaded once more.
_READ_AT_THE_START = ("PYTHON", "LANG", "LC_", "TZ")
_libc = ctypes.CDLL(None, use_errno=True)
_one_at_a_time = threading.Lock()


class Forked(subprocess.Popen[str]):
    """`subprocess.Popen` of the program, text in and out, whose start is a fork."""

    def __init__(
        self, words: Sequence[str], *, program: str = PROGRAM, beside: int | None = None, **given: Any
    ) -> None:
        """`beside`: a process in whose namespaces the program is to be."""
        self._beside = beside
        super().__init__([program, *words], text=True, **given)

    def _execute_child(self, *given: Any) -> None:
        """Start the program: the one step of a Popen that is another."""
        words, directory, environment, ends = given[0], given[5], given[6], given[10:16]
        stdin, _, _, stdout, _, stderr = ends
        files = [file if given_file < 0 else given_file for file, given_file in enumerate((stdin, stdout, stderr))]
        self.pid = _fork(words, directory, os.environ if environment is None else environment, files, self._beside)
        self._child_created = True
        self._close_pipe_fds(*ends)  # type: ignore[attr-defined]  # Popen's own


def run(
    *words: str,
    given: str | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 120,
    beside: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, as `subprocess.run` would; `beside` as of `Forked`."""
    pipe = subprocess.PIPE
    stdin = None if given is None else pipe
    with Forked(words, stdin=stdin, stdout=pipe, stderr=pipe, env=environment, beside=beside) as process:
        try:
            out, complaints = process.communicate(given, timeout_s)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess([PROGRAM, *words], process.returncode, out, complaints)


def forked_agent(command: Sequence[str], beside: int, **given: Any) -> Forked:
    """Start an agent by the command that `wgfleet agent run` becomes, in the namespaces of a process."""
    interpreter, *_, module, settings = command
    assert (interpreter, module) == (sys.executable, AGENT), command
    return Forked([settings], program=AGENT, beside=beside, **given)


@contextmanager
def forked_in_labs() -> Iterator[None]:
    """Have labs run `wgfleet`, and start panels and agents, as forks, unless they are of another release."""
    begun: list[Forked] = []  # as long as the tests run: who is forgotten while it runs is warned of
    usual, usual_run = Host.start, Host.run

    def run_in(host: Host, *command: str, stdin: str = "", check: bool = True, timeout_s: float = 60) -> str:
        words = command[1:] if command[0] == "env" else command
        if words[0] != PROGRAM:
            return usual_run(host, *command, stdin=stdin, check=check, timeout_s=timeout_s)
        done = run(*words[1:], given=stdin, beside=host.pid, timeout_s=timeout_s)
        if check and done.returncode != 0:
            raise LabError(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def start(host: Host, command: Sequence[str], log: str, environment: Mapping[str, str] | None = None) -> Path:
        if command[0] != PROGRAM or "PYTHONPATH" in (environment or {}):
            return usual(host, command, log, environment)
        path = host.directory / "log" / f"{log}.log"
        with path.open("ab") as output:
            begun.append(
                Forked(
                    command[1:],
                    beside=host.pid,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(environment or {})},
                )
            )
        return path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Host, "start", start)
        patch.setattr(Host, "run", run_in)
        yield
    for each in begun:
        each.wait()


def _fork(
    words: Sequence[str],
    directory: str | None,
    environment: Mapping[str, str],
    files: Sequence[int],
    beside: int | None,
) -> int:
    program = {
        "words": list(words),
        "directory": directory or str(Path.cwd()),
        "environment": dict(environment),
        "beside": beside,
    }
    with _one_at_a_time:
        server = _server(tuple(sorted(set(_of_the_start(environment).items()))))
        # For a moment: all else that loses its parent stays nobody's.
        assert _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        try:
            socket.send_fds(server, [json.dumps(program).encode()], files)
            return int(server.recv(MOST_BYTES))
        finally:
            _libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _of_the_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_AT_THE_START)}


@functools.cache
def _server(environment: tuple[tuple[str, str], ...]) -> socket.socket:
    """Start a server, which ends when its socket is closed: with this process at the latest."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    others = {name: value for name, value in os.environ.items() if not name.startswith(_READ_AT_THE_START)}
    server = subprocess.Popen(
        [sys.executable, "-P", str(_SERVER), str(theirs.fileno()), ROOM],
        pass_fds=[theirs.fileno()],
        env={**others, **dict(environment)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    theirs.close()
    atexit.register(server.wait)
    atexit.register(ours.close)
    return ours
