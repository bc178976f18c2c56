"""Notes, tags and settings of peers; of those, nodes need to know only what they hold peers to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from wgfleet.panel.domain.client_settings import SETTINGS
from wgfleet.panel.domain.fields import one_spelling
from wgfleet.panel.domain.held_settings import HELD
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services import configs, generations, held_settings
from wgfleet.panel.services.fleet import client_settings, peer_nodes, tags
from wgfleet.panel.services.fleet.client_settings import ClientSettings
from wgfleet.panel.services.held_settings import HeldChanges
from wgfleet.panel.store import Tx, new_files
from wgfleet.panel.store import peer_nodes as peer_node_rows
from wgfleet.panel.store import tags as tag_rows
from wgfleet.panel.store.peer_nodes import Places
from wgfleet.panel.store.tables import Config, Peer, Tag
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.reasons import Reason

MAX_NOTES = 4_000
_LINES = str.maketrans("", "", "\n\t")
_CONTROLS = frozenset(map(chr, [*range(32), *range(127, 160), *range(0xD800, 0xE000)]))


@dataclass(frozen=True, slots=True)
class PeerDetails:
    """What a new peer has of it. `tags` are ids or names, `nodes` of nodes and node groups (None: all nodes).

    `kept_nodes`: those of `nodes`, by their ids, that may have left the config, or be gone.
    """

    notes: str = ""
    tags: tuple[str, ...] = ()
    settings: ClientSettings = field(default_factory=ClientSettings)
    held: HeldChanges = field(default_factory=HeldChanges)
    nodes: tuple[str, ...] | None = None
    kept_nodes: Places = frozenset()


class DetailChanges(ClientSettings, HeldChanges, total=False):
    """What may change; what is left out stays. `tags`: all that the peer is to have; `nodes`: that it may use."""

    notes: str
    tags: Sequence[str]
    nodes: Sequence[str] | None


CHANGEABLE = frozenset({"notes", "tags", "nodes", *SETTINGS, *HELD})


def give(tx: Tx, config: Config, details: Sequence[tuple[str, PeerDetails, str]]) -> None:
    """Give new peers their details: (peer id, details, what the names of fields begin with in errors)."""
    networks = configs.networks(tx, [config.id])[config.id]
    columns: dict[str, dict[str, Any]] = {}
    tagged: dict[str, list[str]] = {}
    found: dict[str, Tag] = {}
    tag_ids: dict[tuple[str, ...], list[str]] = {}
    known: dict[str, str] = {}
    for peer_id, each, at in details:
        values = checked(each, networks, at) | held_settings.checked(tx, each.held, at, known)
        if values:
            columns[peer_id] = values
        if each.tags not in tag_ids:
            named = tags.named(tx, each.tags, f"{at}tags")
            tag_ids[each.tags] = [tag.id for tag in named]
            found |= {tag.id: tag for tag in named}
        for tag_id in tag_ids[each.tags]:
            tagged.setdefault(tag_id, []).append(peer_id)
    if found:
        tags.hold(tx, found.values(), "tags")
    tag_rows.set_columns(tx, columns)
    for tag_id, peer_ids in tagged.items():
        tag_rows.give(tx, tag_id, peer_ids)
    held_settings.peers_came(tx, config.id, [peer_id for peer_id, _, _ in details])
    peer_node_rows.put(tx, usable(tx, config, details))


def usable(tx: Tx, config: Config, details: Sequence[tuple[str, PeerDetails, str]]) -> dict[str, Places]:
    """Return what of new peers may use some nodes only, and which; `details` as for `give`."""
    return peer_nodes.of_new(tx, config, [(peer_id, each.nodes, each.kept_nodes, at) for peer_id, each, at in details])


def checked(details: PeerDetails, networks: Sequence[str], at: str) -> dict[str, Any]:
    """Return notes and settings of a new peer's file as rows have them, or name the field that is wrong."""
    values = client_settings.checked(details.settings, networks, at)
    if details.notes:
        values["notes"] = parse_notes(details.notes, f"{at}notes")
    return values


def change(tx: Tx, peer: Peer, changes: DetailChanges) -> list[str]:
    """Change what of it is given; return the names of what is different now."""
    if not {"tags", "nodes", *HELD}.isdisjoint(changes):
        generations.hold(tx, peer.config_id)  # before tags and sets of rules, as all do
    settings = cast("ClientSettings", {name: value for name, value in changes.items() if name in SETTINGS})
    networks = configs.networks(tx, [peer.config_id])[peer.config_id] if settings else []
    values = client_settings.checked(settings, networks) | held_settings.checked(tx, changes)
    if "notes" in changes:
        values["notes"] = parse_notes(changes["notes"], "notes")
    changed = [name for name, value in values.items() if getattr(peer, name) != value]
    if not set(HELD).isdisjoint(changed):
        peer.generation = generations.bump(tx, peer.config_id, settings="rule_set" in changed, topic=Topic.PEERS)
    for name in changed:
        setattr(peer, name, values[name])
    if "tags" in changes:
        wanted, present = tags.named(tx, changes["tags"], "tags"), tag_rows.of_peer(tx, peer.id)
        if {tag.id for tag in wanted} != {tag.id for tag in present}:
            tags.set_of_peer(tx, peer.id, wanted, present)
            changed.append("tags")
            if any(tags.settings_of(tag) for tag in (*wanted, *present)):
                new_files.of_peers(tx, [peer.id])
    if not set(SETTINGS).isdisjoint(changed):
        new_files.of_peers(tx, [peer.id])
    if "nodes" in changes:
        config = configs.get(tx, peer.config_id)
        kept = peer_node_rows.of_peers(tx, [peer.id]).get(peer.id, frozenset())
        places = None if changes["nodes"] is None else peer_nodes.parsed(tx, config, changes["nodes"], kept=kept)
        tx.flush()
        changed += [peer_nodes.FIELD for _ in peer_nodes.put(tx, config, [peer], places)]
    return changed


def parse_notes(text: str, at: str) -> str:
    """Check what administrators write about a peer: lines of text; return their one spelling."""
    notes = one_spelling(text.replace("\r\n", "\n")).strip()
    if len(notes) > MAX_NOTES:
        raise Invalid(
            Reason("must be at most {max_notes} characters, not {count}", max_notes=MAX_NOTES, count=len(notes)),
            field=at,
        )
    if _CONTROLS & {*notes.translate(_LINES)}:
        raise Invalid(Reason("must be lines of text, without control characters"), field=at)
    return notes
