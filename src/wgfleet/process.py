"""The process that this is, for panel and agent alike: its limits, its memory, its end with its parent, its unit."""

import contextlib
import ctypes
import os
import resource
import signal
import socket

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h
_ARENAS = 2
_LARGE_BLOCK = 128 * 2**10  # bytes; it is given back when it is freed


def raise_open_files_limit() -> int:
    """Raise the limit of open files as far as it may be without privileges; return it.

    The soft limit that most systems give, 1024, is for programs that call select(2). A panel has a connection for each
    agent and each caller; where it cannot open another, neither probes nor the database work.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def keep_little_memory() -> None:
    """Have the C library (glibc) keep little memory that is free; those that are forked from here do the same.

    Of itself it makes an arena for each of 8 threads a processor, and none gives back what lies below a block that is
    in use; and after the first large block that is freed, it takes blocks of up to 32 MB from those too.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def end_with(parent: int, number: signal.Signals) -> bool:
    """Have the kernel send this process a signal when its parent ends, however it does; False: it has ended already.

    Call it in a process whose parent started it in its main thread: what counts is the end of that thread.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    return os.getppid() == parent


def tell_systemd(state: str) -> None:
    """Tell systemd (sd_notify(3)), if it started us; `state` is for example `READY=1`."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.setblocking(False)
        notify.connect("\0" + address[1:] if address.startswith("@") else address)
        notify.send(state.encode())


def watchdog_every_s() -> float:
    """Return how often systemd is to be told `WATCHDOG=1` (sd_watchdog_enabled(3)); 0: it does not ask for that."""
    return int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6 / 3
