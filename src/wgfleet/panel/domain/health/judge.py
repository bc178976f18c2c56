"""The judgment whether a node serves, and who looks at it next. One pure function over observations, rules and time.

Owns the states and what leads from one to another. Must not know what follows from them: homes, names and fences are
others' work. docs/health.md has the rules in words.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from wgfleet.panel.domain.health.blindness import reach_of
from wgfleet.panel.domain.health.holds import Scene, hold_of
from wgfleet.panel.domain.health.quorum import Quorum, SilentNodes
from wgfleet.panel.domain.health.vantage import CrossCheck, cross_checks, electorate
from wgfleet.panel.domain.health.votes import (
    PANEL,
    Health,
    HealthRules,
    Observed,
    Poll,
    Standing,
    Verdict,
    Witness,
    count,
)
from wgfleet.protocol.ids import NodeId
from wgfleet.protocol.reasons import Reason

__all__ = [
    "PANEL",
    "UNSEEN",
    "CrossCheck",
    "Decision",
    "Health",
    "HealthRules",
    "Observed",
    "Quorum",
    "SilentNodes",
    "Standing",
    "Verdict",
    "Witness",
    "decide",
    "stable_period",
]

_ANSWERS = Reason("answers")
_PARTLY = "no answer at"
UNSEEN = "the panel cannot look at it"
_DOUBTED = Reason("answers, but witnesses do not reach it: look whether clients do")
_WAITS_FOR_AGENT = Reason("answers again; waits for its agent, which gives it its peers back")
_WAITS_FOR_DROP = Reason("answers again; waits until its old sessions are dropped")
_AGENT_ALONE = Reason("the agent does not answer; clients are served")
_MISSED_TOO = Reason(
    "the agent does not answer, and some vantage points do not reach the node: look whether clients are served"
)
_MAX_DOUBLINGS = 30  # beyond any cap that can be set


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a config's nodes.

    `standings`: one for each node that was observed; the same object where nothing changed. `one_sided`: nodes that
    are left in use because all that miss them stand in one failure domain; a person may know better. `cross_checks`:
    pairs (vantage node, target node) of probes to be made now.
    """

    standings: Mapping[NodeId, Standing]
    one_sided: tuple[NodeId, ...]
    cross_checks: tuple[CrossCheck, ...]


def decide(
    observed: Mapping[NodeId, Observed],
    standings: Mapping[NodeId, Standing],
    rules: HealthRules,
    *,
    min_nodes: int,
    frozen: bool,
    now: float,
    approved: Collection[NodeId] = (),
    paused: bool = False,
    witnesses: Collection[Witness] = (),
    unsure: bool = False,
) -> Decision:
    """Judge the nodes of one config.

    `standings` is what the last call returned; a node without one is taken to serve. `min_nodes` is the config's
    floor (at least 1 counts), `frozen` whether the quorum gave a reason; `approved` are nodes that a person said are
    down, if nobody reaches them. `paused`: somebody wants that none is taken out of use. Nodes that are leaving are
    judged like the others, but neither count for the floor nor are a refuge. `witnesses` confirm what others miss;
    the word of one that reaches nobody whom others reach does not count.
    `now` is of the observations' clock.
    `unsure`: in a moment the quorum may have a reason, so that none is taken out of use before that. So is none that
    may only stand still for a moment.
    """
    new = Standing(Health.SERVING, now, Reason("new in this config"))
    before = {node_id: _not_ahead(standings.get(node_id, new), now) for node_id in observed}
    if all(_is_well(seen, before[node_id]) for node_id, seen in observed.items()):
        # As nearly always, of nearly every config, several times a second: nothing of what follows changes anything.
        return Decision(before, (), tuple(cross_checks(observed, before, rules, now, witnesses)))
    polls = _polls(observed, before, rules, now, witnesses)
    after = dict(before)

    staying = {node_id for node_id, seen in observed.items() if not seen.leaving}
    in_use = sum(before[node_id].state.in_use for node_id in staying)
    scene = Scene(
        rules,
        now,
        nodes=len(observed),
        floor=max(min_nodes, 1),
        # A failing node is not among them, so these are the others.
        refuge=any(
            before[node_id].state.in_use and polls[node_id].fresh and not polls[node_id].against for node_id in staying
        ),
        frozen=frozen,
        paused=paused,
        approved=approved,
    )
    for node_id in sorted(observed, key=lambda node_id: (_last_answer(observed[node_id]), node_id)):
        if before[node_id].state.in_use:
            poll = polls[node_id]
            spare = in_use - scene.floor if node_id in staying else 1
            hold = hold_of(scene, node_id, poll, spare) if poll.against else None
            if poll.against and hold is None and (unsure or observed[node_id].stands_still):
                continue
            held = None if hold is None else hold.words
            judged = _judge_in_use(scene, before[node_id], observed[node_id], poll, held=held)
            after[node_id] = _with_silent_addresses(judged, observed[node_id])
            in_use -= node_id in staying and not after[node_id].state.in_use

    after |= _judge_out_of_use(scene, observed, after, polls)
    return Decision(
        standings=after,
        one_sided=tuple(
            sorted(node_id for node_id, poll in polls.items() if after[node_id].state.in_use and poll.one_sided)
        ),
        cross_checks=tuple(cross_checks(observed, after, rules, now, witnesses)),
    )


