"""Knowledge of the nodes of a config: what each vantage point saw of them, and what was decided last.

Pure. Counts votes; must not decide what becomes of a node. Times are seconds, all of the same clock.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from wgfleet.panel.domain.health.paths import DEFAULT_LONGEST_TIMEOUT_S, DEFAULT_TIMEOUT_S, misses_needed
from wgfleet.protocol.ids import NodeId

PANEL = "panel"
"""The vantage point that is no node, and the failure domain that it stands in."""


class Health(StrEnum):
    """The state of an assignment. Clients use it in the first three.

    In the others it is fenced: its node has no user's peer that another node has taken over, for whatever session it
    still held would turn that client back.
    """

    SERVING = "serving"
    SUSPECT = "suspect"  # most do not reach it, but not enough of them to act on
    UNMANAGED = "unmanaged"  # clients are served, the agent does not answer
    DOWN = "down"
    RECOVERING = "recovering"  # answers again; not used until that has lasted

    @property
    def in_use(self) -> bool:
        return self in _IN_USE


WORST_FIRST = (Health.DOWN, Health.SUSPECT, Health.UNMANAGED, Health.RECOVERING, Health.SERVING)
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
    at_once_s: float = 10.0
    timeout_s: float = DEFAULT_TIMEOUT_S
    longest_timeout_s: float = DEFAULT_LONGEST_TIMEOUT_S
    unmanaged_after_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one vantage point (`PANEL` or a node's id) saw of a node. `failures` counts the last ones in a row.

    `overdue`: probes under way whose answer takes longer than it does. They are no misses, but worth a look.
    `alive_at`: when the latest probe was sent that had an answer.

    `loss`: the share of probes that get lost on such a path while the node lives, 0 to 1. `since`: the first try.
    """

    vantage: str
    failures: int
    last_ok_at: float | None
    last_try_at: float | None
    loss: float = 0.0
    since: float | None = None
    overdue: int = 0
    alive_at: float | None = None

    @property
    def doubts(self) -> int:
        """Count the probes that speak against the node, if only for now."""
        return self.failures + self.overdue

    def needed(self, rules: HealthRules) -> int:
        """Return how many failures in a row make a miss: more where packets get lost."""
        return misses_needed(self.loss, rules.failures)

    def missing(self, rules: HealthRules) -> bool:
        """Tell whether this vantage point does not reach the node."""
        return self.failures > 0 and self.failures >= self.needed(rules)  # it answers: nothing to work out


@dataclass(frozen=True, slots=True)
class Observed:
    """A node of a config as it is seen.

    `agent_missed`: its agent has been silent for so long that it is not for a lost packet. `agent_unheard`: this panel
    has just begun to listen to its agent, and cannot tell yet. `fenced`: its agent has
    applied a state without the peers that others took over since the node went down; asked only when it comes back.
    `beside_panel`: it runs on the panel's machine, so what it sees confirms nothing that the panel sees. `domain`: its
    failure domain, such as a site; "": the node stands alone. `leaving`: it is being removed, so nothing moves to it.
    `unseen`: why the panel cannot look at it. `partly`: at which public endpoints clients get no answer.
    `silent_addresses`: of which of its addresses that is certain enough to publish them no more; None: not known yet.
    `stands_still`: its machine lives, and has been silent for so short a time that its WireGuard may be back at once.
    """

    node_id: NodeId
    agent_connected: bool
    verdicts: tuple[Verdict, ...]
    fenced: bool = True
    beside_panel: bool = False
    domain: str = ""
    leaving: bool = False
    agent_missed: bool = False
    agent_unheard: bool = False
    unseen: str = ""
    partly: str = ""
    silent_addresses: tuple[str, ...] | None = None
    stands_still: bool = False


