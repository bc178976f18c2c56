"""Destination rules as people type and read them: `allow tcp/443,8000-8100 192.0.2.0/24 outside`. Pure.

Commands and pages give a rule as a line; the API takes it apart.
"""

from collections.abc import Mapping
from typing import Any

from wgfleet.protocol.destinations import DestinationPlace, DestinationTransport
from wgfleet.protocol.reasons import Reason

RULE_EXAMPLE = "allow tcp/443,8000-8100 192.0.2.0/24 outside"
_ACTIONS = {"allow": True, "deny": False}
_TRANSPORTS = {each.value for each in DestinationTransport} - {DestinationTransport.ANY.value}
_PLACES = {each.value for each in DestinationPlace} - {DestinationPlace.ANYWHERE.value}


def rule_of(line: str) -> dict[str, Any]:
    """Return the rule that a line says, as the API takes it; raise `ValueError`, in words, where it says none.

    `allow` or `deny` first; then in any order, each once at most: tcp, udp or icmp, with `/PORTS` or without; users,
    node or outside; networks. Whether ports and networks are some, the API finds out.
    """
    action, *words = line.lower().replace(", ", ",").split() or [""]
    if action not in _ACTIONS:
        raise ValueError(
            Reason(
                "{line!r} begins with neither allow nor deny, as in: {rule_example}",
                line=line,
                rule_example=RULE_EXAMPLE,
            )
        )
    rule: dict[str, Any] = {"allow": _ACTIONS[action]}

    def note(name: str, value: object) -> None:
        if name in rule:
            raise ValueError(
                Reason("{line!r} says {name} twice; join networks by commas, or write two rules", line=line, name=name)
            )
        rule[name] = value

    for word in words:
        transport, slash, ports = word.partition("/")
        if transport in _TRANSPORTS:
            note("transport", transport)
            if slash:
                note("ports", ports.split(","))
        elif word in _PLACES:
            note("place", word)
        elif "." in word or ":" in word:
            note("networks", [each for each in word.split(",") if each])
        else:
            raise ValueError(
                Reason(
                    "{word!r} is neither a protocol (tcp, udp, icmp, with ports: tcp/443), nor a place (users, node, "
                    "outside), nor a network, as in: {rule_example}",
                    word=word,
                    rule_example=RULE_EXAMPLE,
                )
            )
    return rule


def rule_text(rule: Mapping[str, Any]) -> str:
    """Return the line that says a rule of the API."""
    words = ["allow" if rule["allow"] else "deny"]
    if (transport := rule.get("transport", "any")) != DestinationTransport.ANY.value:
        words.append(f"{transport}/{','.join(ports)}" if (ports := rule.get("ports")) else transport)
    if networks := rule.get("networks"):
        words.append(",".join(networks))
    if (place := rule.get("place", "anywhere")) != DestinationPlace.ANYWHERE.value:
        words.append(place)
    return " ".join(words)
