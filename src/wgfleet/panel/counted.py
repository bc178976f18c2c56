"""Numbers for Prometheus that several processes count, each its own part: as values, and added up."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client.metrics_core import Metric

Counted = tuple[str, tuple[tuple[str, str], ...], float]
"""Name, labels, value."""
_ENDINGS = ("", "_total", "_bucket", "_sum", "_count")


def samples_of(families: Iterable[Metric]) -> list[Counted]:
    """Return what was counted, as numbers that can be added up over processes."""
    return [
        (sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
        if sample.value and not sample.name.endswith("_created")
    ]


def summed(*parts: Iterable[Counted]) -> list[Counted]:
    """Return the sums of several processes."""
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
    for part in parts:
        for name, labels, value in part:
            sums[name, labels] += value
    return [(name, labels, value) for (name, labels), value in sums.items()]


def with_others(families: Iterable[Metric], others: Iterable[Counted]) -> Iterator[Metric]:
    """Yield what this process has counted and, added to it, what others have."""
    more = {(name, labels): value for name, labels, value in others}
    for family in families:
        family.samples = [
            sample._replace(value=sample.value + more.pop((sample.name, tuple(sorted(sample.labels.items()))), 0.0))
            for sample in family.samples
            if not sample.name.endswith("_created")  # of which there is no sum
        ]
        names = {f"{family.name}{ending}" for ending in _ENDINGS}
        for name, labels in [key for key in more if key[0] in names]:
            family.add_sample(name, dict(labels), more.pop((name, labels)))
        yield family
