"""Changes of all peers that a filter lets through: looked at beforehand, then done by an operation, slice after slice.

Who is changed is written down when it is asked for. A panel that is killed goes on with those who are left.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from wgfleet.panel import clock
from wgfleet.panel.domain.operations import (
    OperationKind,
    OperationState,
    PeerChangeOptions,
    PeerChangeProgress,
    PeerChangeResult,
)
from wgfleet.panel.domain.peer_changes import OF_TAGS, PeerAction, check_given, noticed, who
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.services import audit, configs, generations, held_settings, operations, peer_node_changes
from wgfleet.panel.services import peer_change_effects as change_effects
from wgfleet.panel.services.access import standing
from wgfleet.panel.services.fleet import node_groups, peers, tags, unfinished_peers
from wgfleet.panel.services.held_settings import HeldChanges
from wgfleet.panel.services.jobs import commands
from wgfleet.panel.services.jobs.commands import JobSpec
from wgfleet.panel.services.moves import peer_moves
from wgfleet.panel.services.moves.peer_moves import Destination
from wgfleet.panel.store import Tx, listed_peers, new_files
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import operations as operation_rows
from wgfleet.panel.store import peer_changes as change_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import tags as tag_rows
from wgfleet.panel.store.listed_peers import PeerFilter
from wgfleet.panel.store.tables import Config, NodeGroup, Operation, Tag
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.observed import LIVE_S
from wgfleet.protocol.reasons import Reason, template

SLICE = 250  # peers in a transaction
LINES = 25  # of a table, whose peers each get something else
TABLE = "table"  # what is done, where it is that
NAMED = 100


@dataclass(frozen=True, slots=True)
class PeerChangeSpec:
    """What is to be done. `tag` and `group` are ids or names; no group: none is preferred any more.

    `nodes`: ids or names of those that they may use, none: all. `words`: the filter as it was given, to be shown again.
    `to`: the node or node group of a move, id or name;
    `live_s`, `grace_s`: until when a session counts as live, and for how long one that does not follow is waited for.
    """

    action: PeerAction
    words: dict[str, str]
    tag: str | None = None
    job: JobSpec | None = None
    group: str | None = None
    speeds: HeldChanges | None = None
    to: str | None = None
    live_s: float = LIVE_S
    grace_s: float = 0.0
    nodes: tuple[str, ...] = ()
    within: tuple[str, ...] | None = None


class ChangeTargets(NamedTuple):
    """The rows that a change names."""

    tag: Tag | None
    group: NodeGroup | None
    to: Destination | None


@dataclass(frozen=True, slots=True)
class PeersFound:
    """Whom a change would be about: how many, how many of them are connected, the first names, and what they notice.

    `stay`: how many of them have it already, and stay as they are. `who`: see `domain.peer_changes.who`.
    """

    peers: int
    who: str
    live: int
    names: list[str]
    effects: list[str]
    stay: list[str]


Slice = Callable[[Tx, Operation, Config, Sequence[str]], dict[str, str]]
"""Changes some peers; returns why some could not be, by name."""


def look(tx: Tx, wanted: PeerFilter, spec: PeerChangeSpec) -> PeersFound:
    """Say whom a change would be about; refuse what the change itself refuses."""
    config = _only_config(tx, wanted)
    tag, group, to = _check(tx, spec)
    counted, peer_ids = listed_peers.count(tx, wanted), listed_peers.ids(tx, wanted)
    _check_somebody(peer_ids)
    check_none_runs(tx, config) if to is None else peer_moves.check_none_runs(tx, config)
    unfinished_peers.check_ended(tx, config.id, peer_ids, "filter")
    effects = noticed(spec.action, counted.peers, counted.enabled, counted.live)
    if spec.action in OF_TAGS or spec.action is PeerAction.SET_JOB:
        effects += change_effects.of_limits(tx, peer_ids, spec.action, spec.job, tag)
    if tag is not None and tag.rule_set is not None:
        effects += change_effects.of_rules(tx, peer_ids, tag, given=spec.action is PeerAction.ADD_TAG)
    if spec.action is PeerAction.SET_GROUP:
        name = (
            Reason("no node group in particular") if group is None else Reason("node group {group!r}", group=group.name)
        )
        effects.append(
            Reason("nobody moves now: they prefer {name} from the next rebalance of the config on", name=name)
        )
    if spec.action is PeerAction.SET_NODES:
        effects += peer_node_changes.noticed(tx, config, peer_ids, spec.nodes, spec.within)
    if to is not None:
        effects += peer_moves.foresee(tx, config, peer_ids, to, spec.live_s)
    if spec.action is PeerAction.SET_SPEEDS and counted.enabled:
        text = template("nodes hold {enabled} peers to other speeds at once; {live} connected now")
        effects.append(Reason(text, enabled=counted.enabled, live=counted.live))
    stay = change_effects.unchanged(tx, wanted, spec.action, counted, tag=tag, group=group, speeds=spec.speeds)
    names = listed_peers.names(tx, wanted, NAMED)
    return PeersFound(counted.peers, who(peer_ids), counted.live, names, effects, stay)


def _check_somebody(peer_ids: Sequence[str]) -> None:
    if not peer_ids:
        raise Invalid(Reason("no peer fits; nothing is to be done"), field="filter")


def _only_config(tx: Tx, wanted: PeerFilter) -> Config:
    (config_id,) = wanted.config_ids or ()
    return configs.get(tx, config_id)


def start(tx: Tx, actor: str, config: Config, wanted: PeerFilter, spec: PeerChangeSpec, expect: str) -> Operation:
    """Write down who is to be changed, and begin. `expect`: `who` of the look at it that was shown."""
    generations.hold(tx, config.id)
    tag, group, to = _check(tx, spec)
    if spec.action is PeerAction.SET_NODES:
        peer_node_changes.checked(tx, config, spec.nodes)
    if to is not None:
        operation = peer_moves.start(tx, actor, config, to, spec.words, grace_s=spec.grace_s)
    else:
        operation = begin(tx, actor, config, _options(spec, tag, group))
    peer_ids = change_rows.begin(tx, operation.id, wanted)
    count = len(peer_ids)
    _check_somebody(peer_ids)
    if who(peer_ids) != expect:
        before = expect.partition("-")[0]
        others = (
            Reason("{count} peers fit now, not {before}", count=count, before=before)
            if str(count) != before
            else Reason("{count} others fit now", count=count)
        )
        raise Conflict(Reason("{others}; look again who they are", others=others), field="expect")
    unfinished_peers.check_ended(tx, config.id, peer_ids, "filter")
    if to is not None:
        peer_moves.check(tx, config, peer_ids, to)
    audit.record(
        tx, actor, "peers_change_started", "config", config.id,
        name=config.name, does=spec.action, peers=count, operation=operation.id, filter=spec.words,
        **({} if to is None else {"to": to.name}),
    )  # fmt: skip
    if to is None:
        operations.advance(tx, operation.id, "", PeerChangeProgress(peers=count, changed=0))
    return operation


def _options(spec: PeerChangeSpec, tag: Tag | None, group: NodeGroup | None) -> PeerChangeOptions:
    return PeerChangeOptions(
        action=spec.action,
        filter=spec.words,
        tag_id=None if tag is None else tag.id,
        tag=None if tag is None else tag.name,
        job=None if spec.job is None else commands.plain(spec.job),
        group_id=None if group is None else group.id,
        group=None if group is None else group.name,
        speeds=None if spec.speeds is None else {name: spec.speeds.get(name) for name in spec.speeds},  # type: ignore[misc]
        nodes=list(spec.nodes) or None,
        within=None if spec.within is None or not spec.nodes else list(spec.within),
    )


def begin(tx: Tx, actor: str, config: Config, options: PeerChangeOptions) -> Operation:
    """Begin an operation that changes peers of a config, of which there is one at a time."""
    check_none_runs(tx, config)
    return operations.start(
        tx, actor, OperationKind.CHANGE_PEERS, config.id, config_id=config.id, node_id=None, options=options
    )


def check_none_runs(tx: Tx, config: Config) -> None:
    """Refuse a change while another operation changes peers of the config."""
    earlier = operation_rows.newest(tx, OperationKind.CHANGE_PEERS, config.id)
    if earlier is not None and earlier.finished_at is None:
        text = template("operation {operation} changes peers of {config!r} now; wait for its end, or cancel it")
        raise Conflict(Reason(text, operation=earlier.id, config=config.name))


def _check(tx: Tx, spec: PeerChangeSpec) -> ChangeTargets:
    """Refuse what cannot be done; return what it names."""
    check_given(
        spec.action,
        tag=spec.tag is not None,
        job=spec.job is not None,
        group=spec.group is not None,
        to=spec.to is not None,
        speeds=spec.speeds is not None,
        nodes=bool(spec.nodes),
    )
    if spec.job is not None:
        commands.check(spec.job)
    held_settings.checked(tx, spec.speeds or {})
    return ChangeTargets(
        None if spec.tag is None else tags.named(tx, [spec.tag], "tag")[0],
        None if spec.group is None else node_groups.named(tx, spec.group, "group"),
        None if spec.to is None else peer_moves.destination(tx, spec.to),
    )


def step(
    tx: Tx, operation_id: str, further: Mapping[str, Slice] = MappingProxyType({}), limit: int | None = None
) -> bool:
    """Change the next peers, or end; False once it has ended. `further`: by what is done, where rows are not enough.

    `limit`: at most as many peers.
    """
    operation = operations.get(tx, operation_id)
    if operation.finished_at is not None:
        return False
    config = config_rows.lock(tx, operation.config_id or "")
    reason: str | None = Reason("its config was deleted") if config is None else None
    if (who_cancelled := operation_rows.cancelled_by(tx, operation_id)) is not None:
        reason = Reason("it was cancelled by {who}", who=who_cancelled)
    reason = reason or standing.of_operation(tx, operation)
    if config is None or reason is not None:
        return _end(tx, operation, reason)
    peer_ids = _next(tx, operation, limit)
    if not peer_ids:
        return _end(tx, operation, None)
    action = operations.options_of(operation, PeerChangeOptions).action
    try:
        refused = {**_SLICES, **further}[action](tx, operation, config, peer_ids)
    except NotFound as error:
        if is_of_table(operation):
            raise
        return _end(tx, operation, error.detail)
    _advance(tx, operation, peer_ids, refused)
    return True


def refuse_next(tx: Tx, operation_id: str, why: str) -> None:
    """Leave the next peer as it is, for a reason."""
    operation = operations.get(tx, operation_id)
    generations.hold(tx, operation.config_id or "")
    peer_ids = _next(tx, operation, 1)
    _advance(tx, operation, peer_ids, {peer.name: why for peer in peer_rows.by_ids(tx, peer_ids)})


def is_of_table(operation: Operation) -> bool:
    """Tell whether each peer of a change gets what a line of a table says."""
    return operations.options_of(operation, PeerChangeOptions).action == TABLE


def _next(tx: Tx, operation: Operation, limit: int | None) -> list[str]:
    by_line = is_of_table(operation)
    return change_rows.waiting(tx, operation.id, limit or (LINES if by_line else SLICE), by_line=by_line)


def _advance(tx: Tx, operation: Operation, peer_ids: Sequence[str], refused: Mapping[str, str]) -> None:
    change_rows.done(tx, operation.id, peer_ids)
    known = operations.progress_of(operation, PeerChangeProgress)
    said = dict(list({**(known.refused or {}), **refused}.items())[:NAMED])
    progress = PeerChangeProgress(
        peers=known.peers, changed=(known.changed or 0) + len(peer_ids) - len(refused), refused=said or None
    )
    operations.advance(tx, operation.id, "", progress)


def _end(tx: Tx, operation: Operation, reason: str | None) -> bool:
    left = change_rows.give_up(tx, operation.id)
    known = operations.progress_of(operation, PeerChangeProgress)
    result = PeerChangeResult(
        peers_changed=known.changed or 0,
        peers_left=left,
        refused=known.refused,
        seconds=round(clock.now() - operation.created_at, 3),
        reason=reason or (Reason("some peers could not be changed") if known.refused else None),
    )
    state = OperationState.SUCCEEDED if result.reason is None else OperationState.FAILED
    operations.finish(tx, operation.id, state, result)
    audit.record(
        tx, operation.requested_by, "peers_changed", "config", operation.subject,
        state=state, operation=operation.id, **operations.encode(result),
    )  # fmt: skip
    return False


def _switch(tx: Tx, operation: Operation, config: Config, peer_ids: Sequence[str]) -> dict[str, str]:
    wanted = operations.options_of(operation, PeerChangeOptions).action == PeerAction.ENABLE
    found = [peer for peer in peer_rows.by_ids(tx, peer_ids) if peer.enabled is not wanted]
    if found:
        rerouted = any(peer.networks for peer in found)
        generation = generations.bump(tx, config.id, settings=rerouted, topic=Topic.PEERS)
        for peer in found:
            peer.enabled, peer.generation = wanted, generation
            _record(tx, operation, peer.id, peer.name, "enabled")
    return {}


def _delete(tx: Tx, operation: Operation, config: Config, peer_ids: Sequence[str]) -> dict[str, str]:
    peers.delete(tx, operation.requested_by, config, peer_ids)
    return {}


def _tag(tx: Tx, operation: Operation, _config: Config, peer_ids: Sequence[str]) -> dict[str, str]:
    options = operations.options_of(operation, PeerChangeOptions)
    (tag,) = tags.hold(tx, [tags.get(tx, options.tag_id or "")], "tag")
    has = tag_rows.having(tx, tag.id, peer_ids)
    found = peer_rows.by_ids(tx, peer_ids)
    if options.action == PeerAction.REMOVE_TAG:
        tag_rows.take(tx, tag.id, has)
        changed, refused = [peer for peer in found if peer.id in has], dict[str, str]()
    else:
        full = {peer_id for peer_id, names in tag_rows.names_of(tx, peer_ids).items() if len(names) >= tags.MAX_TAGS}
        changed = [peer for peer in found if peer.id not in has and peer.id not in full]
        why = Reason("it has {most} tags, and may have no more", most=tags.MAX_TAGS)
        refused = {peer.name: why for peer in found if peer.id in full - has}
        tag_rows.give(tx, tag.id, [peer.id for peer in changed])
    held_settings.tags_changed(tx, [tag], [peer.id for peer in changed])
    if tags.settings_of(tag):
        new_files.of_peers(tx, [peer.id for peer in changed])
    for peer in changed:
        _record(tx, operation, peer.id, peer.name, "tags")
    return refused


def _give_job(tx: Tx, operation: Operation, _config: Config, peer_ids: Sequence[str]) -> dict[str, str]:
    spec = commands.of_plain(operations.options_of(operation, PeerChangeOptions).job or {})
    return commands.replace(tx, operation.requested_by, peer_rows.by_ids(tx, peer_ids), spec)


def _set_group(tx: Tx, operation: Operation, _config: Config, peer_ids: Sequence[str]) -> dict[str, str]:
    options = operations.options_of(operation, PeerChangeOptions)
    if options.group_id is not None:
        node_groups.get(tx, options.group_id)
    for peer in peer_rows.by_ids(tx, peer_ids):
        if peer.group_id != options.group_id:
            peer.group_id = options.group_id
            _record(tx, operation, peer.id, peer.name, "group_id")
    return {}


def _set_speeds(tx: Tx, operation: Operation, _config: Config, peer_ids: Sequence[str]) -> dict[str, str]:
    speeds = operations.options_of(operation, PeerChangeOptions).speeds or {}
    changed = []
    for peer in peer_rows.by_ids(tx, peer_ids):
        different = [name for name, value in speeds.items() if getattr(peer, name) != value]
        for name in different:
            setattr(peer, name, speeds[name])
            _record(tx, operation, peer.id, peer.name, name)
        if different:
            changed.append(peer.id)
    tx.flush()
    held_settings.peers_changed(tx, changed)
    return {}


def _record(tx: Tx, operation: Operation, peer_id: str, name: str, changed: str) -> None:
    audit.record(
        tx, operation.requested_by, "updated", "peer", peer_id,
        name=name, changed=[changed], operation=operation.id,
    )  # fmt: skip


_SLICES: dict[str, Slice] = {
    PeerAction.ENABLE: _switch,
    PeerAction.DISABLE: _switch,
    PeerAction.DELETE: _delete,
    PeerAction.ADD_TAG: _tag,
    PeerAction.REMOVE_TAG: _tag,
    PeerAction.SET_JOB: _give_job,
    PeerAction.SET_GROUP: _set_group,
    PeerAction.SET_SPEEDS: _set_speeds,
    PeerAction.SET_NODES: peer_node_changes.change,
}
