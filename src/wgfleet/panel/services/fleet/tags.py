"""Tags: words for some peers, of any config, and settings of all of them.

Who gives a tag and who changes what it stands for wait for each other, or nodes would hear of one of them only. All
lock in one order: configs, tags, sets of rules, each by id.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from wgfleet.panel import clock
from wgfleet.panel.domain import look_alikes
from wgfleet.panel.domain.client_settings import SETTINGS
from wgfleet.panel.domain.fields import one_spelling, parse_word
from wgfleet.panel.domain.held_settings import HELD
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.errors import Conflict, Invalid, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit, generations, held_settings
from wgfleet.panel.services.fleet import client_settings
from wgfleet.panel.services.fleet.client_settings import ClientSettings
from wgfleet.panel.services.held_settings import HeldChanges
from wgfleet.panel.store import Tx, new_files, shown_peers
from wgfleet.panel.store import held_settings as held_rows
from wgfleet.panel.store import jobs as job_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import rule_sets as rule_set_rows
from wgfleet.panel.store import tags as tag_rows
from wgfleet.panel.store.shown_peers import ShownPeer
from wgfleet.panel.store.tables import Tag
from wgfleet.protocol.reasons import Reason

MAX_NAME = 64
MAX_TAGS = 32  # of one peer
GREY = "#667382"
_COLOR = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6})")


class TagChanges(ClientSettings, HeldChanges, total=False):
    """What may change in a tag; what is left out stays."""

    name: str
    color: str


def create(tx: Tx, actor: str, values: TagChanges) -> Tag:
    """Make a tag. `values` has a name; the color may be left out."""
    wanted = {"color": GREY, **_checked(tx, values)}
    _check_name_is_free(tx, wanted["name"])
    tag = Tag(id=clock.new_id(), created_at=clock.now(), **wanted)
    tag_rows.add(tx, tag)
    audit.record(tx, actor, "created", "tag", tag.id, **wanted)
    return tag


def check(tx: Tx, values: TagChanges) -> None:
    """Refuse what no tag can have."""
    _checked(tx, values)


def delete_unused(tx: Tx, actor: str, tag_ids: Sequence[str]) -> None:
    """Delete those of some tags that nobody has, and that set nothing and limit nobody."""
    found = [tag for tag_id in tag_ids if (tag := tag_rows.find(tx, tag_id)) is not None]
    used = counts(tx, found)
    for tag in found:
        sets = any(value is not None for value in client_settings.of_row(tag).values())
        if tag.id in used or sets or not held_settings.of_row(tag).is_empty:
            continue
        if not job_rows.of_owner(tx, "tag_id", tag.id):
            delete(tx, actor, tag)


def get(tx: Tx, reference: str, within: Limit | None = None) -> Tag:
    """Return a tag by id or name; one that no peer within a limit has is not there."""
    tag = _seen(tx, reference, within)
    if tag is None:
        raise NotFound(Reason("there is no tag {reference!r}", reference=reference), Hint(HintCode.LIST_TAGS))
    return tag


def _seen(tx: Tx, reference: str, within: Limit | None) -> Tag | None:
    tag = tag_rows.find(tx, one_spelling(reference))
    if tag is None or within is None or tag_rows.is_in_configs(tx, tag.id, within.configs):
        return tag
    return None


def check_named(tx: Tx, within: Limit | None, references: Sequence[str], field: str) -> None:
    """Refuse tags that somebody with a limit does not see, in the words for those that do not exist."""
    if within is not None:
        named(tx, references, field, within)


def named(tx: Tx, references: Sequence[str], field: str, within: Limit | None = None) -> list[Tag]:
    """Return the tags that a field of a body names, each once; those that no peer within a limit has are not there."""
    found: dict[str, Tag] = {}
    for i, reference in enumerate(references):
        tag = _seen(tx, reference, within)
        if tag is None:
            raise Invalid(
                Reason("there is no tag {reference!r}", reference=reference),
                Hint(HintCode.LIST_TAGS),
                field=f"{field}[{i}]",
            )
        found[tag.id] = tag
    if len(found) > MAX_TAGS:
        raise Invalid(
            Reason("a peer has at most {most} tags, not {count}", most=MAX_TAGS, count=len(found)), field=field
        )
    return list(found.values())


def page(tx: Tx, after: str | None = None, limit: int = 100, within: Limit | None = None) -> Sequence[Tag]:
    """Return tags in the order of creation, starting after the id `after`; `within`: those of the peers of a limit."""
    return tag_rows.page(tx, after, limit, within)


def counts(tx: Tx, tags: Iterable[Tag], within: Limit | None = None) -> dict[str, int]:
    """Return how many peers (`within` a limit) each tag has, by its id; those without any are left out."""
    return tag_rows.counts(tx, [tag.id for tag in tags], within)


def configs_with(tx: Tx, tag: Tag) -> list[str]:
    """Return the ids of the configs that have peers with a tag."""
    return held_rows.configs_with(tx, tag.id)


def configs_of(tx: Tx, peer_ids: Collection[str]) -> list[str]:
    """Return the ids of the configs of peers."""
    return list(held_rows.by_config(tx, peer_ids))


def peers(tx: Tx, tag_id: str, config_id: str | None, after: str | None, limit: int) -> list[ShownPeer]:
    """Return peers that have a tag in the order of creation, after the id `after`; `config_id` None: of all configs."""
    return shown_peers.tagged(tx, tag_id, config_id, after, limit)


def only(tx: Tx, tag_id: str, rows: Sequence[ShownPeer]) -> list[ShownPeer]:
    """Return those of some peers that have a tag."""
    has = tag_rows.having(tx, tag_id, [peer.id for peer in rows])
    return [peer for peer in rows if peer.id in has]


def update(tx: Tx, actor: str, tag: Tag, changes: TagChanges) -> Tag:
    """Change a tag. Nodes hold its peers to something else at once; files that users have stay as they are."""
    tag = _alone(tx, tag)
    values = _checked(tx, changes)
    changed = {name: value for name, value in values.items() if getattr(tag, name) != value}
    if not changed:
        return tag
    if "name" in changed:
        _check_name_is_free(tx, changed["name"], tag.id)
    holds = not held_settings.of_row(tag).is_empty
    if not set(HELD).isdisjoint(changed) or (holds and "name" in changed):  # of several tags the first by name counts
        held_settings.tag_changed(tx, tag, rules="rule_set" in changed)
    for name, value in changed.items():
        setattr(tag, name, value)
    new_files.of_tag(tx, tag.id, changed)
    audit.record(tx, actor, "updated", "tag", tag.id, **changed)
    return tag


def settings_of(tag: Tag) -> list[str]:
    """Return the names of those settings of files that a tag has."""
    return [name for name in SETTINGS if getattr(tag, name) is not None]


def delete(tx: Tx, actor: str, tag: Tag) -> None:
    """Delete a tag, which leaves its peers as they are otherwise."""
    tag = _alone(tx, tag)
    peers = counts(tx, [tag]).get(tag.id, 0)
    if not held_settings.of_row(tag).is_empty:
        held_settings.tag_changed(tx, tag, rules=bool(tag.rule_set))
    new_files.of_tag(tx, tag.id, settings_of(tag))
    tag_rows.delete_tag(tx, tag)
    audit.record(tx, actor, "deleted", "tag", tag.id, name=tag.name, peers=peers)


def change_peers(tx: Tx, actor: str, tag: Tag, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> int:
    """Give a tag to peers, and take it from others, by their ids; return how many are new to it."""
    for field, peer_ids in (("add", add), ("remove", remove)):
        known = {peer.id for peer in peer_rows.by_ids(tx, peer_ids)}
        for i, peer_id in enumerate(peer_ids):
            if peer_id not in known:
                raise Invalid(
                    Reason("there is no peer {peer_id!r}", peer_id=peer_id),
                    Hint(HintCode.LIST_PEERS),
                    field=f"{field}[{i}]",
                )
    hold_configs(tx, configs_of(tx, {*add, *remove}))
    (tag,) = hold(tx, [tag], "tag")
    held_settings.tags_changed(tx, [tag], {*add, *remove})
    if settings_of(tag):
        moved = {*add} - tag_rows.having(tx, tag.id, add) | set(tag_rows.having(tx, tag.id, remove))
        new_files.of_peers(tx, moved)
    tag_rows.take(tx, tag.id, remove)
    _check_count(tx, tag, add)
    given = tag_rows.give(tx, tag.id, add)
    audit.record(tx, actor, "peers_tagged", "tag", tag.id, name=tag.name, added=len(add), removed=len(remove))
    return given


def set_of_peer(tx: Tx, peer_id: str, tags: Collection[Tag], present: Collection[Tag]) -> None:
    """Give a peer these tags in the place of those that it has at present. Its config is locked."""
    wanted = {tag.id for tag in tags}
    hold(tx, {tag.id: tag for tag in (*tags, *present)}.values(), "tags")
    has = {tag.id for tag in present}
    held_settings.tags_changed(tx, [tag for tag in (*tags, *present) if tag.id in wanted ^ has], [peer_id])
    for tag_id in has - wanted:
        tag_rows.take(tx, tag_id, [peer_id])
    for tag_id in wanted - has:
        tag_rows.give(tx, tag_id, [peer_id])


def hold(tx: Tx, tags: Collection[Tag], field: str) -> list[Tag]:
    """Keep tags, and their sets of rules, as they are until they are given or taken. Lock the configs first."""
    found = tag_rows.hold(tx, [tag.id for tag in tags], alone=False)
    there = {tag.id for tag in found}
    for tag in tags:
        if tag.id not in there:
            raise Invalid(
                Reason("there is no tag {tag!r} any more", tag=tag.name), Hint(HintCode.LIST_TAGS), field=field
            )
    for set_id in sorted({tag.rule_set for tag in found if tag.rule_set}):
        rule_set_rows.hold(tx, set_id, alone=False)
    return found


def hold_configs(tx: Tx, config_ids: Collection[str]) -> None:
    """Lock configs, whose peers get something else."""
    for config_id in sorted(config_ids):
        generations.hold(tx, config_id)


def _alone(tx: Tx, tag: Tag) -> Tag:
    """Keep a tag from being changed or given by others, and return it as it is now."""
    hold_configs(tx, configs_with(tx, tag))
    found = tag_rows.hold(tx, [tag.id], alone=True)
    if not found:
        raise NotFound(Reason("there is no tag {tag!r} any more", tag=tag.name), Hint(HintCode.LIST_TAGS))
    return found[0]


def of_peer(tx: Tx, peer_id: str) -> Sequence[Tag]:
    """Return a peer's tags by name."""
    return tag_rows.of_peer(tx, peer_id)


