"""Processes of wireguard-go, for machines whose kernel has no WireGuard: they outlive the agent, and pidfds watch them.

A process is found again through its socket (SO_PEERCRED), so there is no pid file that could be stale.
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
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: unix(7)
_children: dict[int, subprocess.Popen[bytes]] = {}  # started by this process, which has to reap them


def _socket_path(name: InterfaceName) -> str:
    return str(_SOCKETS / f"{name}.sock")


def process_of(name: InterfaceName) -> int | None:
    """Return the pid that serves the interface, or None."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)  # one that hangs lets others wait once its queue is full
        try:
            connection.connect(_socket_path(name))
        except OSError:
            return None
        pid, _, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
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
    """Return the first lines that a crashed wireguard-go printed; a Go panic begins with its reason."""
    try:
        with (log_dir / f"wireguard-go.{name}.log").open("rb") as file:
            return " ".join(file.read(400).decode(errors="replace").split()) or "(no output)"
    except OSError:
        return "(no log)"


@asynccontextmanager
async def reading(name: InterfaceName) -> AsyncIterator[Reading]:
    """Read the whole device through its socket. A process that has done nothing all the while is ended."""
    question = _Question(name)
    try:
        async with asyncio.timeout(_READ_TIMEOUT_S):
            reader, first = await question.ask()
            form = SocketForm()
            # It keeps the connection open after the answer.
            yield await read(form, chunks_of(reader, until=form.last, first=first))
    except TimeoutError:
        said = f"wireguard-go {name} did not finish its answer within {_READ_TIMEOUT_S:.0f} s"
        if question.unheard and cpu_s(name) - question.used_s < _WORKS_S and _end_hung(name):
            said = f"{said}, and did nothing else: it was ended, and is started again"
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
        self.unheard = False
        """Whether it was asked for the last time, and no answer has begun."""
        self.used_s = 0.0
        """What the process had used of the processor, in s, when it was asked again for the first time."""

    async def ask(self) -> tuple[asyncio.StreamReader, bytes]:
        """Wait until an answer begins; return what brings the rest, and the beginning."""
        for patience_s in _ASKED_AGAIN_AFTER_S:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    return await self._ask()
            self.used_s = self.used_s or cpu_s(self._name)
        self.unheard = True
        answer = await self._ask()
        self.unheard = False
        return answer

    async def _ask(self) -> tuple[asyncio.StreamReader, bytes]:
        try:
            reader, writer = await asyncio.open_unix_connection(_socket_path(self._name), limit=_CHUNK)
        except OSError as error:
            raise KernelError(f"wireguard-go {self._name} does not answer: {error.strerror}") from None
        self._writers.append(writer)
        writer.write(b"get=1\n\n")
        return reader, await reader.read(_CHUNK)

    def close(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.close()


def _end_hung(name: InterfaceName) -> bool:
    """End a process that hangs, which writes into its log where; False for one that somebody stopped, or none.

    It may still pass on packets, but nobody could add or remove a peer until the machine starts again. Its clients are
    called as soon as there is another.
    """
    pid = process_of(name)
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2][:1]
        if pid is None or state in "Tt":
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
            reader, writer = await asyncio.open_unix_connection(_socket_path(name))
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
    try:
        fields = Path(f"/proc/{process_of(name)}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
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
