"""Metrics of DNS syncs since the panel started: calls of providers, errors, time to publication."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 3600)

Counted = tuple[str, tuple[tuple[str, str], ...], float]
"""A number for Prometheus: name, labels, value."""


class DnsMetrics(Collector):
    """Counters that the publisher and the DNS worker feed. Safe to share between threads."""

    def __init__(self) -> None:
        self._calls = Counter("wgfleet_dns_calls", "Calls of DNS providers.", ("provider", "call"), registry=None)
        self._errors = Counter("wgfleet_dns_errors", "Syncs that failed.", ("provider", "error_class"), registry=None)
        self._seconds = Histogram(
            "wgfleet_dns_publish_seconds",
            "From a change of the desired records until the name was seen to have them.",
            registry=None,
            buckets=BUCKETS_S,
        )

    def count_calls(self, provider: str, call: str, count: int = 1) -> None:
        """Count calls of a provider."""
        self._calls.labels(provider, call).inc(count)

    def count_failure(self, provider: str, error_class: str) -> None:
        """Count a sync that failed."""
        self._errors.labels(provider, error_class).inc()

    def observe_publication(self, seconds: float) -> None:
        """Record how long it took from a change until it was published."""
        self._seconds.observe(seconds)

    def samples(self) -> list[Counted]:
        """Return all that was counted, as numbers that can be added up over processes."""
        return [
            (sample.name, tuple(sorted(sample.labels.items())), sample.value)
            for family in self.collect()
            for sample in family.samples
            if sample.value and not sample.name.endswith("_created")
        ]

    def collect(self) -> Iterator[Metric]:
        """Return all metrics to Prometheus."""
        for part in (self._calls, self._errors, self._seconds):
            yield from part.collect()


class DnsMetricsOfAll(Collector):
    """What this process has counted and, added to it, what others report."""

    def __init__(self, own: DnsMetrics, others: Callable[[], Iterable[Counted]]) -> None:
        self._own = own
        self._others = others

    def describe(self) -> list[Metric]:
        """Name nothing, so that registering asks nobody."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return the sums to Prometheus."""
        more: dict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
        for name, labels, value in self._others():
            more[name, labels] += value
        for family in self._own.collect():
            family.samples = [
                sample._replace(value=sample.value + more.pop((sample.name, tuple(sorted(sample.labels.items()))), 0.0))
                for sample in family.samples
            ]
            for name, labels in [key for key in more if key[0].startswith(family.name)]:
                family.add_sample(name, dict(labels), more.pop((name, labels)))
            yield family
