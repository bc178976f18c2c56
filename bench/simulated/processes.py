"""CPU and memory of processes with their descendants, from proc(5)."""

import contextlib
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Used:
    """What processes of one name have used: CPU in s, in all and of their main threads, and memory in MB.

    `rss_mb` is all that is resident; in `pss_mb` a page that several processes share counts once for all of them.
    """

    cpu_s: float
    main_thread_s: float
    rss_mb: float
    pss_mb: float


@dataclass(frozen=True, slots=True)
class Usage:
    """All processes of a tree by name, at a time of the monotonic clock."""

    at: float
    by_name: dict[str, Used]


def usage(root: int) -> Usage:
    """Read what a process and its descendants have used so far."""
    found: dict[str, list[Used]] = defaultdict(list)
    for pid in _tree(root):
        with contextlib.suppress(OSError):  # it has ended
            place = Path(f"/proc/{pid}")
            rss = int((place / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            name = (place / "comm").read_text().strip()
            used = Used(_cpu_s(place / "stat"), _cpu_s(place / f"task/{pid}/stat"), rss, _pss_kb(pid) / 1024)
            found[name].append(used)
    return Usage(
        time.monotonic(),
        {
            name: Used(
                *(
                    sum(values)
                    for values in zip(*((u.cpu_s, u.main_thread_s, u.rss_mb, u.pss_mb) for u in all_), strict=True)
                )
            )
            for name, all_ in found.items()
        },
    )


def shares(before: Usage, after: Usage) -> dict[str, dict[str, float]]:
    """Return CPU between two looks as % of one core, and memory at the second, by name."""
    took = after.at - before.at
    nothing = Used(0, 0, 0, 0)
    return {
        name: {
            "cpu_percent": round((used.cpu_s - before.by_name.get(name, nothing).cpu_s) / took * 100, 1),
            "main_thread_percent": round(
                (used.main_thread_s - before.by_name.get(name, nothing).main_thread_s) / took * 100, 1
            ),
            "rss_mb": round(used.rss_mb, 1),
            "pss_mb": round(used.pss_mb, 1),
        }
        for name, used in after.by_name.items()
    }


def cpu_s(root: int) -> float:
    """Return the CPU in s that a process and its descendants have used so far."""
    return sum(used.cpu_s for used in usage(root).by_name.values())


def own_mb(root: int) -> float:
    """Return the memory in MB of a process and its descendants, what they share counted once."""
    found = 0
    for pid in _tree(root):
        with contextlib.suppress(OSError):
            found += _pss_kb(pid)
    return round(found / 1024)


def named(root: int, prefix: str) -> list[int]:
    """Return the descendants of a process whose names begin with a prefix."""
    found = []
    for pid in _tree(root):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip().startswith(prefix):
                found.append(pid)
    if not found:
        raise SystemExit(f"there is no process {prefix}")
    return found


def _pss_kb(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def _cpu_s(stat: Path) -> float:
    fields = stat.read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            children[parent].append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found
