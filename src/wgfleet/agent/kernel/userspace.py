"""Processes of wireguard-go, for machines whose kernel has no WireGuard: they outlive the agent, and pidfds watch them.

A process is found again through its socket (SO_PEERCRED, and who has the socket since), so there is no pid file that
could be stale.
"""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wgfleet.agent.kernel.commands import KernelError, chunks_of, ended
from wgfleet.agent.kernel.device_formats import Reading, SocketForm, read
from wgfleet.agent.kernel.socket_owners import answering
from wgfleet.protocol.ids import InterfaceName

_SOCKETS = Path("/run/wireguard")  # where wireguard-go and `wg` expect the sockets
_TUN = "/dev/net/tun"
_START_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 30.0
_ASKED_AGAIN_AFTER_S = (3.0, 9.0)  # in a connection of its own; a device of very many peers needs time to begin
_WORKS_S = 1.0  # of the processor in that time: it is late, and does not hang
_POLL_S = 0.005
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_CHUNK = 64 * 1024
_BOX = (
    "\N{BOX DRAWINGS LIGHT VERTICAL}",
    "\N{BOX DRAWINGS LIGHT DOWN AND RIGHT}",
    "\N{BOX DRAWINGS LIGHT UP AND RIGHT}",
)
_MOST_READ, _MOST_SAID = 8192, 400
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: unix(7)
_children: dict[int, subprocess.Popen[bytes]] = {}  # started by this process, which has to reap them
_unheard_by: dict[InterfaceName, int] = {}  # who did not answer the last question


def _socket_path(name: InterfaceName) -> str:
    return str(_SOCKETS / f"{name}.sock")


