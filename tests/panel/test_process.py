"""The limit of open files, and the end with a parent: in processes of their own."""

import signal
import subprocess
import sys

import psutil

from tests.waiting import eventually

RAISE = """
import resource
from wgfleet.process import raise_open_files_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))
print(raise_open_files_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE), raise_open_files_limit())
"""
# A parent that starts a child, says its number, and waits to be killed.
PARENT = """
import multiprocessing, os, signal, time
from wgfleet.process import end_with
def child(parent):
    assert end_with(parent, signal.SIGKILL)
    print(os.getpid(), flush=True)
    time.sleep(600)
multiprocessing.get_context("fork").Process(target=child, args=(os.getpid(),)).start()
time.sleep(600)
"""


def test_the_limit_of_open_files_is_raised_to_what_is_allowed() -> None:
    done = subprocess.run([sys.executable, "-c", RAISE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["256", "256", "256", "256"]


def test_a_child_ends_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.send_signal(signal.SIGKILL)
    eventually(lambda: not alive(child))


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
