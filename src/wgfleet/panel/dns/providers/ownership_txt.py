"""Ownership marks for providers whose records carry no comment: TXT records beside the name, one for each record.

The record `vpn.example.com A 192.0.2.7` of mark `wgfleet P/C` has at `_wgfleet.vpn.example.com` the TXT string
`wgfleet P/C A 192.0.2.7`. Beside the name and not at it, because a TXT record at the name would show in
everybody's queries of it, and none may stand beside a CNAME. And whether a change fits what stands there. Pure.
"""

from collections.abc import Iterable

from wgfleet.panel.dns.providers import Raced
from wgfleet.panel.domain.dns.records import Record
from wgfleet.panel.errors import PermanentError
from wgfleet.protocol.reasons import Reason

LABEL = "_wgfleet"
TTL_S = 300  # only we read them, and from the primary
_TYPES = ("A", "AAAA", "CNAME")
Key = tuple[str, str]  # type and content of a record


def marker_name(name: str) -> str:
    """Return the name of the TXT records that mark the records at a name."""
    return f"{LABEL}.{name}"


def text_of(record: Record) -> str:
    """Return the mark of a record that has an owner."""
    return f"{record.owner} {record.type} {record.content}"


def owners(texts: Iterable[str]) -> dict[Key, str]:
    """Return the owner of each record, from the TXT strings; strings that are not marks are skipped.

    Of two marks for one record the lesser counts, so that two panels that marked it at once agree on the owner.
    """
    found: dict[Key, str] = {}
    for text in sorted(texts, reverse=True):
        owner, _, content = text.rpartition(" ")
        owner, _, kind = owner.rpartition(" ")
        if owner and kind in _TYPES:
            found[kind, content] = owner
    return found


def replaced(
    texts: Iterable[str], removed: Iterable[Record], added: Iterable[Record], kept: Iterable[Record]
) -> set[str]:
    """Return the TXT strings that belong after a change: records in `removed` and `added` changed, `kept` did not.

    Strings that are not marks, and marks of owners that the change does not concern, stay. Of owners that it does
    concern, a mark without a record (left by an interrupted change) is dropped: otherwise that record would be theirs
    if somebody else created it.
    """
    added, removed = tuple(added), tuple(removed)
    ours = {record.owner for record in (*added, *removed)}
    right = {text_of(record) for record in (*added, *kept) if record.owner is not None}
    unowned = {(record.type, record.content) for record in removed}
    result = set(right)
    for text in texts:
        found = owners([text])
        if not found or (set(found.values()).isdisjoint(ours) and set(found).isdisjoint(unowned)):
            result.add(text)
    return result


def left_alone(
    name: str, records: Iterable[Record], removed: Iterable[Record], added: Iterable[Record]
) -> list[Record]:
    """Return the records at a name that a change leaves alone.

    Raise `Raced` where it does not fit those that stand there, `PermanentError` where it adds some beside an alias.
    """
    kept = {(record.type, record.content): record for record in records}
    for record in removed:
        there = kept.pop((record.type, record.content), None)
        if there is None or there.owner != record.owner:
            raise Raced(
                Reason(
                    "{name} has no {type} {content} of {owner} now",
                    name=name,
                    type=record.type,
                    content=record.content,
                    owner=record.owner or "nobody",
                )
            )
    for record in added:
        if (record.type, record.content) in kept:
            raise Raced(
                Reason("{name} already has {type} {content}", name=name, type=record.type, content=record.content)
            )
        # A service refuses such an addition, and a server of RFC 2136 silently ignores it (section 3.4.2.2).
        if any(kind == "CNAME" for kind, _ in kept):
            raise PermanentError(
                Reason("{name} is an alias (CNAME), which can have no address beside it; delete it first", name=name)
            )
    return list(kept.values())
