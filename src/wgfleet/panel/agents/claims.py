"""Claims of an agent, cut to a size and cleaned for people's eyes: data of another machine, which may be anything."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from wgfleet.protocol.diff import Drift
from wgfleet.protocol.messages import AgentStatus, Applied, Forwarding

LONGEST_WORDS = 500  # characters; a sentence on one interface
LONGEST_DRIFT = 150  # fields; an agent of ours reports 100 at most
LONGEST_VALUE = 200  # characters of a field, or of what it should be
MOST_NOTES = 100  # on a machine; an agent of ours has a few kinds
MAX_REPORTED = 1000  # interfaces of one node


def words(text: str, longest: int = LONGEST_WORDS) -> str:
    """Return a text with a limit, and without what would move a cursor."""
    clean = "".join(each if each.isprintable() else " " for each in text[:longest])
    return clean if len(text) <= longest else f"{clean[: longest - 3]}..."


def status(found: AgentStatus) -> AgentStatus:
    """Return what an agent says of itself with limits, where it ends up in rows."""
    notes = tuple(words(note) for note in found.notes[-MOST_NOTES:])
    return replace(found, version=words(found.version, LONGEST_VALUE), notes=notes)


def applied(found: Applied) -> Applied:
    """Return the answer to a push with limits."""
    return replace(found, drift=drift(found.drift))


def rivals(found: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return who else has floating addresses, in the order of these."""
    return tuple((words(address), words(who)) for address, who in sorted(found.items()))


def forwarding(found: Iterable[Forwarding]) -> tuple[Forwarding, ...]:
    """Return what was found out of forwarding with limits."""
    return tuple(replace(each, why=words(each.why)) for each in found)


def drift(found: Iterable[Drift]) -> tuple[Drift, ...]:
    """Return drift with limits."""
    return tuple(
        Drift(words(each.field, LONGEST_VALUE), words(each.desired, LONGEST_VALUE), words(each.observed, LONGEST_VALUE))
        for each in tuple(found)[:LONGEST_DRIFT]
    )