def _polls(
    observed: Mapping[NodeId, Observed],
    standings: Mapping[NodeId, Standing],
    rules: HealthRules,
    now: float,
    witnesses: Collection[Witness],
) -> dict[NodeId, Poll]:
    """Count the verdicts on each node of those whose word counts there."""
    voters = electorate(observed, standings, witnesses)
    confirming = {witness.node_id for witness in witnesses}
    sights = reach_of(observed, rules, now, confirming) if confirming else {}
    return {
        node_id: count(
            seen, voters, rules, now, confirming, {each for each, sight in sights.items() if sight.is_blind(node_id)}
        )
        for node_id, seen in observed.items()
    }


def _is_well(seen: Observed, standing: Standing) -> bool:
    """Tell whether a node serves, nobody misses it, and nothing else is new."""
    return (
        standing.state is Health.SERVING
        and not any(verdict.failures for verdict in seen.verdicts)
        and not (seen.agent_missed or seen.unseen or seen.partly)
        and (seen.silent_addresses is None or seen.silent_addresses == standing.silent_addresses)
        and not standing.reason.startswith((UNSEEN, _DOUBTED, _PARTLY))
    )


def _judge_out_of_use(
    scene: Scene,
    observed: Mapping[NodeId, Observed],
    standings: Mapping[NodeId, Standing],
    polls: Mapping[NodeId, Poll],
) -> dict[NodeId, Standing]:
    """Judge the nodes that are out of use, those that have been for longest first; return their standings."""
    judged: dict[NodeId, Standing] = {}
    staying = {node_id for node_id, seen in observed.items() if not seen.leaving}
    serving = sum(standings[node_id].state.in_use and not polls[node_id].against for node_id in staying)
    for node_id in sorted(observed, key=lambda node_id: (standings[node_id].since, node_id)):
        standing, poll = standings[node_id], polls[node_id]
        needed = serving < scene.floor and node_id in staying
        if standing.state is Health.DOWN:
            judged[node_id] = _judge_down(standing, poll, scene.rules, scene.now, needed=needed)
        elif standing.state is Health.RECOVERING:
            judged[node_id] = _judge_recovering(scene, standing, observed[node_id], poll, needed=needed)
            serving += node_id in staying and judged[node_id].state.in_use
    return judged


def stable_period(flaps: Iterable[float], rules: HealthRules, now: float) -> float:
    """Return for how many seconds a node must answer before it is used again: twice as long with each flap."""
    doublings = min(max(len(_recent(flaps, rules, now)) - 1, 0), _MAX_DOUBLINGS)
    return min(rules.stable_cap_s, rules.stable_s * 2.0**doublings)


