"""Forward chains of a machine, and what they do with users' packets by the rules that nftables lists. Pure.

Says that packets are dropped only where that is sure: a rule that it cannot judge may match or not, and may then do
anything, so such chains are never complained of. Neither are those that let TCP pass, or UDP. Rules of iptables-nft are
in nftables as well; those of iptables-legacy are not.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

Network = IPv4Network | IPv6Network
_ACCEPT, _DROP, _FALL = "accept", "drop", "fall"  # `fall`: the chain ends without a verdict
_ANYTHING = frozenset({_ACCEPT, _DROP, _FALL})
_NO_EFFECT = {"counter", "log", "mangle"}
_FAMILIES = {4: ("ip", "inet"), 6: ("ip6", "inet")}
PROTOCOLS = {"udp": 17, "tcp": 6}
_OTHERS = {"icmp", "icmpv6", "sctp", "dccp", "udplite", "esp", "ah", "comp"}  # what those two are not
_ACTIVE = {"owner", "persist"}  # flags of tables that are in use; `dormant` is none, and nft 1.0.6 prints other words
_UNKNOWN_FORM = (KeyError, TypeError, ValueError, AttributeError)
# Targets of iptables after which the next rule has its say.
_PASSING_TARGETS = {"LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CT", "TRACE"}
_STATE = re.compile(r"\bct state (?P<not>!= )?(?P<states>[a-z]+(,[a-z]+)*)(?= |$)")
_HANDLE = re.compile(r"\s*(?P<text>.*) # handle (?P<handle>\d+)$")
_Rule = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet on its way through: `source` and `target` are where it is from and to; None: anywhere."""

    from_link: str
    to_link: str
    source: Network | None
    target: Network | None
    state: str  # as conntrack has it
    protocol: str = "udp"  # of `PROTOCOLS`

    @property
    def version(self) -> int:
        """Its IP version."""
        return (self.source or self.target or ip_network("0.0.0.0/0")).version


@dataclass(slots=True)
class Chain:
    """A chain: `policy` is None unless it is one that the kernel calls for forwarded packets."""

    family: str
    table: str
    name: str
    policy: str | None = None
    rules: list[_Rule] = field(default_factory=list)


def parse(listed: Mapping[str, Any], text: str = "") -> list[Chain]:
    """Read what `nft -j list ruleset` prints, and with `-a` in place of `-j`: only that has the states of iptables.

    Nothing is read of a listing in a form that is not known.
    """
    try:
        return _parsed(listed, text)
    except _UNKNOWN_FORM:
        return []


def _parsed(listed: Mapping[str, Any], text: str) -> list[Chain]:
    chains: dict[tuple[str, str, str], Chain] = {}
    unused: set[tuple[str, str]] = set()
    states = _states(text)
    for each in listed.get("nftables", ()):
        if (table := each.get("table")) and not _ACTIVE.issuperset(map(str, _listed(table.get("flags", [])))):
            unused.add((table["family"], table["name"]))
        elif made := each.get("chain"):
            policy = made.get("policy", "accept") if made.get("hook") == "forward" else None
            key = made["family"], made["table"], made["name"]
            chains[key] = Chain(*key, policy)
        elif rule := each.get("rule"):
            state = states.get((rule["family"], rule["table"], rule["handle"]))
            terms = [state if state and has_states([term]) else term for term in rule.get("expr", [])]
            chains[rule["family"], rule["table"], rule["chain"]].rules.append(terms)
    return [chain for key, chain in chains.items() if key[:2] not in unused]


def has_states(terms: Iterable[dict[str, Any]]) -> bool:
    """Whether a rule compares states as iptables does, which its JSON does not show."""
    return any((term.get("xt") or {}).get("name") == "conntrack" for term in terms)


