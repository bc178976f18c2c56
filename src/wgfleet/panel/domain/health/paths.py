"""Paths between vantage points and nodes: how long an answer takes, and how many get lost while the node lives.

Pure. From this follow how long to wait for an answer and how many misses in a row mean something.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from wgfleet.protocol.ids import NodeId

DEFAULT_TIMEOUT_S = 0.1
DEFAULT_LONGEST_TIMEOUT_S = 2.0
MOST_NEEDED = 40  # misses in a row; enough for 79 % of loss, and a bound where all is lost

_DOUBT_S = 0.05  # at least: a hiccup as short as that is nothing to ask about
_RISK = 1e-4  # of a run of misses as long as that by loss alone
_NOTABLE = 0.1  # the same of a run that makes others look as well
_LOSS_WEIGHT = 1 / 32
_RTT_WEIGHT = 1 / 8  # RFC 6298, section 2.3
_DEVIATION_WEIGHT = 1 / 4
_CALM_WEIGHT = 1 / 32  # of a smaller deviation: a few even answers in a row promise nothing
_DEVIATIONS = 4
_HICCUP_S = 0.6  # of those that come now and then; the wait for one that takes longer would be too long for a dead node
_FORGOTTEN = 1 / 4096  # of the slowest answer, with each answer: a half of it in five minutes at ten probes a second
_EARLY = 8  # probes of a path: a panel that has just started was busy itself, and what took half as long says more
_TELLING = 16  # probes of a path before its loss speaks for other paths

PathKey = tuple[str, NodeId, str]
"""A vantage point, the node that it looks at, and the id of the config."""


@dataclass(frozen=True, slots=True)
class Path:
    """What was measured of a path. `rtt_s` is None before the first answer; `loss` is a share, 0 to 1.

    `slowest_s`: the answer that took longest, forgotten little by little: what stood still for once may do so again.
    `in_doubt`: misses since the last answer. They count as lost once an answer shows that the node was alive.
    """

    rtt_s: float | None = None
    deviation_s: float = 0.0
    loss: float = 0.0
    in_doubt: int = 0
    probes: int = 0
    slowest_s: float = 0.0

    def answered(self, rtt_s: float, failures: int, *, late: bool = False, instead_of: float = 1.0) -> "Path":
        """Return the path after an answer. `late`: the probe was taken for missed before.

        `instead_of` how many answers it is, where nodes are probed less often: what was slow is forgotten in time.

        `failures`: the misses in a row from which on the node counted as dead; that many say nothing of the path.
        """
        lost = max(self.in_doubt - late, 0) if self.in_doubt < failures else 0
        loss = self.loss
        for outcome in (*([1.0] * lost), 0.0):
            loss += (outcome - loss) * _LOSS_WEIGHT
        if self.rtt_s is None or (self.probes < _EARLY and rtt_s < self.rtt_s / 2):
            rtt, deviation = rtt_s, rtt_s / 2
        else:
            news_s = abs(self.rtt_s - rtt_s) - self.deviation_s
            deviation = self.deviation_s + news_s * (_DEVIATION_WEIGHT if news_s > 0 else _CALM_WEIGHT)
            rtt = self.rtt_s + (rtt_s - self.rtt_s) * _RTT_WEIGHT
        slowest_s = max(rtt_s, self.slowest_s * (1 - _FORGOTTEN) ** instead_of)
        return Path(rtt, deviation, loss, 0, self.probes + lost + 1, slowest_s)

    def beside(self, tries: int, lost: int) -> "Path":
        """Return the path after other probes that were sent with one that was answered; `lost` of them were not."""
        if not tries:
            return self
        weight = 1 - (1 - _LOSS_WEIGHT) ** tries
        return replace(self, loss=self.loss + (lost / tries - self.loss) * weight, probes=self.probes + tries)

    def missed(self, *, since_answered: bool) -> "Path":
        """Return the path after a miss. `since_answered`: a later probe had its answer, so this one was lost."""
        if since_answered:
            return replace(self, loss=self.loss + (1.0 - self.loss) * _LOSS_WEIGHT, probes=self.probes + 1)
        return replace(self, in_doubt=self.in_doubt + 1)

    def timeout_s(self, shortest_s: float, longest_s: float) -> float:
        """Return how long to wait for an answer; on a path that nobody knows yet, with patience."""
        if self.rtt_s is None:
            return longest_s
        return min(max(self._usual_s(self.rtt_s), min(self.slowest_s, _HICCUP_S), shortest_s), longest_s)

    def doubt_s(self, shortest_s: float, longest_s: float) -> float:
        """Return after how long without an answer others are worth asking; that decides nothing."""
        if self.rtt_s is None:
            return longest_s
        return min(max(self._usual_s(self.rtt_s), _DOUBT_S), self.timeout_s(shortest_s, longest_s))

    def _usual_s(self, rtt_s: float) -> float:
        return rtt_s + _DEVIATIONS * self.deviation_s


def misses_needed(loss: float, at_least: int) -> int:
    """Return how many misses in a row are hardly a matter of loss."""
    return max(at_least, _run(loss, _RISK))


def misses_of_note(loss: float) -> int:
    """Return after how many misses in a row it is worth while to ask others."""
    return _run(loss, _NOTABLE)


def shared_loss(paths: Mapping[PathKey, Path], witnesses: Collection[str] = ()) -> dict[PathKey, float]:
    """Return the loss to reckon with on each path: its own, or that of the other paths from or to the same machine.

    What witnesses say of theirs speaks for those alone.

    Loss that has just begun shows in all of them together sooner than in each.
    """
    sent: dict[str, tuple[float, int]] = {}
    received: dict[str, tuple[float, int]] = {}
    alone = {key: path.loss for key, path in paths.items() if key[0] in witnesses}
    paths = {key: path for key, path in paths.items() if key not in alone} if alone else paths
    for (vantage, node_id, _), path in paths.items():
        if path.probes >= _TELLING:
            for sums, end in ((sent, vantage), (received, node_id)):
                total, number = sums.get(end, (0.0, 0))
                sums[end] = total + path.loss, number + 1
    of_sent = {vantage: total / number for vantage, (total, number) in sent.items()}
    of_received = {node_id: total / number for node_id, (total, number) in received.items()}
    return alone | {
        key: max(path.loss, of_sent.get(key[0], 0.0), of_received.get(key[1], 0.0)) for key, path in paths.items()
    }


def _run(loss: float, risk: float) -> int:
    """Return the length of a run of losses that comes by chance with probability `risk` at most."""
    if loss <= risk:
        return 1
    if loss >= 1:
        return MOST_NEEDED
    return min(MOST_NEEDED, math.ceil(math.log(risk) / math.log(loss)))