@dataclass(frozen=True, slots=True)
class Witness:
    """A vantage point that serves nobody: a machine without WireGuard. `domain`: as of a node.

    One that runs on the machine of the panel, or of a node, sees what that sees, and is none.
    """

    node_id: NodeId
    agent_connected: bool
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What was decided of an assignment. `flaps`: when it went down, oldest first, within the flap window.

    `silent_addresses`: those of its node that are not to be published.
    """

    state: Health
    since: float
    reason: str
    flaps: tuple[float, ...] = ()
    silent_addresses: tuple[str, ...] = ()

    def shifted(self, by: float) -> "Standing":
        """Return the same by a clock that is `by` s ahead of this one."""
        return replace(self, since=self.since + by, flaps=tuple(flap + by for flap in self.flaps))


@dataclass(frozen=True, slots=True)
class Poll:
    """The fresh verdicts on one node, counted.

    `failing`: vantage points that miss it; `answered`: those that had an answer and do not. `failing_domains`: the
    failure domains in which those that miss it stand. `failing_witnesses`, `answered_witnesses`: how many of both are
    witnesses. `witnesses_alone`: nobody misses it but witnesses, and they have for a while.
    """

    fresh: int
    failing: int
    answered: int
    failing_domains: frozenset[str]
    failing_witnesses: int = 0
    answered_witnesses: int = 0
    witnesses_alone: bool = False

    @property
    def against(self) -> bool:
        """Most vantage points do not reach it, and not witnesses alone. A tie is no majority."""
        return self.failing * 2 > self.fresh and self.failing > self.failing_witnesses

    @property
    def proves_down(self) -> bool:
        """Most do not reach it, from two failure domains: one uplink that is cut does not look like a dead node."""
        return self.against and len(self.failing_domains) > 1

    @property
    def one_sided(self) -> bool:
        """Several do not reach it, and all of them stand in the same failure domain."""
        return self.against and self.failing > 1 and not self.proves_down

    @property
    def in_favour(self) -> bool:
        """Most vantage points reach it, or most of those that are no witnesses: these keep no node out of use."""
        own = self.answered - self.answered_witnesses
        others = self.fresh - self.failing_witnesses - self.answered_witnesses
        return self.answered * 2 > self.fresh or own * 2 > others


def domains(observed: Iterable[Observed], witnesses: Iterable[Witness] = ()) -> dict[str, str]:
    """Return the failure domain of each vantage point.

    Where all nodes stand in the panel's, nobody could confirm anything: then each machine is one of its own, whatever
    witnesses there are, as they may be dead.
    """
    found = {PANEL: PANEL}
    machines = {PANEL: PANEL}
    for seen in observed:
        machines[seen.node_id] = PANEL if seen.beside_panel else seen.node_id
        found[seen.node_id] = PANEL if seen.beside_panel else seen.domain or seen.node_id
    alone = len(set(found.values())) == 1
    domain_of = machines if alone else found
    for witness in witnesses:
        apart = not witness.domain or (alone and witness.domain == PANEL)
        domain_of[witness.node_id] = witness.node_id if apart else witness.domain
    return domain_of


def is_fresh(verdict: Verdict, rules: HealthRules, now: float) -> bool:
    """Tell whether a verdict is of now: tried lately, and tried often enough to be one."""
    if verdict.last_try_at is None or now - verdict.last_try_at > rules.fresh_s:
        return False
    return verdict.last_ok_at is not None or verdict.failures > 0


def count(
    seen: Observed,
    electorate: Mapping[str, str],
    rules: HealthRules,
    now: float,
    witnesses: Collection[str] = (),
    blind: Collection[str] = (),
) -> Poll:
    """Count the fresh verdicts on a node by those of the electorate (vantage points, with their failure domains).

    A vantage point that has never had an answer has no verdict before it failed often enough. A witness confirms what
    others have begun to miss: its miss counts only where it has looked since they last had an answer. So one that says
    the same again and again confirms nothing while the panel is cut off, and cannot ask it. What those witnesses say
    that are `blind` does not count.
    """
    fresh = [
        verdict
        for verdict in seen.verdicts
        if verdict.vantage in electorate
        and verdict.vantage != seen.node_id
        and is_fresh(verdict, rules, now)
        and (verdict.last_ok_at is not None or verdict.missing(rules))
    ]
    missing = [verdict for verdict in fresh if verdict.missing(rules)]
    lost_at = max(
        (verdict.last_ok_at or 0.0 for verdict in missing if verdict.vantage not in witnesses), default=-math.inf
    )
    late = {verdict.vantage for verdict in missing if verdict.vantage in witnesses and _tried_at(verdict) <= lost_at}
    failing = [verdict.vantage for verdict in missing if verdict.vantage not in late and verdict.vantage not in blind]
    answered = [verdict.vantage for verdict in fresh if not verdict.missing(rules) and verdict.vantage not in blind]
    return Poll(
        fresh=len(failing) + len(answered),
        failing=len(failing),
        answered=len(answered),
        failing_domains=frozenset(electorate[vantage] for vantage in failing),
        failing_witnesses=sum(vantage in witnesses for vantage in failing),
        answered_witnesses=sum(vantage in witnesses for vantage in answered),
        witnesses_alone=all(verdict.vantage in witnesses for verdict in missing)
        and any(now - (verdict.last_ok_at or verdict.since or 0.0) >= rules.fresh_s for verdict in missing),
    )


def _tried_at(verdict: Verdict) -> float:
    return verdict.last_try_at or 0.0
