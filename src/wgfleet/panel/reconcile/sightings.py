"""Sightings of the watched assignments by all vantage points: answers, misses and doubts, and what paths are like.

It sends nothing. What was seen may change a decision: then it sets `news`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace

from wgfleet.panel import clock
from wgfleet.panel.domain.health.paths import Path, PathKey, misses_needed, misses_of_note, shared_loss
from wgfleet.panel.domain.health.votes import PANEL, HealthRules, Verdict
from wgfleet.protocol.ids import NodeId

Member = tuple[str, NodeId]
"""An assignment: config and node."""

_AT_MOST = 2.0  # times the usual; an unknown path hardly takes longer than the way by the panel, and as much again
_UNKNOWN_S = 1.0  # at least: one node may be far from all others
_FEW = 8  # an eighth of all, and one more: no more ways than that are unknown for want of an answer alone
_KNOWN = 4  # probes of a way from here, until what its answers usually take is known
_MOVED_S = 5.0  # at most: from when a node is to be at another port until its agent has heard so
_NO_LOSS = 1e-6  # one packet of a million: what was lost once is forgotten little by little, and never quite


class Sightings:
    """All that was seen. `news` is set when it may change a decision, at `news_at`."""

    def __init__(self, rules: HealthRules) -> None:
        self.news = asyncio.Event()
        self.news_at = 0.0
        self._rules = rules
        self._verdicts: dict[Member, dict[str, Verdict]] = defaultdict(dict)
        self._paths: dict[PathKey, Path] = {}
        self._loss: dict[PathKey, float] = {}
        self._answered_at: dict[PathKey, float] = {}  # when the latest probe that was answered had been sent
        self._moved_at: dict[Member, float] = {}  # of those that have not answered since, where they are to be now
        self._watched = self._in_use = frozenset[Member]()
        self._unknown_s = rules.longest_timeout_s  # for how long an answer from here is waited for on an unknown path
        self.learning = True
        """Whether a panel that has just started has yet to learn how long the answers of its nodes take."""

    def begin(self) -> None:
        """Be used in the event loop that runs."""
        self.news = asyncio.Event()

    def forget_all_but(self, watched: Collection[Member], in_use: Collection[Member]) -> None:
        """Forget what was seen of others. `in_use`: those of them that are to answer."""
        self._watched, self._in_use = frozenset(watched), frozenset(in_use)
        for member in self._verdicts.keys() - set(watched):
            del self._verdicts[member]
        self._moved_at = {member: at for member, at in self._moved_at.items() if member in watched}
        for key in [key for key in self._paths if (key[2], key[1]) not in watched]:
            self._paths.pop(key)
            self._answered_at.pop(key, None)

    def compare(self, witnesses: Collection[NodeId]) -> None:
        """Find out what share of probes gets lost on each path by now, and how long one may take that is not known."""
        found = shared_loss(self._paths, set(witnesses))
        self._loss = {key: loss for key, loss in found.items() if loss > _NO_LOSS}
        ways = [self._path(PANEL, member) for member in self._in_use]
        self._unknown_s = self._by_all_others([way for way in ways if way.rtt_s is not None])
        self.learning = self._are_many(sum(way.probes < _KNOWN for way in ways))

    def _by_all_others(self, answered: Collection[Path]) -> float:
        """Return how long an answer from here may take that never came: twice what it takes any other.

        A panel that has just started knows nothing of those that died before; with patience they would be called dead
        some seconds later than others. Where more than a few are not known yet, it has to be patient.
        """
        shortest_s, longest_s = self._rules.timeout_s, self._rules.longest_timeout_s
        known = [way.timeout_s(shortest_s, longest_s) for way in answered]
        if not known or self._are_many(len(self._in_use) - len(known)):
            return longest_s
        return min(max(_AT_MOST * max(known), _UNKNOWN_S), longest_s)

    def _are_many(self, ways: int) -> bool:
        """Tell whether so large a part of those in use is more than those that died before the panel started."""
        return ways > 1 + len(self._in_use) // _FEW

    def verdicts(self, member: Member) -> tuple[Verdict, ...]:
        """Return what each vantage point saw of an assignment."""
        known = self._verdicts[member]
        for verdict in tuple(known.values()):
            if (loss := self.loss(verdict.vantage, member)) != verdict.loss:
                known[verdict.vantage] = replace(verdict, loss=loss)
        return tuple(known.values())

    def from_here(self, member: Member) -> Verdict | None:
        """Return what was seen of an assignment from here."""
        return self._verdicts[member].get(PANEL)

    def loss(self, vantage: str, member: Member) -> float:
        """Return the share of probes that get lost on the way, as far as it is known."""
        return self._loss.get(_key(vantage, member), 0.0)

    def needed(self, vantage: str, member: Member) -> int:
        """Return how many misses in a row say that a node does not answer."""
        return misses_needed(self.loss(vantage, member), self._rules.failures)

    def tries(self, vantage: str, member: Member) -> int:
        """Return how often a node is to probe in one call for a verdict; 0: nobody has begun to miss its target."""
        known = self._verdicts[member]
        if not any(verdict.doubts for verdict in known.values()):
            return 0  # as nearly always
        long = max((self.needed(each, member) for each in known), default=0)
        if not any(
            misses_of_note(self.loss(each, member)) <= verdict.doubts and verdict.failures <= long
            for each, verdict in known.items()
        ):
            return 0
        return max(self.needed(vantage, member) - (known[vantage].failures if vantage in known else 0), 1)

    def wait_s(self, vantage: str, member: Member) -> float:
        """Return for how long an answer on a path is waited for.

        On one that nobody has measured yet, by what the way over the panel takes: where several nodes die at once,
        those that have looked at them so far are dead as well, and the next ones are new to it.
        """
        path = self._path(vantage, member)
        if path.rtt_s is not None:  # as nearly always
            return path.timeout_s(self._rules.timeout_s, self._rules.longest_timeout_s)
        if vantage == PANEL:
            return self._at_most_s(member)
        by_panel = sum(self._at_most_s(end) for end in ((member[0], NodeId(vantage)), member))
        return min(by_panel, self._rules.longest_timeout_s)

    def is_known(self, vantage: str, member: Member) -> bool:
        """Tell whether a probe on a path has been answered."""
        return self._path(vantage, member).rtt_s is not None

    def was_hasty(self, vantage: str, member: Member, waited_s: float) -> bool:
        """Tell whether a miss on a path that was unknown says nothing: answers take longer, as was learnt meanwhile."""
        return self.wait_s(vantage if self.is_known(vantage, member) else PANEL, member) > waited_s

    def _at_most_s(self, member: Member) -> float:
        """Return how long an answer from here hardly takes: twice the usual, and on an unknown path what others do."""
        path = self._path(PANEL, member)
        if path.rtt_s is not None:
            return _AT_MOST * path.timeout_s(self._rules.timeout_s, self._rules.longest_timeout_s)
        return self._unknown_s if member in self._watched else self._rules.longest_timeout_s  # nobody probes a witness

    def doubt_s(self, vantage: str, member: Member) -> float:
        """Return after how long without an answer there is doubt."""
        return self._path(vantage, member).doubt_s(self._rules.timeout_s, self._rules.longest_timeout_s)

    def has_answered_since(self, vantage: str, member: Member, sent_at: float) -> bool:
        """Tell whether a probe that was sent later than that was answered."""
        return self._answered_at.get(_key(vantage, member), -1.0) > sent_at

    def moved(self, member: Member) -> None:
        """Note that a node is to be at another port from now on: until it is, nothing speaks against it.

        Nor does what was missed so far: it may have left the port where it was before this was known.
        """
        self._moved_at[member] = clock.monotonic()
        for vantage, verdict in self._verdicts[member].items():
            self._verdicts[member][vantage] = replace(verdict, failures=0, overdue=0)

    def _is_moving(self, member: Member) -> bool:
        moved_at = self._moved_at.get(member)
        return moved_at is not None and clock.monotonic() - moved_at < _MOVED_S

    def answered(self, vantage: str, member: Member, sent_at: float, seconds: float, *, late: bool = False) -> None:
        """Take an answer. `late`: it was a miss for as long as it was not here."""
        key, now = _key(vantage, member), clock.monotonic()
        if self._moved_at.get(member, now) < sent_at:
            del self._moved_at[member]
        before = self._verdict(vantage, member, now)
        self._paths[key] = self._path(vantage, member).answered(
            seconds, self.needed(vantage, member), late=late, instead_of=self._instead_of(before, now)
        )
        self._answered_at[key] = max(sent_at, self._answered_at.get(key, sent_at))
        self._verdicts[member][vantage] = replace(
            before, failures=0, overdue=0, last_ok_at=now, last_try_at=now, alive_at=self._answered_at[key]
        )
        if before.last_ok_at is None or before.doubts >= misses_of_note(self.loss(vantage, member)):
            self._tell()

    def answered_in_series(self, vantage: str, member: Member, tries: int, lost: int) -> None:
        """Take what else is known of a path on which one of several probes was answered."""
        key = _key(vantage, member)
        self._paths[key] = self._paths[key].beside(tries - 1, min(max(lost, 0), tries - 1))

    def doubted(self, member: Member, sent_at: float) -> None:
        """Note that the answer to a probe from here takes longer than it does."""
        before = self.from_here(member)
        if self._is_moving(member):
            return
        if before is not None and self._answered_at.get(_key(PANEL, member), -1.0) < sent_at:
            self._against(before, member, replace(before, overdue=before.overdue + 1))

    def missed(self, vantage: str, member: Member, sent_at: float) -> None:
        """Note that a probe was not answered in time."""
        if self._is_moving(member):
            return
        key, now = _key(vantage, member), clock.monotonic()
        since_answered = self._answered_at.get(key, -1.0) >= sent_at
        self._paths[key] = self._path(vantage, member).missed(since_answered=since_answered)
        before = self._verdict(vantage, member, now)
        if since_answered:
            return
        overdue = max(before.overdue - 1, 0)
        now_known = replace(before, failures=before.failures + 1, overdue=overdue, last_try_at=now)
        self._against(before, member, now_known)

    def _against(self, before: Verdict, member: Member, known: Verdict) -> None:
        """Take what speaks against a node, and tell it where that may make others look, or decide."""
        self._verdicts[member][known.vantage] = known
        needed = self.needed(known.vantage, member)
        of_note = {1, misses_of_note(self.loss(known.vantage, member))}
        if (known.doubts > before.doubts and known.doubts in of_note) or (
            known.failures > before.failures and known.failures == needed
        ):
            self._tell()

    def _instead_of(self, before: Verdict, now: float) -> float:
        """Return how many answers a probe from here would have had since the last one, of few nodes."""
        if before.vantage != PANEL or before.last_ok_at is None:
            return 1.0
        return max(1.0, (now - before.last_ok_at) / self._rules.interval_s)

    def _tell(self) -> None:
        if not self.news.is_set():
            self.news_at = clock.monotonic()
            self.news.set()

    def _path(self, vantage: str, member: Member) -> Path:
        return self._paths.get(_key(vantage, member), Path())

    def _verdict(self, vantage: str, member: Member, now: float) -> Verdict:
        return self._verdicts[member].get(vantage) or Verdict(vantage, 0, None, None, since=now)


def _key(vantage: str, member: Member) -> PathKey:
    return vantage, member[1], member[0]
