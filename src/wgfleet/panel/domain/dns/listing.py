"""Which addresses a config's name is to list. Pure: everything is read off rows, so a lost wake changes nothing.

Owns who is listed and why. Must not know what the name lists now; `record_plan` makes the one into the other.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What may be done at a name."""

    SYNC = "sync"
    UPSERT_ONLY = "upsert_only"  # nothing is deleted
    DRY_RUN = "dry_run"  # nothing is changed


class OnDrift(StrEnum):
    """What is done when somebody else changed records that are ours."""

    REPAIR = "repair"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Server:
    """A node that carries a config, as far as its name is concerned.

    `in_use`: clients that reach it are served. `leaving`: it is being removed. `cordoned`: it is to get nobody new.
    """

    name: str
    addresses: tuple[str, ...]
    in_use: bool
    leaving: bool = False
    cordoned: bool = False


@dataclass(frozen=True, slots=True)
class Floating:
    """A floating address. `in_use`: a node holds it, and clients that reach it are served."""

    address: str
    in_use: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """The addresses to be listed, sorted, and what there is to say about them.

    No address means that there is nobody to list: whatever the name lists stays as it is.
    """

    addresses: tuple[str, ...]
    note: str | None = None


NOBODY = "no node serves; what the name lists stays, for a name without addresses helps nobody"


def listed(servers: Iterable[Server], floating: Collection[Floating], *, only_healthy: bool, min_nodes: int) -> Listed:
    """Say which addresses a name is to list.

    Floating ones, where the config has any: they are made to be reached. Else those of the nodes that serve, without
    cordoned ones as long as `min_nodes` others are left.
    """
    if floating:
        held = tuple(sorted(one.address for one in floating if one.in_use))
        return Listed(held) if held else Listed((), "no floating address is held by a node that serves; " + NOBODY)
    staying = [server for server in servers if not server.leaving and (server.in_use or not only_healthy)]
    chosen = [server for server in staying if not server.cordoned]
    note = None
    spare = sorted(
        (server for server in staying if server.cordoned), key=lambda server: (not server.in_use, server.name)
    )
    missing = max(min_nodes, 1) - len(chosen)
    if missing > 0 and spare:
        kept = spare[:missing]
        chosen += kept
        names = ", ".join(server.name for server in kept)
        note = f"listed although cordoned: {names}, for else fewer than {max(min_nodes, 1)} nodes would be (min_nodes)"
    if not chosen:
        return Listed((), NOBODY)
    return Listed(tuple(sorted({address for server in chosen for address in server.addresses})), note)