def _states(text: str) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Return the comparisons of states by family, table and handle, of rules that ask conntrack for nothing else."""
    found, table = {}, ("", "")
    for line in text.splitlines():
        if line.startswith("table "):
            _, family, name, *_ = line.split()
            table = family, name
        elif (rule := _HANDLE.match(line)) and rule["text"].count("ct ") == 1 and (said := _STATE.search(rule["text"])):
            match = {"op": "!=" if said["not"] else "in", "left": {"ct": {"key": "state"}}}
            found[*table, int(rule["handle"])] = {"match": {**match, "right": said["states"].split(",")}}
    return found


def dropping(chains: Sequence[Chain], packet: Packet) -> Chain | None:
    """Return a chain that surely drops the packet, as one of each of `PROTOCOLS` if there is such; None: one may pass.

    It is the first of those, whatever the others say.
    """
    first, *others = ([*_dropping(chains, replace(packet, protocol=protocol))] for protocol in PROTOCOLS)
    if not first or not all(others):
        return None
    return next((chain for chain in first if all(chain in each for each in others)), first[0])


def _dropping(chains: Iterable[Chain], packet: Packet) -> Iterator[Chain]:
    known = [chain for chain in chains if chain.family in _FAMILIES[packet.version]]
    course = _Course(packet, {(chain.family, chain.table, chain.name): chain for chain in known})
    for chain in known:
        if chain.policy is not None:
            outcomes = course.outcomes(chain)
            if {chain.policy if each == _FALL else each for each in outcomes} == {_DROP}:
                yield chain


class _Course:
    """The ways that a packet may take through chains, each of which is judged once."""

    def __init__(self, packet: Packet, known: Mapping[tuple[str, str, str], Chain]) -> None:
        self._packet = packet
        self._known = known
        self._found: dict[tuple[str, str, str], frozenset[str]] = {}

    def outcomes(self, chain: Chain) -> frozenset[str]:
        """Return all that the chain may do."""
        key = chain.family, chain.table, chain.name
        if key not in self._found:
            self._found[key] = _ANYTHING  # of one that leads back to itself, which the kernel refuses
            self._found[key] = self._run(chain)
        return self._found[key]

    def _run(self, chain: Chain) -> frozenset[str]:
        possible: set[str] = set()
        for rule in chain.rules:
            try:
                matches, verdict, leaves = self._judge(rule, chain)
            except _UNKNOWN_FORM:
                matches, verdict, leaves = None, _ANYTHING, False
            if matches is False or verdict is None:
                continue
            possible |= verdict if leaves else verdict - {_FALL}
            if matches and (leaves or _FALL not in verdict):
                return frozenset(possible)
        return frozenset(possible | {_FALL})

    def _judge(self, rule: _Rule, chain: Chain) -> tuple[bool | None, frozenset[str] | None, bool]:
        """Return whether a rule matches (None: it may), what it may do then, and whether the chain ends with it."""
        matches: bool | None = True
        for statement in rule:
            ((word, value),) = statement.items()
            if word == "match":
                found = _matches(value, self._packet)
                if found is False:
                    return False, None, False
                matches = matches if found else None
            elif word in {"accept", "drop", "reject"}:
                return matches, frozenset({_ACCEPT if word == "accept" else _DROP}), True
            elif word == "return":
                return matches, frozenset({_FALL}), True
            elif word in {"jump", "goto"}:
                target = self._known.get((chain.family, chain.table, value["target"]))
                outcomes = _ANYTHING if target is None else self.outcomes(target)
                return matches, outcomes, word == "goto"
            elif word in {"vmap", "queue"} or (word == "xt" and _may_decide(value)):
                return None, _ANYTHING, False
            elif word not in _NO_EFFECT:  # a match or a limit that is not known here
                matches = None
        return matches, None, False


def _may_decide(extension: Mapping[str, Any] | None) -> bool:
    """Whether an extension of iptables is a target that may accept or drop."""
    if extension is None:  # an nft that does not say
        return True
    return extension.get("type") == "target" and extension.get("name") not in _PASSING_TARGETS


def _matches(match: Mapping[str, Any], packet: Packet) -> bool | None:
    """Whether a comparison is true; None where that cannot be said."""
    left, wanted, negated = match["left"], _listed(match["right"]), match["op"] == "!="
    if match["op"] not in {"==", "!=", "in"} or not isinstance(left, dict):
        return None
    found: bool | None = None
    if "meta" in left:
        found = _meta(left["meta"]["key"], wanted, packet)
    elif "ct" in left:
        found = _conntrack(left["ct"]["key"], wanted, packet)
    elif "payload" in left:
        found = _payload(left["payload"], wanted, packet)
        if found is False and "field" in left["payload"] and _is_other(left["payload"].get("protocol"), packet):
            return False  # it is no packet of that protocol, so no comparison of its fields is true
    return found if found is None else found != negated


def _listed(value: Any) -> list[Any]:
    if isinstance(value, dict) and "set" in value:
        value = value["set"]
    return value if isinstance(value, list) else [value]


def _meta(key: str, wanted: list[Any], packet: Packet) -> bool | None:
    links = {"iifname": packet.from_link, "iif": packet.from_link, "oifname": packet.to_link, "oif": packet.to_link}
    if key in links:
        if not all(isinstance(each, str) for each in wanted) or any(each.startswith("@") for each in wanted):
            return None
        return any(fnmatchcase(links[key], each) for each in wanted)
    if key == "l4proto":
        return _among({packet.protocol, PROTOCOLS[packet.protocol]}, wanted)
    if key == "nfproto":
        return _among({f"ipv{packet.version}"}, wanted) if {"ipv4", "ipv6"}.issuperset(map(str, wanted)) else None
    return None


def _conntrack(key: str, wanted: list[Any], packet: Packet) -> bool | None:
    if key == "state":
        return _among({packet.state}, wanted)
    if key == "status" and set(map(str, wanted)) == {"dnat"}:  # users' packets are masqueraded, and go where they say
        return False
    return None


def _payload(payload: Mapping[str, Any], wanted: list[Any], packet: Packet) -> bool | None:
    protocol, name = payload.get("protocol"), payload.get("field")
    if _is_other(protocol, packet):
        return False
    if protocol not in {"ip", "ip6"}:
        return None
    if name in {"protocol", "nexthdr"}:
        return _among({packet.protocol, PROTOCOLS[packet.protocol]}, wanted)
    ours = {"saddr": packet.source, "daddr": packet.target}.get(str(name))
    if ours is None:
        return None
    networks = [_network(each) for each in wanted]
    if any(each is not None and each.version == ours.version and _within(ours, each) for each in networks):
        return True
    return False if all(each is not None and not ours.overlaps(each) for each in networks) else None


def _is_other(protocol: object, packet: Packet) -> bool:
    """Whether the packet cannot have a header of this protocol."""
    return protocol in {*_OTHERS, *(PROTOCOLS.keys() - {packet.protocol}), "ip6" if packet.version == 4 else "ip"}  # noqa: PLR2004 - IP versions and sizes


def _among(ours: set[Any], wanted: list[Any]) -> bool | None:
    if any(isinstance(each, dict) or (isinstance(each, str) and each.startswith("@")) for each in wanted):
        return None
    return not ours.isdisjoint(wanted)


def _within(inner: Network, outer: Network) -> bool:
    return (
        outer.prefixlen <= inner.prefixlen
        and outer.network_address == inner.supernet(new_prefix=outer.prefixlen).network_address
    )


def _network(value: object) -> Network | None:
    try:
        if isinstance(value, dict) and "prefix" in value:
            return ip_network(f"{value['prefix']['addr']}/{value['prefix']['len']}")
        return ip_network(str(value))
    except ValueError:  # a range, or a named set
        return None
