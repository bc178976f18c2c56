"""Addresses that a config's DNS name should list, and why. Pure: rows decide alone, so a lost wake changes nothing.

What the name lists now plays no part; `plan` compares the two.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from wgfleet.panel.domain.public_ports import elsewhere
from wgfleet.protocol.reasons import Reason, template


class DnsMode(StrEnum):
    """What may be changed at a name."""

    SYNC = "sync"
    UPSERT_ONLY = "upsert_only"  # nothing is deleted
    DRY_RUN = "dry_run"  # nothing is changed


class OnDrift(StrEnum):
    """What to do when somebody else changed our records."""

    REPAIR = "repair"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class DnsNode:
    """A node that carries a config, with what matters for the config's name.

    `in_use`: clients that reach it are served. `leaving`: it is being removed. `cordoned`: no new clients.
    `forwards`: it is not proven that users' packets do not get through it. `trouble`: why clients that find its address
    by the name do not reach it, "" where they do.
    """

    name: str
    addresses: tuple[str, ...]
    in_use: bool
    leaving: bool = False
    cordoned: bool = False
    forwards: bool = True
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class DnsFloatingAddress:
    """A floating address. `in_use`: a node holds it, and clients that reach it are served."""

    address: str
    in_use: bool


@dataclass(frozen=True, slots=True)
class DesiredAddresses:
    """The addresses that a name should list, sorted, and a note that explains an unusual choice.

    None at all means that no node can be listed: the name keeps what it lists.
    """

    addresses: tuple[str, ...]
    note: str | None = None


NO_NODE = Reason("no node serves; the name keeps what it lists, because a name without addresses helps nobody")
NO_HOLDER = Reason("no node that serves holds a floating address; {what}", what=NO_NODE)


def desired_addresses(
    nodes: Iterable[DnsNode], floating: Collection[DnsFloatingAddress], *, only_healthy: bool, min_nodes: int
) -> DesiredAddresses:
    """Choose the addresses that a name should list.

    If the config has floating addresses, those that are held. Otherwise those of the nodes that serve; cordoned nodes
    and those that do not forward are left out as long as `min_nodes` others remain, and those with another port than
    the files say as long as there is any without.
    """
    if floating:
        held = tuple(sorted(one.address for one in floating if one.in_use))
        return DesiredAddresses(held, None if held else NO_HOLDER)
    staying = [node for node in nodes if not node.leaving and (node.in_use or not only_healthy)]
    reached = [node for node in staying if not node.trouble]
    unreached = elsewhere(node.trouble for node in staying) if staying and not reached else None
    staying = reached or staying
    forwarding = [node for node in staying if node.forwards]
    if len(forwarding) >= max(min_nodes, 1):
        staying = forwarding
    chosen = [node for node in staying if not node.cordoned]
    note = unreached
    spare = sorted((node for node in staying if node.cordoned), key=lambda node: (not node.in_use, node.name))
    missing = max(min_nodes, 1) - len(chosen)
    if missing > 0 and spare:
        kept = spare[:missing]
        chosen += kept
        names = ", ".join(node.name for node in kept)
        one = template("cordoned node {names} is still listed: without it fewer than min_nodes={least} would be")
        many = template("cordoned nodes {names} are still listed: without them fewer than min_nodes={least} would be")
        note = Reason(one if len(kept) == 1 else many, names=names, least=max(min_nodes, 1))
    if not chosen:
        return DesiredAddresses((), NO_NODE)
    return DesiredAddresses(tuple(sorted({address for node in chosen for address in node.addresses})), note)
