"""Forwarding: what nodes found out by packets of users' addresses, and which nodes are preferred for it. Pure.

A node that lets nobody through serves nobody. So others are preferred, as long as there are any: a config without nodes
would be worse.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict, TypeVar

from wgfleet.panel.domain.phases import Phase
from wgfleet.protocol.forwarding_words import recognized
from wgfleet.protocol.messages import ForwardingState
from wgfleet.protocol.reasons import Reason, joined
from wgfleet.protocol.releases import Release

T = TypeVar("T")
_IPV6 = 6


class ForwardingFound(TypedDict):
    """What was found out for an IP version, as the rows have it."""

    version: int
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Forwards:
    """What is known of a node as a whole; `why` names the IP version where there are two."""

    state: ForwardingState
    why: str


def overall(found: Sequence[ForwardingFound]) -> Forwards | None:
    """Sum up what was found out; None: nothing was.

    IPv4 decides where users have both: without IPv6 they go by IPv4, and most of the internet has nothing else.
    """
    by_version = sorted(found, key=lambda each: each["version"] == _IPV6)
    if not by_version:
        return None
    words = [recognized(each["why"]) for each in by_version]
    if len(words) > 1:
        versions = [each["version"] for each in by_version]
        named = (Reason("IPv{version}: {why}", version=n, why=why) for n, why in zip(versions, words, strict=True))
        return Forwards(ForwardingState(by_version[0]["state"]), joined(named))
    return Forwards(ForwardingState(by_version[0]["state"]), words[0])


def unknown(found: Sequence[ForwardingFound], phase: Phase, *, connected: bool, release: Release) -> str | None:
    """Say why nothing was found out yet, None where something was."""
    if found:
        return None
    if phase == Phase.JOINING:
        return Reason("it is joining: its agent tries it once it has the interface")
    if not connected:
        return Reason("its agent does not answer the panel, and has said nothing of it before")
    if release is Release.OLDER:
        return Reason("its agent is of an earlier release, which may not try it: upgrade it")
    return Reason("its agent has not tried it yet: it does within seconds after it has the interface")


def fails(found: Sequence[ForwardingFound]) -> bool:
    """Tell whether it is proven that users' packets do not get through."""
    whole = overall(found)
    return whole is not None and whole.state is ForwardingState.FAILED


def preferred(items: Iterable[T], fails_at: Callable[[T], bool]) -> list[T]:
    """Return those that forward, or may, where there are any; otherwise all."""
    every = list(items)
    return [each for each in every if not fails_at(each)] or every
