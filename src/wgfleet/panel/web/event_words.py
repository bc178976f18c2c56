"""Words for entries of the audit log, as the timeline of events shows them, by kind of event."""

from enum import StrEnum
from typing import NamedTuple

from wgfleet.panel.services.audit import EntryKind
from wgfleet.panel.web.languages import marked

GOOD, POOR, BAD, IDLE = "good", "poor", "bad", "idle"


class EventKind(StrEnum):
    """What an event is about, as people choose it."""

    FAILOVERS = "failovers"
    MOVES = "moves"
    NAMES = "names"
    CHANGES = "changes"


KINDS = {
    EventKind.FAILOVERS: marked("failovers and health"),
    EventKind.MOVES: marked("drains and other moves"),
    EventKind.NAMES: marked("names and floating addresses"),
    EventKind.CHANGES: marked("changes of configs and nodes"),
}


class EventWord(NamedTuple):
    """An event in words, and its mark."""

    text: str
    mark: str = IDLE


_OF_NODES, _OF_ADDRESSES, _OF_NAMES = "config_node", "floating_address", "endpoint_group"
WORDS: dict[EventKind, dict[tuple[str, str], EventWord]] = {
    EventKind.FAILOVERS: {
        (_OF_NODES, "health_down"): EventWord(marked("clients got no answer any more"), BAD),
        (_OF_NODES, "health_suspect"): EventWord(marked("some got no answer"), POOR),
        (_OF_NODES, "health_unmanaged"): EventWord(marked("it served, and its agent did not answer"), POOR),
        (_OF_NODES, "health_recovering"): EventWord(marked("it answered again, and was not used yet"), POOR),
        (_OF_NODES, "health_serving"): EventWord(marked("it served again"), GOOD),
        (_OF_NODES, "failed_over"): EventWord(marked("other nodes took over"), GOOD),
        (_OF_NODES, "recalled"): EventWord(marked("clients were called back from it"), GOOD),
        (_OF_NODES, "forwarding_failed"): EventWord(marked("packets of users did not get through it"), BAD),
        (_OF_NODES, "forwarding_repaired"): EventWord(marked("packets of users got through it again"), GOOD),
        ("health_freeze", "frozen"): EventWord(marked("failover waited for a person"), BAD),
        ("health_freeze", "approved"): EventWord(marked("the failover that waited was approved")),
        ("health_freeze", "approval_used"): EventWord(marked("nodes were taken out of use by an approval")),
        ("health_freeze", "unfrozen"): EventWord(marked("failover waited for nobody any more"), GOOD),
        ("config", "automation_paused"): EventWord(marked("automation was paused"), POOR),
        ("config", "automation_resumed"): EventWord(marked("automation was resumed"), GOOD),
        ("panel", "superseded"): EventWord(marked("nodes obeyed another panel"), BAD),
        ("panel", "obeyed_again"): EventWord(marked("nodes obeyed this panel again"), GOOD),
        ("panel", "restored"): EventWord(marked("the panel was restored from a backup"), POOR),
    },
    EventKind.MOVES: {
        (_OF_NODES, "assigned"): EventWord(marked("the node was assigned")),
        (_OF_NODES, "serving"): EventWord(marked("the node began to serve"), GOOD),
        (_OF_NODES, "draining"): EventWord(marked("its removal began")),
        (_OF_NODES, "removed"): EventWord(marked("the node was removed"), GOOD),
        (_OF_NODES, "removal_ended"): EventWord(marked("its removal ended, and it served on"), POOR),
        (_OF_NODES, "drain_started"): EventWord(marked("its drain began")),
        (_OF_NODES, "drained"): EventWord(marked("its drain ended")),
        (_OF_NODES, "peers_migrated"): EventWord(marked("peers got new homes")),
        (_OF_NODES, "called_back"): EventWord(marked("relayed clients were called back")),
        ("node_group", "drain_started"): EventWord(marked("the drain of the group began")),
        ("node_group", "drained"): EventWord(marked("the drain of the group ended")),
        ("config", "rebalance_started"): EventWord(marked("a rebalance began")),
        ("config", "rebalanced"): EventWord(marked("a rebalance ended")),
        ("config", "peers_migrated"): EventWord(marked("peers got new homes")),
        ("node", "cordoned"): EventWord(marked("it was cordoned")),
        ("node", "uncordoned"): EventWord(marked("it was uncordoned")),
        ("node", "cleanup_owed"): EventWord(marked("it has yet to delete an interface"), POOR),
        ("node", "interface_deleted"): EventWord(marked("it deleted an interface"), GOOD),
        ("node", "cleanup_settled"): EventWord(marked("it had nothing to delete any more"), GOOD),
        ("operation", "cancelled"): EventWord(marked("it was cancelled")),
    },
    EventKind.NAMES: {
        (_OF_NAMES, "dns_updated"): EventWord(marked("the records were changed"), GOOD),
        (_OF_NAMES, "dns_failing"): EventWord(marked("the records could not be changed"), BAD),
        (_OF_NAMES, "dns_recovered"): EventWord(marked("the records could be changed again"), GOOD),
        (_OF_NAMES, "dns_conflict"): EventWord(marked("somebody else's records were at the name"), BAD),
        (_OF_NAMES, "dns_drifted"): EventWord(marked("somebody else changed our records"), POOR),
        (_OF_NAMES, "dns_approval_needed"): EventWord(marked("a change waited for approval"), POOR),
        (_OF_NAMES, "dns_approved"): EventWord(marked("a change was approved")),
        (_OF_NAMES, "dns_adopted"): EventWord(marked("records of others were adopted")),
        (_OF_NAMES, "dns_retried"): EventWord(marked("it was tried again by hand")),
        (_OF_NAMES, "dns_cancelled"): EventWord(marked("the name was left as it is")),
        (_OF_NAMES, "dns_left"): EventWord(marked("records were left behind"), POOR),
        (_OF_ADDRESSES, "moved"): EventWord(marked("the address went to another node")),
        (_OF_ADDRESSES, "move_started"): EventWord(marked("a move of the address began")),
        (_OF_ADDRESSES, "move_ended"): EventWord(marked("a move of the address ended")),
        (_OF_ADDRESSES, "failing"): EventWord(marked("its provider failed"), BAD),
        (_OF_ADDRESSES, "recovered"): EventWord(marked("its provider worked again"), GOOD),
    },
    EventKind.CHANGES: {
        **{
            (entity, action): EventWord(text)
            for action, text in (
                ("created", marked("it was created")),
                ("updated", marked("it was changed")),
                ("deleted", marked("it was deleted")),
            )
            for entity in ("config", "node", "node_group", "tag")
        },
        (_OF_NAMES, "created"): EventWord(marked("its name was set")),
        (_OF_NAMES, "updated"): EventWord(marked("its name was changed")),
        (_OF_NAMES, "deleted"): EventWord(marked("its name was deleted")),
        ("config", "imported"): EventWord(marked("it was imported")),
        ("config", "peers_change_started"): EventWord(marked("a change of many peers began")),
        ("config", "peers_changed"): EventWord(marked("a change of many peers ended")),
        ("config", "peers_moved"): EventWord(marked("a move of many peers ended")),
        ("config", "peers_created"): EventWord(marked("peers were created")),
        ("config", "peers_not_created"): EventWord(marked("peers that were not finished were undone"), POOR),
        ("node", "enrolled"): EventWord(marked("its agent joined"), GOOD),
        ("node", "certificate_renewed"): EventWord(marked("its certificate was renewed")),
        ("node", "addresses_refused"): EventWord(marked("its new addresses were refused"), POOR),
        ("node", "stray_deleted"): EventWord(marked("it deleted an interface of another time")),
    },
}
_ALL = {key: word for words_of in WORDS.values() for key, word in words_of.items()}


def kinds(chosen: EventKind | None = None) -> list[EntryKind]:
    """Return which entries of the audit log are events: all, or those of a kind."""
    return [EntryKind(*key) for kind, of_kind in WORDS.items() if chosen in {None, kind} for key in of_kind]


def words(entry: object) -> EventWord:
    """Return the words for an entry of the audit log; one that has none is shown by its action."""
    entity_type, action = getattr(entry, "entity_type", ""), getattr(entry, "action", "")
    return _ALL.get((entity_type, action), EventWord(action.replace("_", " ")))
