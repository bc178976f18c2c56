"""Processes of the lab: run a program, and find and end what lives in a namespace.

A process belongs to a host when it lives in the host's network namespace, no matter who started it and how it has
daemonised; nothing needs to be remembered for cleaning up.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from wgfleet.lab.errors import LabError
from wgfleet.lab.topology import PREFIX
from wgfleet.lab.waiting import wait_for

NETNS_DIR = Path("/run/netns")
BUILT_IN = "WGFLEET_LAB_BUILT_IN"  # of a holder: the network namespace that its lab was built in, as `of_pid` names it
_END_S, _LOOK_S = 20.0, 0.01


def run(command: Sequence[str], *, stdin: str = "", check: bool = True, timeout_s: float = 60) -> str:
    """Run a program to its end and return its standard output; raise `LabError` with its last words."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise LabError(f"`{' '.join(command)}` did not end within {timeout_s:.0f} s") from None
    if check and done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise LabError(f"`{' '.join(command)}` ended with {done.returncode}: {words}")
    return done.stdout


def ip_batch(commands: Sequence[str], *, namespace: str | None = None) -> None:
    """Give many commands to one `ip`."""
    # Not `ip -n`: that also wants to remount `/`, which in a chroot is no mount point.
    enter = [] if namespace is None else ["nsenter", f"--net={NETNS_DIR / namespace}", "--"]
    run([*enter, "ip", "-batch", "-"], stdin="\n".join(commands) + "\n")


def named_namespaces(prefix: str) -> list[str]:
    """Return the named network namespaces that start with `prefix`."""
    return sorted(path.name for path in NETNS_DIR.glob(f"{prefix}*")) if NETNS_DIR.is_dir() else []


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _network_of(pid: int) -> tuple[int, int] | None:
    """Identify the network namespace of a process (device, inode); None when it has ended."""
    try:
        found = Path(f"/proc/{pid}/ns/net").stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def listens(pid: int, port: int) -> bool:
    """Tell whether anybody listens on a TCP port in the network namespace of a process (proc(5): state 0A)."""
    for family in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{family}").read_text(encoding="ascii").splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                    return True
    return False


def command_line(pid: int) -> list[str]:
    """Return a process's arguments; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def mark() -> str:
    """Return the value of `BUILT_IN` for what is built from here."""
    return _marked(_network_of(os.getpid()))


def _marked(network: tuple[int, int] | None) -> str:
    return "" if network is None else f"{network[0]}:{network[1]}"


def _built_in(pid: int) -> str | None:
    """Return the mark of a holder; None where it has none."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    return next((entry.partition("=")[2] for entry in environment if entry.startswith(f"{BUILT_IN}=")), None)


def holders(lab: str) -> dict[str, int]:
    """Return namespace name -> pid of the living holders of a lab, found by their names.

    A lab that stands in another network namespace, where its addresses are nobody else's, is not this one. One whose
    network namespace nobody lives in any more is what a command there has left behind.
    """
    found = []
    for pid in _pids():
        words = command_line(pid)
        if len(words) == 2 and words[1] == "infinity" and words[0].startswith(f"{PREFIX}{lab}-"):  # noqa: PLR2004 - see holder.py
            found.append((words[0], pid, _built_in(pid)))
    here = mark()
    elsewhere = set()
    if any(built_in != here for _, _, built_in in found):
        elsewhere = {_marked(_network_of(pid)) for pid in _pids()} - {here}
    return {name: pid for name, pid, built_in in found if built_in not in elsewhere}


def networks(lab: str) -> set[tuple[int, int]]:
    """Identify every network namespace of a lab, by name and by the holders (another root may have the names)."""
    found = {_network_of(pid) for pid in holders(lab).values()}
    for name in named_namespaces(f"{PREFIX}{lab}-"):
        status = (NETNS_DIR / name).stat()
        found.add((status.st_dev, status.st_ino))
    return {network for network in found if network is not None}


def inhabitants(network: Collection[tuple[int, int]]) -> list[int]:
    """Return the processes that live in any of the given network namespaces."""
    mine = _network_of(os.getpid())
    wanted = {entry for entry in network if entry != mine}
    return [pid for pid in _pids() if _network_of(pid) in wanted]


def of_pid(pid: int) -> set[tuple[int, int]]:
    """Identify the network namespace of one process, as a set that may be empty."""
    found = _network_of(pid)
    return set() if found is None else {found}


def end(find: Collection[tuple[int, int]], *, spare: Collection[int] = ()) -> int:
    """Send SIGKILL to all processes of the given namespaces but `spare`, until none is left; return how many."""
    killed: set[int] = set()

    def living() -> list[int]:
        return [pid for pid in inhabitants(find) if pid not in spare]

    def none_left() -> bool:
        left = living()
        killed.update(left)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_for(
        none_left,
        lambda: f"processes {living()} have not ended (look at them with ps): they got SIGKILL and are still there",
        within_s=_END_S,
        every_s=_LOOK_S,
    )
    return len(killed)
