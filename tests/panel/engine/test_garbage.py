"""Cyclic garbage of a core: what becomes garbage soon goes at the next look, all else with all."""

import gc
import resource
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from wgfleet.panel.reconcile.engine import garbage


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


class Cycle:
    def __init__(self) -> None:
        self.itself = self


def test_garbage_since_the_last_time_goes_and_what_was_set_aside_with_everything() -> None:
    inherited = Cycle()
    first = weakref.ref(inherited)
    garbage.collect_little()
    del inherited
    kept = Cycle()
    young, old = weakref.ref(Cycle()), weakref.ref(kept)
    garbage.tidy(everything=False)
    assert young() is None
    del kept
    garbage.tidy(everything=False)
    assert old() is not None, "it was set aside when it was in use"
    garbage.tidy(everything=True)
    assert old() is None
    assert first() is not None, "to look through what the parent made would end that both share its memory"


# A parent with many objects, and a child that looks through everything; prints which share of its memory is its own.
FORKED = """
import os
from pathlib import Path
from wgfleet.panel import processes
from wgfleet.panel.reconcile.engine import garbage
held = [[[]] for _ in range(150_000)]
processes.share_memory()
if child := os.fork():
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
garbage.collect_little()
garbage.tidy(everything=True)
lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
kb = {line.split(":")[0]: int(line.split()[1]) for line in lines}
print(kb["Private_Dirty"] / kb["Anonymous"])
"""


def test_a_child_shares_its_parents_memory_when_all_was_looked_through() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", FORKED], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.3


def test_the_old_are_not_looked_through_by_themselves() -> None:
    garbage.collect_little()
    before = gc.get_stats()[2]["collections"]
    held = [Cycle() for _ in range(300_000)]
    assert gc.get_stats()[2]["collections"] == before
    assert len(held) == 300_000


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def test_memory_that_is_free_between_blocks_in_use_goes_back_to_the_system() -> None:
    blocks = [bytes(2000) for _ in range(40_000)]
    kept = blocks[::100]
    del blocks
    before = resident_mb()
    garbage.give_back()
    assert resident_mb() < before - 40
    assert len(kept) == 400


def test_half_as_much_memory_again_is_a_reason_to_look_through_all() -> None:
    in_use = sys.getallocatedblocks()
    assert not garbage.is_much_more(in_use)
    assert garbage.is_much_more(in_use // 2)
