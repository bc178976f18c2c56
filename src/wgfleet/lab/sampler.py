"""A resolver that never stops asking: what the lab's name server answered for a name, every 50 ms.

Owns the record of answers. Must not know why they change.
"""

import threading
import time
from types import TracebackType
from typing import Self

from wgfleet.lab import nameserver
from wgfleet.lab.waiting import wait_for

EVERY_S = 0.05


class Sampler:
    """Asks until the block that it is used in ends. `answers` are in order; `missed` counts questions without one."""

    def __init__(self, name: str) -> None:
        self.answers: list[nameserver.LookupAnswer] = []
        self.missed = 0
        self._name = name
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            answer = nameserver.ask(self._name)
            if answer is None:
                self.missed += 1
            else:
                self.answers.append(answer)
            due = max(due + EVERY_S, time.monotonic())
            self._ended.wait(due - time.monotonic())

    @property
    def fewest(self) -> int:
        """Return how many addresses the shortest answer had."""
        return min(len(answer.addresses) for answer in self.answers)

    def first(self, address: str, *, listed: bool, since: float) -> float | None:
        """Return when an address was, or was not, in an answer for the first time since `since` (s since the epoch)."""
        for answer in list(self.answers):
            if answer.at >= since and (address in answer.addresses) is listed:
                return answer.at
        return None

    def wait(self, address: str, *, listed: bool, since: float, within_s: float) -> float:
        """Wait until an address is, or is not, in the answers; return since when."""
        return wait_for(
            lambda: self.first(address, listed=listed, since=since),
            f"{self._name} still {'lacks' if listed else 'lists'} {address}",
            within_s=within_s,
            every_s=EVERY_S / 5,
        )
