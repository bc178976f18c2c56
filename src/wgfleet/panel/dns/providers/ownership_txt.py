"""Marks of ownership for providers whose records carry no comment: TXT records beside the name, one for each record.

The record `vpn.example.com A 192.0.2.7` of mark `wgfleet P/C` has at `_wgfleet.vpn.example.com` the TXT string
`wgfleet P/C A 192.0.2.7`. Beside the name and not at it, because a TXT record at the name would be answered to anybody
who asks for it, and none may stand beside a CNAME. Pure.
"""

from collections.abc import Iterable

from wgfleet.panel.domain.dns.records import Record

LABEL = "_wgfleet"
TTL_S = 300  # nobody but us looks, and we ask the primary
_TYPES = ("A", "AAAA", "CNAME")
Key = tuple[str, str]  # type and content of a record


def marker_name(name: str) -> str:
    """Return where the marks of the records at a name are."""
    return f"{LABEL}.{name}"


def text_of(record: Record) -> str:
    """Return the mark of a record that has an owner."""
    return f"{record.owner} {record.type} {record.content}"


def owners(texts: Iterable[str]) -> dict[Key, str]:
    """Return who owns which record, from the TXT strings; strings that are no marks are passed over.

    Of two marks for one record the lesser counts, so that two who marked it at once agree whose it is.
    """
    found: dict[Key, str] = {}
    for text in sorted(texts, reverse=True):
        owner, _, content = text.rpartition(" ")
        owner, _, kind = owner.rpartition(" ")
        if owner and kind in _TYPES:
            found[kind, content] = owner
    return found


def replaced(texts: Iterable[str], gone: Iterable[Record], come: Iterable[Record], kept: Iterable[Record]) -> set[str]:
    """Return the TXT strings that are right after a change: `gone` and `come` changed, `kept` stayed at the name.

    What is no mark, or the mark of somebody who has no part in the change, stays as it is. A mark of one who has, for a
    record that is not there (a change that broke off left it), goes: else whoever makes that record would give it away.
    """
    come, gone = tuple(come), tuple(gone)
    ours = {record.owner for record in (*come, *gone)}
    right = {text_of(record) for record in (*come, *kept) if record.owner is not None}
    lost = {(record.type, record.content) for record in gone}
    result = set(right)
    for text in texts:
        found = owners([text])
        if not found or (set(found.values()).isdisjoint(ours) and set(found).isdisjoint(lost)):
            result.add(text)
    return result
