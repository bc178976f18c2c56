"""Holds: one has a name, of threads and processes alike, and nobody once that process ends."""

import subprocess
import sys
import time

import pytest

from wgfleet.panel.store import Store

NAME = "a batch"
HOLD = f"""
import sys
from wgfleet.panel.store import Store
with Store(sys.argv[1]).holding({NAME!r}) as had:
    print(had, flush=True)
    sys.stdin.read()
"""
PATIENCE_S = 60.0


@pytest.mark.slow
def test_a_name_is_free_as_soon_as_the_process_that_had_it_is_killed(database_url: str) -> None:
    store = Store(database_url)
    command = [sys.executable, "-c", HOLD, database_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert store.is_held(NAME)
        assert not store.is_held("another")
        with store.holding(NAME) as had:
            assert not had
        assert store.is_held(NAME), "who asked in vain took nothing away"
        other.kill()
    deadline = time.monotonic() + PATIENCE_S
    while store.is_held(NAME):  # PostgreSQL may take a moment to hear of it
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with store.holding(NAME) as had, store.holding(NAME) as again:
        assert (had, again) == (True, False), "threads of a process keep each other out"
    assert not store.is_held(NAME)
    store.close()
