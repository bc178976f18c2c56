"""What a scenario may be told."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """`rate` in packets/s for each client, `rounds` repeats in one lab, `peers` for scenarios that only configure."""

    rate: float = 100.0
    rounds: int = 1
    peers: int = 1000
