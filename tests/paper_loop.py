"""An event loop in time on paper: hours of sleep take no time, and no busy machine changes their order."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _NoWait(selectors.SelectSelector):
    """Waits for nothing: what it was to wait for is added to the time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return []  # nothing comes from outside


class PaperLoop(asyncio.SelectorEventLoop):
    """An event loop in time on paper."""

    def __init__(self) -> None:
        self.paper = _NoWait()
        super().__init__(self.paper)

    def time(self) -> float:
        return self.paper.now


def run_on_paper(work: Coroutine[Any, Any, T]) -> T:
    """Do as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=PaperLoop) as runner:
        return runner.run(work)
