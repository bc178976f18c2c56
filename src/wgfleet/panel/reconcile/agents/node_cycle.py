"""The outcome of a node's cycle, as its summary tells it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeCycle:
    """Result of one cycle: a sentence for people on what it did, or why not; `idle`: there was nothing to do.

    `routine`: all went well, so that people may read of it a little later. `again_in_s`: after how long to try again.
    """

    summary: str
    idle: bool = False
    again_in_s: float | None = None
    routine: bool = False
