"""Effects of a change of many peers, said before it is made: whom limits and rules cut off, and who stays as it is."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache

from wgfleet.panel import clock
from wgfleet.panel.domain.destination_effects import of_change
from wgfleet.panel.domain.peer_changes import PeerAction
from wgfleet.panel.services.fleet import rule_effects, tags
from wgfleet.panel.services.held_settings import HeldChanges, SupposedTag
from wgfleet.panel.services.jobs import commands, decisions, expectations
from wgfleet.panel.services.jobs.commands import JobSpec
from wgfleet.panel.services.jobs.decisions import LimitDecision, Supposed
from wgfleet.panel.services.jobs.expectations import ExpectedPeer
from wgfleet.panel.store import Tx, unchanged_peers
from wgfleet.panel.store.listed_peers import CountedPeers, PeerFilter
from wgfleet.panel.store.tables import NodeGroup, Tag
from wgfleet.protocol.reasons import Reason

MOST_DECIDED = 20_000  # peers, of which it is said whom limits cut off: 10,000 take a second


def of_limits(tx: Tx, peer_ids: Sequence[str], action: PeerAction, job: JobSpec | None, tag: Tag | None) -> list[str]:
    """Say whom limits cut off then, who are not cut off now."""
    if len(peer_ids) > MOST_DECIDED:
        return [Reason("whom limits then cut off is not worked out for more than {most} peers", most=MOST_DECIDED)]
    if job is not None:
        supposed = Supposed(job=commands.as_if(job))
    elif tag is not None and action is PeerAction.ADD_TAG:
        supposed = Supposed(tag=(tag.id, tag.name))
    else:
        supposed = Supposed(without_tag=None if tag is None else tag.id)
    return since_then(tx, peer_ids, at_present(tx, peer_ids), supposed)


def at_present(tx: Tx, peer_ids: Collection[str]) -> set[str]:
    """Return of whom limits decide something now, whatever is changed."""
    return {each.peer.id for each in decisions.decide(tx, clock.now(), peer_ids=peer_ids) if each.changes}


def since_then(
    tx: Tx, peer_ids: Collection[str], before: Collection[str], supposed: Supposed = decisions.NOTHING_ELSE
) -> list[str]:
    """Say whom limits cut off, delete, or let in after a change. `before`: what `at_present` said ahead of it."""
    return decisions.effects(_news(tx, peer_ids, before, supposed))


def of_tags(
    tx: Tx, config_id: str, new: Mapping[str, Sequence[str]], changed: Mapping[str, Sequence[str]]
) -> list[str]:
    """Say whom limits cut off, delete, or let in when peers have other tags. `new`: those of new ones, by name."""

    @cache
    def named(references: tuple[str, ...]) -> list[tuple[str, str]]:
        return [(tag.id, tag.name) for tag in tags.named(tx, references, "tags")]

    supposed = Supposed(tags={peer_id: named(tuple(each)) for peer_id, each in changed.items()})
    found = _news(tx, changed, at_present(tx, changed), supposed)
    made = [ExpectedPeer(name, [tag for _, tag in named(tuple(each))], (), 0, 0) for name, each in new.items()]
    return decisions.effects([*expectations.decide(tx, config_id, made, clock.now()), *found])


def _news(tx: Tx, peer_ids: Collection[str], before: Collection[str], supposed: Supposed) -> list[LimitDecision]:
    after = decisions.decide(tx, clock.now(), peer_ids=peer_ids, if_so=supposed)
    return [each for each in after if each.peer.id not in before]


def of_rules(tx: Tx, peer_ids: Sequence[str], tag: Tag, *, given: bool) -> list[str]:
    """Say which destinations a tag opens and closes to those who get it, or lose it."""
    config_ids = tags.configs_of(tx, peer_ids)
    supposed = SupposedTag(tag.id, frozenset(peer_ids), given)
    return of_change(rule_effects.at_present(tx, config_ids), rule_effects.at_present(tx, config_ids, supposed))


def unchanged(
    tx: Tx,
    wanted: PeerFilter,
    action: PeerAction,
    counted: CountedPeers,
    *,
    tag: Tag | None,
    group: NodeGroup | None,
    speeds: HeldChanges | None,
) -> list[str]:
    """Say how many stay as they are, and why; nothing where all are changed. Moves say it with what they mean."""
    count, why = 0, ""
    if action is PeerAction.ENABLE:
        count, why = counted.enabled, Reason("switched on already")
    elif action is PeerAction.DISABLE:
        count, why = counted.peers - counted.enabled, Reason("switched off already")
    elif action is PeerAction.ADD_TAG and tag is not None:
        count, why = unchanged_peers.with_tag(tx, wanted, tag.id), Reason("with that tag already")
    elif action is PeerAction.REMOVE_TAG and tag is not None:
        count, why = counted.peers - unchanged_peers.with_tag(tx, wanted, tag.id), Reason("without that tag")
    elif action is PeerAction.SET_GROUP:
        same = {"group_id": None if group is None else group.id}
        count, why = unchanged_peers.with_values(tx, wanted, same), Reason("that is what they prefer already")
    elif action is PeerAction.SET_SPEEDS:
        count, why = unchanged_peers.with_values(tx, wanted, speeds or {}), Reason("held to those speeds already")
    if not count:
        return []
    if count == 1:
        return [Reason("1 of them stays as it is: {why}", why=why)]
    return [Reason("{count} of them stay as they are: {why}", count=count, why=why)]
