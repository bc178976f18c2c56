"""The limit of open files, the end with a parent, and what a panel imports: in processes of their own."""

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

# Each process of a panel has in memory what its parent imported. These are for nodes, labs, some providers, PostgreSQL.
NOT_FOR_ALL = [
    "alembic",
    "boto3",
    "botocore",
    "dns",
    "httpx",
    "lexicon",
    "psycopg",
    "requests",
    "wgfleet.agent",
    "wgfleet.lab",
    "wgfleet.panel_node",
]
IMPORTED = "import sys, wgfleet.cli.panel_run; print(*sys.modules)"


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


def test_a_panel_imports_nothing_that_few_panels_need() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", IMPORTED], capture_output=True, text=True, check=True)
    imported = done.stdout.split()
    assert "wgfleet.panel.core" in imported
    assert [name for name in NOT_FOR_ALL if name in imported] == []


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
