"""Knowledge of the nodes of a config: what each vantage point saw of them, and what was decided last.

Pure. Counts votes; must not decide what becomes of a node. Times are seconds, all of the same clock.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from wgfleet.protocol.ids import NodeId

PANEL = "panel"
"""The vantage point that is no node."""


class Health(StrEnum):
    """The state of an assignment. Clients use it in the first three.

    In the others it is fenced: its node has no user's peer, for whatever session it still held would turn clients back
    that another node has taken over.
    """

    SERVING = "serving"
    SUSPECT = "suspect"  # most do not reach it, but not enough of them to act on
    UNMANAGED = "unmanaged"  # clients are served, the agent does not answer
    DOWN = "down"
    RECOVERING = "recovering"  # answers again; not used until that has lasted

    @property
    def in_use(self) -> bool:
        return self in _IN_USE


_IN_USE = frozenset({Health.SERVING, Health.SUSPECT, Health.UNMANAGED})


@dataclass(frozen=True, slots=True)
class HealthRules:
    """Thresholds and periods; the settings group `health` says what each is for."""

    interval_s: float
    failures: int
    cross_check_s: float
    fresh_s: float
    stable_s: float
    stable_cap_s: float
    flap_window_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one vantage point (`PANEL` or a node's id) saw of a node. `failures` counts the last ones in a row."""

    vantage: str
    failures: int
    last_ok_at: float | None
    last_try_at: float | None


@dataclass(frozen=True, slots=True)
class Observed:
    """A node of a config as it is seen.

    `fenced`: its agent has applied a state without users' peers since the node went down; asked only when it comes
    back. `beside_panel`: it runs on the panel's machine, so what it sees confirms nothing that the panel sees.
    """

    node_id: NodeId
    agent_connected: bool
    verdicts: tuple[Verdict, ...]
    fenced: bool = True
    beside_panel: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What was decided of an assignment. `flaps`: when it went down, oldest first, within the flap window."""

    state: Health
    since: float
    reason: str
    flaps: tuple[float, ...] = ()

    def shifted(self, by: float) -> "Standing":
        """Return the same by a clock that is `by` s ahead of this one."""
        return replace(self, since=self.since + by, flaps=tuple(flap + by for flap in self.flaps))


@dataclass(frozen=True, slots=True)
class Poll:
    """The fresh verdicts on one node, counted.

    `failing`: vantage points with enough failures in a row; `answered`: those whose last try was answered;
    `missed`: those whose last try was not, enough or not.
    """

    fresh: int
    failing: int
    answered: int
    missed: int

    @property
    def against(self) -> bool:
        """Most vantage points do not reach it. A tie is no majority."""
        return self.failing * 2 > self.fresh

    @property
    def proves_down(self) -> bool:
        """Most do not reach it, and at least two: there is one panel, so a node confirms it."""
        return self.against and self.failing > 1

    @property
    def proves_relapse(self) -> bool:
        """As `proves_down`, with one failure being enough: a node on trial has nothing to lose."""
        return self.missed * 2 > self.fresh and self.missed > 1

    @property
    def in_favour(self) -> bool:
        """Most vantage points had an answer to their last try."""
        return self.answered * 2 > self.fresh


def is_fresh(verdict: Verdict, rules: HealthRules, now: float) -> bool:
    """Tell whether a verdict is of now: tried lately, and tried often enough to be one."""
    if verdict.last_try_at is None or now - verdict.last_try_at > rules.fresh_s:
        return False
    return verdict.last_ok_at is not None or verdict.failures > 0


def count(seen: Observed, electorate: Collection[NodeId], rules: HealthRules, now: float) -> Poll:
    """Count the fresh verdicts on a node by the panel and by the other nodes of the electorate.

    A vantage point that has never had an answer has no verdict before it failed often enough.
    """
    fresh = [
        verdict
        for verdict in seen.verdicts
        if (verdict.vantage == PANEL or (verdict.vantage in electorate and verdict.vantage != seen.node_id))
        and is_fresh(verdict, rules, now)
        and (verdict.last_ok_at is not None or verdict.failures >= rules.failures)
    ]
    missed = sum(verdict.failures > 0 for verdict in fresh)
    return Poll(
        fresh=len(fresh),
        failing=sum(verdict.failures >= rules.failures for verdict in fresh),
        answered=len(fresh) - missed,
        missed=missed,
    )
