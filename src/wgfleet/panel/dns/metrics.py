"""Counts of what was asked of DNS providers since the panel started, for /metrics."""

from collections.abc import Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

BUCKETS_S = (0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 3600)


class Meters(Collector):
    """Calls, errors by class, and seconds from decision to published. Safe to share by threads."""

    def __init__(self) -> None:
        self._calls = Counter("wgfleet_dns_calls", "Calls of DNS providers.", ("provider", "call"), registry=None)
        self._errors = Counter("wgfleet_dns_errors", "Looks that failed.", ("provider", "error_class"), registry=None)
        self._seconds = Histogram(
            "wgfleet_dns_publish_seconds",
            "From the decision until the name was seen to be as wanted.",
            registry=None,
            buckets=BUCKETS_S,
        )

    def called(self, provider: str, call: str, count: int = 1) -> None:
        """Count calls."""
        self._calls.labels(provider, call).inc(count)

    def failed(self, provider: str, error_class: str) -> None:
        """Count an error."""
        self._errors.labels(provider, error_class).inc()

    def published(self, seconds: float) -> None:
        """Note how long it took until a name was as decided."""
        self._seconds.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Give everything to Prometheus."""
        for part in (self._calls, self._errors, self._seconds):
            yield from part.collect()