def names_of(tx: Tx, peer_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the names of each peer's tags, sorted; peers without any are left out."""
    return tag_rows.names_of(tx, peer_ids)


def _check_count(tx: Tx, tag: Tag, peer_ids: Sequence[str]) -> None:
    for peer_id, names in tag_rows.names_of(tx, peer_ids).items():
        if tag.name not in names and len(names) >= MAX_TAGS:
            raise Invalid(
                Reason("peer {peer_id!r} has {most} tags, and may have no more", peer_id=peer_id, most=MAX_TAGS),
                field=f"add[{peer_ids.index(peer_id)}]",
            )


def _checked(tx: Tx, changes: TagChanges) -> dict[str, Any]:
    values: dict[str, Any] = client_settings.checked(changes) | held_settings.checked(tx, changes)
    if "name" in changes:
        values["name"] = parse_word(changes["name"], MAX_NAME)
    if "color" in changes:
        color = changes["color"].lower()
        if not _COLOR.fullmatch(color):
            raise Invalid(
                Reason("must be a color such as #2fb344, not {color!r}", color=changes["color"]), field="color"
            )
        values["color"] = color if len(color) > len("#fff") else "#" + "".join(digit * 2 for digit in color[1:])
    return values


def _check_name_is_free(tx: Tx, name: str, of: str | None = None) -> None:
    look_alikes.check(name, [other for tag_id, other in tag_rows.all_names(tx).items() if tag_id != of])
    if tag_rows.find(tx, name) is not None:
        raise Conflict(Reason("a tag named {name!r} already exists; choose another name", name=name), field="name")
