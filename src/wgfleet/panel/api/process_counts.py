"""Numbers that the processes of the API count: requests, refusals, checks of DNS; those of all, whichever is asked.

Each notes its numbers every few seconds, and before it shows them. So what was shown once is noted, and no other
process shows less later; the numbers of one that has ended stay.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wgfleet.panel import clock
from wgfleet.panel.api.refusals import Refusals
from wgfleet.panel.counted import Counted, samples_of, summed, with_others
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.reconcile.engine.tasks import came_round
from wgfleet.panel.siblings import Siblings
from wgfleet.panel.store import noted_counts
from wgfleet.panel.store.noted_counts import PAST

NOTED_EVERY_S = 5.0
SILENT_S = 20.0
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30)
CREDENTIALS = ("key", "token", "sign_in")

log = structlog.get_logger()


class ProcessCounts(Collector):
    """The numbers of this process and its siblings; `own` is where this one counts. `of_cores`: what cores report."""

    def __init__(self, siblings: Siblings, own: Iterable[Collector], of_cores: Callable[[], Iterable[Counted]]) -> None:
        self._siblings = siblings
        self._of_cores = of_cores
        self._others: list[bytes] = []
        self._begun = False
        self.own: Any = CollectorRegistry()
        for each in own:
            self.own.register(each)

    def begin(self) -> None:
        """Take over what an earlier process with this number has counted, as soon as something can be noted."""
        self._note()

    def _take_over(self, notes: sqlite3.Connection) -> None:
        noted = noted_counts.all_of(notes)
        past = summed(*(_read(noted[number][1]) for number in (PAST, self._siblings.number) if number in noted))
        noted_counts.put(notes, PAST, clock.monotonic(), _written(past))
        noted_counts.put(notes, self._siblings.number, clock.monotonic(), b"")

    async def run(self) -> None:
        """Note what this process has counted, again and again."""
        while True:
            came_round()
            await asyncio.to_thread(self._note)
            await asyncio.sleep(NOTED_EVERY_S)

    def describe(self) -> list[Metric]:
        """Name nothing, so that registering asks nobody."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return the sums to Prometheus."""
        self._note()
        yield from with_others(self.own.collect(), summed(*map(_read, self._others), self._of_cores()))

    def _note(self) -> None:
        """Note what this process has counted, and know what others have; where the disk is full, what they had."""
        own = self._siblings.number
        try:
            with self._siblings.notes.changing() as notes:
                if not self._begun:
                    self._take_over(notes)
                noted_counts.put(notes, own, clock.monotonic(), _written(samples_of(self.own.collect())))
                noted = noted_counts.all_of(notes)
        except Unavailable as error:
            log.warning("counts.not_noted", error=str(error))
        else:
            self._begun = True
            self._others = [samples for number, (_, samples) in noted.items() if number != own]


def silent(siblings: Siblings) -> str | None:
    """Return what to know of processes that have noted nothing for long, or where none can; None: all do."""
    try:
        with siblings.notes.changing() as notes:
            noted_counts.rewrite(notes, siblings.number)  # with a full disk, reading goes on
            noted = noted_counts.all_of(notes)
    except Unavailable as error:
        return error.detail
    limit = clock.monotonic() - SILENT_S
    quiet = [number for number, (at, _) in noted.items() if number != PAST and at < limit]
    if not quiet:
        return None
    if siblings.number in quiet:  # this one answers
        return "processes of the API cannot note what they count. See the log, and whether the disk has room"
    does = "does" if len(quiet) == 1 else "do"
    return f"{len(quiet)} of {siblings.count} processes of the API {does} not answer; the others do. See the log"


def _written(samples: Iterable[Counted]) -> bytes:
    return msgspec.msgpack.encode(list(samples))


def _read(samples: bytes) -> list[Counted]:
    return msgspec.msgpack.decode(samples, type=list[Counted]) if samples else []


class RefusedCallers(Collector):
    """Refused callers, by credential."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals

    def collect(self) -> Iterator[Metric]:
        """Return the numbers to Prometheus."""
        refused = CounterMetricFamily("wgfleet_refused", "Refused callers, by credential.", labels=["credential"])
        for credential in CREDENTIALS:
            refused.add_metric([credential], self._refusals.counts[credential])
        yield refused


class RequestMetrics:
    """Counts requests by route and status, and their seconds by route. Streams count when they end."""

    def __init__(self, app: ASGIApp, counts: ProcessCounts) -> None:
        self._app = app
        labels, registry = ("method", "route"), counts.own
        self._requests = Counter("wgfleet_http_requests", "Answered.", (*labels, "status"), registry=registry)
        self._seconds = Histogram("wgfleet_http_seconds", "Taken.", labels, registry=registry, buckets=BUCKETS_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = clock.monotonic()
        try:
            await self._app(scope, receive, sending)
        finally:
            # The pattern, not the path: a label for each id would never end.
            route = getattr(scope.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in {"GET", "POST", "PATCH", "PUT", "DELETE"} else "other"
            self._requests.labels(method, route, status).inc()
            self._seconds.labels(method, route).observe(clock.monotonic() - started)
