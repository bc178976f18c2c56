"""Processes that answer at listening sockets: those that began to listen, or who got the socket from them.

A `wireguard-go` that goes into the background, as that of wg-quick does, hands its socket to a child, and ends.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LISTENS = "00010000"  # __SO_ACCEPTCON: proc_net_unix(5)
_PATH_AT = 7  # fields before that of the path, which may have spaces
_found: dict[str, int] = {}  # who has a socket, by the name of its descriptors


def answering(path: Path, began: int) -> int:
    """Return the process that has the socket; `began`, which is to have begun to listen, where none is to be seen."""
    names = set(_names(path))
    if not names or _has(began, names):
        return began
    for name in names:
        if (known := _found.get(name)) is not None and _has(known, {name}):
            return known
    for pid in _processes():
        if _has(pid, names):
            _found.clear()  # those of before may be gone
            _found.update(dict.fromkeys(names, pid))
            return pid
    return began


def _names(path: Path) -> Iterator[str]:
    """Yield what descriptors of the sockets that listen at a path are called.

    The path is in each as it was given, such as `/var/run/wireguard/wg0.sock`.
    """
    for line in Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(maxsplit=_PATH_AT)
        if len(fields) <= _PATH_AT or fields[3] != _LISTENS:
            continue
        given = Path(fields[_PATH_AT])
        if given.name == path.name and given.resolve() == path.resolve():
            yield f"socket:[{fields[6]}]"


def _processes() -> Iterator[int]:
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            yield int(each.name)


def _has(pid: int, names: set[str]) -> bool:
    return any(name in names for name in _descriptors(pid))


def _descriptors(pid: int) -> Iterator[str]:
    """Yield what the descriptors of a process lead to; nothing where it has ended, or is another user's."""
    with suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed just now
                yield str(each.readlink())