def _judge_in_use(scene: Scene, standing: Standing, seen: Observed, poll: Poll, *, held: str | None) -> Standing:
    now = scene.now
    if poll.against:
        if held is None:
            return _gone_down(standing, _no_answer(poll), scene.rules, now)
        return _in_state(standing, Health.SUSPECT, held, now)
    told = (
        Reason("the panel cannot look at it: {why}", why=seen.unseen)
        if seen.unseen
        else _DOUBTED
        if poll.witnesses_alone
        else seen.partly
    )
    if not poll.fresh:
        return standing if told in {"", standing.reason} else dataclasses.replace(standing, reason=told)
    unknown = seen.agent_unheard and standing.state is Health.UNMANAGED
    if unknown or (standing.state is not Health.SERVING and now - standing.since < scene.rules.fresh_s):
        return standing  # stands long enough to be seen, and a flickering one does not fill the history
    if seen.agent_missed:
        return _in_state(standing, Health.UNMANAGED, _MISSED_TOO if poll.failing else _AGENT_ALONE, now)
    same = standing.state is Health.SERVING and not standing.reason.startswith((UNSEEN, _DOUBTED, _PARTLY))
    return standing if same and not told else _in_state(standing, Health.SERVING, told or _ANSWERS, now)


def _with_silent_addresses(standing: Standing, seen: Observed) -> Standing:
    """Take note of single addresses that do not answer; in doubt about the node itself nothing changes."""
    silent = seen.silent_addresses
    if silent is None or silent == standing.silent_addresses or standing.state is not Health.SERVING:
        return standing
    return dataclasses.replace(standing, silent_addresses=silent)


def _judge_down(standing: Standing, poll: Poll, rules: HealthRules, now: float, *, needed: bool) -> Standing:
    if not poll.in_favour:
        return standing
    # One that has come and gone is not listened to for a while: else it would go to and fro with each packet.
    period = stable_period(standing.flaps, rules, now)
    if len(_recent(standing.flaps, rules, now)) > 1 and now - standing.since < period / 2 and not needed:
        return standing
    text = f"{period:g}"
    return _in_state(
        standing, Health.RECOVERING, Reason("answers again; is used after {period} s of this", period=text), now
    )


def _judge_recovering(scene: Scene, standing: Standing, seen: Observed, poll: Poll, *, needed: bool) -> Standing:
    rules, now = scene.rules, scene.now
    if poll.proves_down and not scene.frozen:
        return _gone_down(standing, _no_answer(poll), rules, now)
    if not poll.in_favour:
        # The time in which nobody can see it does not count as stable. Begun again at most once in fresh_s.
        return dataclasses.replace(standing, since=now) if now - standing.since >= rules.fresh_s else standing
    if now - standing.since < stable_period(standing.flaps, rules, now) and not needed:
        return standing
    if not seen.agent_connected:
        return dataclasses.replace(standing, reason=_WAITS_FOR_AGENT)
    if not seen.fenced:
        return dataclasses.replace(standing, reason=_WAITS_FOR_DROP)
    return _in_state(standing, Health.SERVING, _ANSWERS, now)


def _gone_down(standing: Standing, reason: str, rules: HealthRules, now: float) -> Standing:
    return Standing(Health.DOWN, now, reason, (*_recent(standing.flaps, rules, now), now))


def _no_answer(poll: Poll) -> Reason:
    return Reason("no answer to {failing} of {fresh} vantage points", failing=poll.failing, fresh=poll.fresh)


def _recent(flaps: Iterable[float], rules: HealthRules, now: float) -> tuple[float, ...]:
    return tuple(flap for flap in flaps if 0 <= now - flap <= rules.flap_window_s)


def _not_ahead(standing: Standing, now: float) -> Standing:
    """Restart what began after now: the clock was set back, and would otherwise be waited for."""
    return dataclasses.replace(standing, since=now) if standing.since > now else standing


def _in_state(standing: Standing, state: Health, reason: str, now: float) -> Standing:
    if standing.state is state:
        return standing if standing.reason == reason else dataclasses.replace(standing, reason=reason)
    return dataclasses.replace(standing, state=state, since=now, reason=reason)


def _last_answer(seen: Observed) -> float:
    return max((verdict.last_ok_at for verdict in seen.verdicts if verdict.last_ok_at is not None), default=0.0)
