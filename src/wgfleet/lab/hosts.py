"""A host of the lab: run programs in it, in front or in the background, and kill them."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wgfleet.lab import processes
from wgfleet.lab.errors import LabError


def _leave_to_the_program(_number: int, _frame: object) -> None:
    """Ctrl-C is for the program on the terminal, which gets it too; ping says what it counted."""


_FAVOUR = 1  # the least of sched(7)'s real-time priorities


@dataclass(frozen=True, slots=True)
class Host:
    """A network namespace and a mount namespace, kept by the process `pid`.

    `directory` is seen under the same path inside and outside; logs are in its `log`.
    """

    name: str
    namespace: str
    address: str
    pid: int
    directory: Path

    @property
    def enter(self) -> list[str]:
        """Return the command that enters the host: append a program and its arguments."""
        # --root: without it a lab inside a chroot would land in the machine's own root.
        return ["nsenter", f"--target={self.pid}", "--mount", "--net", "--root", "--wd", "--"]

    def run(self, *command: str, stdin: str = "", check: bool = True, timeout_s: float = 60) -> str:
        """Run a program in the host to its end; return its standard output."""
        return processes.run([*self.enter, *command], stdin=stdin, check=check, timeout_s=timeout_s)

    def succeeds(self, *command: str, timeout_s: float = 60) -> bool:
        """Whether a program in the host ends with 0."""
        try:
            self.run(*command, timeout_s=timeout_s)
        except LabError:
            return False
        return True

    def attach(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
        """Run a program in the host on this terminal; return its exit code, or 128 and the signal that ended it."""
        before = signal.signal(signal.SIGINT, _leave_to_the_program)
        try:
            code = subprocess.run([*self.enter, *command], check=False, env=environment).returncode
        finally:
            signal.signal(signal.SIGINT, before)
        return 128 - code if code < 0 else code

    def start(self, command: Sequence[str], log: str, environment: Mapping[str, str] | None = None) -> Path:
        """Start a program in the background; its output is appended to the returned log file."""
        path = self.directory / "log" / f"{log}.log"
        with path.open("ab") as output:
            subprocess.run(  # --fork: the program belongs to init, and outlives the process that started it
                ["setsid", "--fork", *self.enter, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                check=True,
            )
        return path

    def find(self, *words: str) -> list[int]:
        """Return the host's processes whose command line has all of `words` in it; never the holder."""
        return [
            pid
            for pid in processes.inhabitants(processes.of_pid(self.pid))
            if pid != self.pid and all(word in " ".join(processes.command_line(pid)) for word in words)
        ]

    def listens(self, port: int) -> bool:
        """Tell whether a program of the host listens on a TCP port."""
        return processes.listens(self.pid, port)

    def signal(self, number: signal.Signals, *words: str) -> list[int]:
        """Send a signal to the processes that `find` names; return them."""
        found = self.find(*words)
        for pid in found:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        return found

    def favour(self, *words: str) -> None:
        """Let every thread of the processes that `find` names run at once when it has something to do.

        The data plane of all hosts shares this machine with panel and agents, which real nodes and clients do not: a
        measurement of lost time must not measure that.
        """
        for pid in self.find(*words):
            for task in Path(f"/proc/{pid}/task").glob("*"):
                with contextlib.suppress(PermissionError, ProcessLookupError):  # a container may not be allowed to
                    os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(_FAVOUR))

    def kill_all(self) -> int:
        """Kill everything that runs in the host, as a power cut would; the host itself stays. Return how many."""
        return processes.end(processes.of_pid(self.pid), spare=(self.pid,))
