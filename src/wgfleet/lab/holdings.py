"""Samples of who holds a floating address, and what is promised of them. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """An address at one time (s since the epoch): the nodes whose kernels have it, and those that answered for it."""

    at: float
    address: str
    held: frozenset[str]
    answered: frozenset[str]


def longest_s(samples: Sequence[Sample], wanted: Iterable[bool]) -> float:
    """Return for how long, at most, something was so in a row of samples."""
    longest, since, previous = 0.0, None, None
    for sample, is_so in zip(samples, wanted, strict=True):
        if is_so and since is None:
            since = sample.at if previous is None else previous
        if not is_so:
            since = None
        if since is not None:
            longest = max(longest, sample.at - since)
        previous = sample.at
    return longest


def summary(samples: Sequence[Sequence[Sample]], node: str, begun: float, repaired: float) -> Figures:
    """Sum up the samples of each address, the first of which `node` had."""
    mine = samples[0]
    left = next((each.at for each in mine if node not in each.held), None)
    taken = next((each.at for each in mine if each.answered - {node} and each.at < repaired), None)
    return {
        "answered_twice": sum(len(each.answered) > 1 for found in samples for each in found),
        "held_twice_ms": round(
            1000 * max(longest_s(found, [len(each.held) > 1 for each in found]) for found in samples)
        ),
        "left_s": None if left is None else round(left - begun, 2),
        "taken_s": None if taken is None else round(taken - begun, 2),
        "unanswered_s": round(max(longest_s(found, [not each.answered for each in found]) for found in samples), 2),
    }


def broken(figures: Figures, *, unseen: bool) -> list[str]:
    """Say which promises about holders were not kept."""
    found = [f"{figures['answered_twice']} requests were answered by two"] if figures["answered_twice"] else []
    if figures["held_twice_ms"] and not unseen:
        found.append(f"two kernels had an address for {figures['held_twice_ms']} ms")
    return [*found, *figures["held_wrong"]]
