"""Metrics of DNS syncs since the panel started: calls of providers, errors, time to publication."""

from collections.abc import Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from wgfleet.panel.counted import Counted, samples_of

BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 3600)


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
        return samples_of(self.collect())

    def collect(self) -> Iterator[Metric]:
        """Return all metrics to Prometheus."""
        for part in (self._calls, self._errors, self._seconds):
            yield from part.collect()
