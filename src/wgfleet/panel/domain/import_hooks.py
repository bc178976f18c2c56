"""Hooks of imported interfaces, as text: what of it nodes do by themselves, what a setting does, and what is left.

No hook is ever run. Commands are known by the words that programs of the field put into them; pure.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from wgfleet.protocol.reasons import Reason, template

_PARTS = re.compile(r"[;\n]|&&|\|\|")
_WORDS = re.compile(r"[^\s,\"']+")
_TAKES_BACK = {"postdown", "predown"}
_REFUSES, _SWAPS = {"drop", "reject"}, {"dnat", "redirect"}
_LEFT = template("has no like here; what it does stays yours to do")


class _Command(NamedTuple):
    """A command in lower case, its words, and these as they were: `-I` is not `-i`."""

    text: str
    words: tuple[str, ...]
    as_written: tuple[str, ...]

    def has(self, *words: str) -> bool:
        """Tell whether one of some words is there."""
        return not set(words).isdisjoint(self.words)

    def after(self, *options: str) -> str:
        """Return the word after the first of some options, "" without any."""
        at = next((i for i, word in enumerate(self.as_written[:-1]) if word in options), None)
        return "" if at is None else self.as_written[at + 1]


def _among_users(command: _Command) -> bool:
    return bool(command.after("-i")) and command.after("-i") == command.after("-o")


_Fits = Callable[[_Command], bool]
_KNOWN: tuple[tuple[_Fits, str], ...] = (
    (
        lambda c: "clamp-mss" in c.text or c.has("tcpmss"),
        template("the mtu of the config decides how large packets are"),
    ),
    (lambda c: c.has("masquerade", "snat"), template("nodes masquerade by themselves (--masquerade)")),
    (lambda c: "forward" in c.text and "sys" in c.text, template("nodes turn forwarding on by themselves")),
    (
        lambda c: c.has("forward") and c.has(*_REFUSES) and _among_users(c),
        template("users who do not reach each other are --no-client-to-client of the config"),
    ),
    (
        lambda c: c.has("forward") and c.has(*_REFUSES) and bool(c.after("-d", "daddr")) and not c.has("-p"),
        template("--deny-network {to} of the config, or a rule set, keeps users from there"),
    ),
    (lambda c: c.has("forward") and c.has(*_REFUSES), template("a rule set says where users may connect to")),
    (
        lambda c: (c.has("forward") and c.has("accept")) or c.words[:3] == ("ufw", "route", "allow"),
        template("nodes let users through by themselves"),
    ),
    (
        lambda c: (c.has("input") and c.has("accept") and "dport" in c.text) or c.words[:2] == ("ufw", "allow"),
        template(
            "the port of the config is to be open in the node's firewall; "
            "what else users reach on a node is --node-port"
        ),
    ),
    (
        lambda c: c.has(*_SWAPS),
        template(
            "it forwards a port: the config can listen at that one (--listen-port); one to a user has no like here"
        ),
    ),
    (lambda c: c.has("input") and c.has("accept"), template("what users reach on a node is --node-port of the config")),
    (
        lambda c: c.has("tc") and c.has("rate"),
        template("speeds are --download and --upload of the config, a tag or a peer: {rate}"),
    ),
    (
        lambda c: c.words[:1] == ("ip",) and c.has("route", "rule"),
        template("nodes have routes to their peers by themselves; others stay yours"),
    ),
    (
        lambda c: c.has("resolvconf", "resolvectl", "systemd-resolve"),
        template("DNS servers of users are --dns of the config"),
    ),
)
"""What commands stand for here, each with what it fits; the first counts."""


def translated(hooks: Sequence[str]) -> list[str]:
    """Say of hooks (`PostUp: command`) what their commands stand for here; those that only take back are one remark."""
    said: dict[str, None] = {}
    taken_back = False
    for hook in hooks:
        name, colon, text = hook.partition(":")
        if not colon:
            name, text = "hook", hook
        if name.strip().lower().replace("_", "") in _TAKES_BACK:
            taken_back = True
            continue
        for command in filter(None, map(str.strip, _PARTS.split(text))):
            remark = Reason(
                "a hook is not run ({name}: {command}): {means}",
                name=name.strip(),
                command=command,
                means=_means(command),
            )
            said[remark] = None
    if taken_back:
        said[Reason("hooks that take back what others do (PreDown, PostDown) are not run either")] = None
    return list(said)


def _means(text: str) -> str:
    words = tuple(_WORDS.findall(text))
    command = _Command(text.lower(), tuple(map(str.lower, words)), words)
    for fits, means in _KNOWN:
        if fits(command):
            return Reason(means, to=command.after("-d", "daddr"), rate=command.after("rate"))
    return Reason(_LEFT)