def _connection(name: InterfaceName) -> socket.socket:
    """Connect to the interface's process; raise `BlockingIOError` where its queue is full, since it hangs for long.

    Not by asyncio, which takes that for a connection that is under way.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.connect(_socket_path(name))
    except OSError:
        connection.close()
        raise
    return connection


def _pid_of(connection: socket.socket, name: InterfaceName) -> int:
    pid, _, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return answering(Path(_socket_path(name)), int(pid)) if pid > 0 else 0


def process_of(name: InterfaceName) -> int | None:
    """Return the pid that serves the interface, or None."""
    try:
        with _connection(name) as connection:
            pid = _pid_of(connection, name)
    except OSError:
        return None
    return pid if pid > 0 else None


def _spawn(name: InterfaceName, log_dir: Path) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own.

    Not through asyncio, which kills its children when the loop closes. The output goes to a file, since a pipe to
    the agent would kill the process with the agent; only what a crash prints ends up there.
    """
    _SOCKETS.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        log = os.open(log_dir / f"wireguard-go.{name}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    except OSError:  # a full disk, or something else in its place: users are served all the same
        log = os.open(os.devnull, os.O_WRONLY)
    try:
        return subprocess.Popen(
            ["wireguard-go", "-f", name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env={"PATH": os.environ.get("PATH", ""), "LOG_LEVEL": "silent"},
        )
    except FileNotFoundError:
        raise KernelError("the kernel has no WireGuard and `wireguard-go` is not installed; install one") from None
    finally:
        os.close(log)


async def start(name: InterfaceName, log_dir: Path) -> None:
    """Start wireguard-go for a new interface and wait until it answers, and not another process under that name."""
    _check_tun()
    process = _spawn(name, log_dir)
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            while process_of(name) != process.pid:
                if process.poll() is not None:
                    raise KernelError(
                        f"wireguard-go {name} ended with {process.returncode}: {last_words(name, log_dir)}"
                    )
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        process.kill()
        process.wait()
        raise KernelError(f"wireguard-go {name} did not answer within {_START_TIMEOUT_S:.0f} s") from None
    _children[process.pid] = process


def _check_tun() -> None:
    """Raise `KernelError`, saying what to do, where the device that wireguard-go works with cannot be had."""
    try:
        os.close(os.open(_TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise KernelError(
            f"wireguard-go needs {_TUN}, which cannot be opened ({error.strerror}): load its module (modprobe tun), or "
            "let this container have the device (docker: --device /dev/net/tun; systemd: DeviceAllow=/dev/net/tun rw)"
        ) from None


def last_words(name: InterfaceName, log_dir: Path) -> str:
    """Return the first lines that a crashed wireguard-go printed; a Go panic begins with its reason.

    Where the kernel knows WireGuard, it prints a box before all else that says so, and hides why it ended.
    """
    try:
        with (log_dir / f"wireguard-go.{name}.log").open("rb") as file:
            lines = file.read(_MOST_READ).decode(errors="replace").splitlines()
    except OSError:
        return "(no log)"
    said = " ".join(" ".join(line for line in lines if not line.startswith(_BOX)).split())
    return said[:_MOST_SAID] or "(no output)"


@asynccontextmanager
async def reading(name: InterfaceName) -> AsyncIterator[Reading]:
    """Read the whole device through its socket. A process that hangs is ended."""
    question = _Question(name)
    try:
        async with asyncio.timeout(_READ_TIMEOUT_S):
            reader, first = await question.ask()
            form = SocketForm()
            # It keeps the connection open after the answer.
            yield await read(form, chunks_of(reader, until=form.last, first=first))
    except TimeoutError:
        said = f"wireguard-go {name} did not finish its answer within {_READ_TIMEOUT_S:.0f} s"
        if question.hangs() and _end_hung(question.pid):
            said = f"{said}: it hung, was ended, and is started again"
        raise KernelError(said) from None
    except (OSError, ValueError) as error:
        raise KernelError(f"reading wireguard-go {name} failed: {error}") from None
    finally:
        question.close()


class _Question:
    """The question for a whole device, asked again in another connection while no answer begins."""

    def __init__(self, name: InterfaceName) -> None:
        self._name = name
        self._writers: list[asyncio.StreamWriter] = []
        self._unheard = False
        self._used_s = 0.0
        self.pid = 0
        """The process that is asked; 0 before the first question."""

    async def ask(self) -> tuple[asyncio.StreamReader, bytes]:
        """Wait until an answer begins; return what brings the rest, and the beginning."""
        for patience_s in _ASKED_AGAIN_AFTER_S:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    return await self._ask()
            self._used_s = self._used_s or _used_s(self.pid)
        self._unheard = True
        answer = await self._ask()
        self._unheard = False
        return answer

    async def _ask(self) -> tuple[asyncio.StreamReader, bytes]:
        try:
            connection = _connection(self._name)
        except OSError as error:
            raise KernelError(f"wireguard-go {self._name} does not answer: {error.strerror}") from None
        self.pid = _pid_of(connection, self._name)
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=_CHUNK)
        self._writers.append(writer)
        writer.write(b"get=1\n\n")
        answer = await reader.read(_CHUNK)
        _unheard_by.pop(self._name, None)
        return reader, answer

    def hangs(self) -> bool:
        """Whether no answer began, and the process did nothing else either, or did not answer the last time.

        The packets of clients and of strangers keep a process at work that answers nobody any more; one that is late
        because there is much to do answers the next question.
        """
        if not self._unheard:
            return False
        again = _unheard_by.get(self._name) == self.pid
        _unheard_by[self._name] = self.pid
        return again or _used_s(self.pid) - self._used_s < _WORKS_S

    def close(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.close()


def _end_hung(pid: int) -> bool:
    """End a process that hangs, which writes into its log where; False for one that somebody stopped, or none.

    It may still pass on packets, but nobody could add or remove a peer until the machine starts again. Its clients are
    called as soon as there is another.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2][:1]
        if state in "Tt":
            return False
        os.kill(pid, signal.SIGQUIT)
    except OSError:
        return False
    return True


async def answers(name: InterfaceName, within_s: float) -> bool:
    """Whether the interface's process does anything; also true if there is none, which sends nothing either.

    It closes the connection of those who ask for what it does not know, without a look at its peers: so it says that it
    lives also while it works on thousands of them.
    """
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_unix_connection(sock=_connection(name))
            try:
                writer.write(b"alive\n")
                await reader.read()
            finally:
                writer.close()
    except TimeoutError:
        return False
    except BlockingIOError:  # its queue is full
        return False
    except OSError:
        return True
    return True


def cpu_s(name: InterfaceName) -> float:
    """CPU time used by the interface's process, in s (0 if there is none)."""
    return _used_s(process_of(name) or 0)


def _used_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S  # utime and stime, proc(5)


async def stopped(pid: int) -> None:
    """Wait until a process, child or not, has ended."""
    await ended(pid)
    if child := _children.pop(pid, None):
        child.wait()


async def kill(pid: int) -> None:
    """Kill a wireguard-go whose link is gone, unless it ends by itself."""
    try:
        async with asyncio.timeout(2):
            await stopped(pid)
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
