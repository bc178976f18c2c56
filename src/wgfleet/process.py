"""The process that this is, for panel and agent alike: its limit of open files, its end with its parent."""

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def raise_open_files_limit() -> int:
    """Raise the limit of open files as far as it may be without privileges; return it.

    The soft limit that most systems give, 1024, is for programs that call select(2). A panel has a connection for each
    agent and each caller; where it cannot open another, neither probes nor the database work.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def end_with(parent: int, number: signal.Signals) -> bool:
    """Have the kernel send this process a signal when its parent ends, however it does; False: it has ended already.

    Call it in a process whose parent started it in its main thread: what counts is the end of that thread.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    return os.getppid() == parent
