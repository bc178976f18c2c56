"""Cyclic garbage of a core: what becomes garbage soon goes at the next look, all else with all."""

import gc
import resource
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
    garbage.collect_little()
    kept = Cycle()
    young, old = weakref.ref(Cycle()), weakref.ref(kept)
    garbage.tidy(everything=False)
    assert young() is None
    del kept
    garbage.tidy(everything=False)
    assert old() is not None, "it was set aside when it was in use"
    garbage.tidy(everything=True)
    assert old() is None


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


def test_many_objects_that_were_set_aside_are_a_reason_to_look_through_all() -> None:
    garbage.tidy(everything=True)
    before = gc.get_freeze_count()
    assert not garbage.is_much_more(before)
    held = [Cycle() for _ in range(before)]
    garbage.tidy(everything=False)
    assert garbage.is_much_more(before)
    assert len(held) == before
