"""Errands to nodes: each is tried by itself, and again after a pause of its own, whatever becomes of the others.

Owns when an errand is tried, never what it does. One that takes long goes on beside later cycles; the others, and what
comes up meanwhile, do not wait for it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from wgfleet.panel import clock
from wgfleet.panel.agents.answers import told_of
from wgfleet.panel.domain.backoff import backoff
from wgfleet.panel.errors import PanelError, PermanentError, TransientError
from wgfleet.protocol.reasons import Reason

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0
AT_ONCE = 4  # a node renders, stores and applies several interfaces beside each other, yet not all of them
PATIENCE_S = 2.0  # for what is under way; a cycle does not wait longer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Errand:
    """Something to be done at a node. `name` says what, in words, and identifies it.

    `mark`: what it is about at present; when that changes it is tried at once, however often it failed. `run` returns
    what was done, in words. `light`: it is not counted among those that may run beside each other.
    """

    name: str
    mark: Hashable
    run: Callable[[], Awaitable[str]]
    light: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a node's errands: what was done, what failed or is under way (both in words), when to try again.

    `again_in_s`: None if nothing has to be tried again.
    """

    done: tuple[str, ...]
    troubles: tuple[str, ...]
    again_in_s: float | None


@dataclass(slots=True)
class Failure:
    """An errand that failed."""

    mark: Hashable
    trouble: str
    times: int
    again_at: float


class Errands:
    """Runs the errands of all nodes, each by itself. `close` ends what is under way."""

    def __init__(self) -> None:
        self._under_way: dict[str, dict[str, asyncio.Task[str]]] = defaultdict(dict)
        self._failures: dict[str, dict[str, Failure]] = defaultdict(dict)

    async def close(self) -> None:
        """End what is under way; safe to call twice."""
        tasks = [task for found in self._under_way.values() for task in found.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def forgive(self, node_id: str) -> None:
        """Try everything at once when the node is seen again."""
        self._failures.pop(node_id, None)

    async def run(self, node_id: str, errands: Sequence[Errand], ended: Callable[[], None]) -> Outcome:
        """Begin what is due, in the order given, and wait a while for it.

        `ended` is called when one ends that was not waited for.
        """
        failures = self._failures[node_id]
        for gone in failures.keys() - {errand.name for errand in errands}:
            del failures[gone]
        done = self._collect(node_id)
        under_way = self._under_way[node_id]
        waiting = [errand for errand in errands if errand.name not in under_way and _due(failures, errand)]
        ends_at = clock.monotonic() + PATIENCE_S
        # What an earlier cycle began and is not through hangs: it takes nobody's place.
        busy: set[str] = set()
        while True:
            busy &= under_way.keys()
            for errand in tuple(waiting):
                if errand.light or len(busy) < AT_ONCE:
                    waiting.remove(errand)
                    self._begin(node_id, errand)
                    busy |= set() if errand.light else {errand.name}
            left_s = ends_at - clock.monotonic()
            if not under_way or left_s <= 0:
                break
            await asyncio.wait(under_way.values(), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            done += self._collect(node_id)
        for task in under_way.values():
            task.add_done_callback(lambda _: ended())
        troubles = [failures[errand.name].trouble for errand in errands if errand.name in failures]
        troubles += [Reason("{name} is under way", name=name) for name in under_way]
        troubles += [Reason("{errand} waits for its turn", errand=errand.name) for errand in waiting]
        again_at = min((failure.again_at for failure in failures.values()), default=None)
        again_in_s = None if again_at is None else max(0.0, again_at - clock.monotonic())
        return Outcome(tuple(done), tuple(troubles), again_in_s)

    def _collect(self, node_id: str) -> list[str]:
        """Take away what has ended; return what was done."""
        done = []
        under_way = self._under_way[node_id]
        for name, task in list(under_way.items()):
            if not task.done():
                continue
            del under_way[name]
            if not task.cancelled() and task.exception() is None:
                self._failures[node_id].pop(name, None)
                done.append(task.result())
        return done

    def _begin(self, node_id: str, errand: Errand) -> None:
        self._under_way[node_id][errand.name] = asyncio.create_task(
            self._try(node_id, errand), name=f"{errand.name} {node_id}"
        )

    async def _try(self, node_id: str, errand: Errand) -> str:
        try:
            return await errand.run()
        except Exception as error:
            self._note(node_id, errand, error)
            raise

    def _note(self, node_id: str, errand: Errand, error: Exception) -> None:
        before = self._failures[node_id].get(errand.name)
        times = before.times + 1 if before is not None else 1
        pause_s = getattr(error, "retry_after_s", None) or backoff(
            times, clock.fraction(), first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S
        )
        known = isinstance(error, PanelError | TransientError | PermanentError)
        trouble = (
            Reason("{errand}: {error}", errand=errand.name, error=told_of(error))
            if known
            else Reason("{errand}: an error of the panel's own; see its log", errand=errand.name)
        )
        self._failures[node_id][errand.name] = Failure(errand.mark, trouble, times, clock.monotonic() + pause_s)
        log.warning(
            "errand.failed", node_id=node_id, errand=errand.name, error=str(error), times=times,
            delay_s=round(pause_s, 2), exc_info=None if known else error,
        )  # fmt: skip


def _due(failures: Mapping[str, Failure], errand: Errand) -> bool:
    failure = failures.get(errand.name)
    return failure is None or failure.mark != errand.mark or clock.monotonic() >= failure.again_at
