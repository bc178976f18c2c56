"""Effects of destination rules: who is held to which set, what they reach no more, and what a set takes by accident.

Sentences for people: for who is about to change something, and for who looks at a set.
"""

import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from wgfleet.panel.domain.addressing import gateway
from wgfleet.panel.domain.destination_changes import lost
from wgfleet.panel.domain.destination_rules import UserConnection, allows, in_any, place_of
from wgfleet.panel.domain.fields import is_address
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import held_settings, rule_sets
from wgfleet.panel.services.configs import INDEPENDENT
from wgfleet.panel.store import Tx, homes
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import held_settings as held_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import rule_sets as rule_set_rows
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.destinations import DestinationPlace, DestinationTransport, RuleSet
from wgfleet.protocol.features import Feature

_DNS_PORT = 53
_PING = DestinationTransport.ICMP


@dataclass(frozen=True, slots=True)
class RulesOfConfig:
    """Who of a config is held to which set, at one time. `of_some`: by peer; `of_others`: all the rest, `peers` in all.

    A set by its id, "": none. `sets`: what they say.
    """

    config: Config
    peers: int
    of_others: str
    of_some: Mapping[str, str]
    sets: Mapping[str, RuleSet]

    def of(self, peer_id: str) -> str:
        return self.of_some.get(peer_id, self.of_others)

    def counted(self) -> Counter[str]:
        """Return how many are held to each set."""
        found = Counter(self.of_some.values())
        found[self.of_others] += self.peers - len(self.of_some)
        return found


def at_present(tx: Tx, config_ids: Iterable[str]) -> list[RulesOfConfig]:
    """Return who is held to what, of some configs."""
    found = []
    for config_id in config_ids:
        config = config_rows.find(tx, config_id)
        if config is None:
            continue
        of_others, of_some = held_settings.in_effect(tx, config_id, held_rows.of_peers_in(tx, config_id), None)
        found.append(
            RulesOfConfig(
                config,
                homes.of_configs(tx, [config_id]).get(config_id, 0),
                of_others.rule_set or "",
                {peer_id: held.rule_set or "" for peer_id, held in of_some.items()},
                {each.name: each for each in rule_sets.rendered(tx, config_id)},
            )
        )
    return found


def of_change(tx: Tx, before: Iterable[RulesOfConfig], after: Iterable[RulesOfConfig]) -> list[str]:
    """Say what is different for users. `before` and `after`: of the same configs, in the same order."""
    said = []
    for old, new in zip(before, after, strict=True):
        changed: Counter[tuple[str, str]] = Counter()
        special = {*old.of_some, *new.of_some}
        for peer_id in special:
            changed[old.of(peer_id), new.of(peer_id)] += 1
        changed[old.of_others, new.of_others] += max(old.peers, new.peers) - len(special)
        begins = 0
        for (was, now), number in sorted(changed.items()):
            if number:
                said += _of_peers(tx, old, new, was, now, number)
                begins += number if now and not was else 0
        if begins and (nodes := not_held_on(tx, [new.config.id])):
            said.append(
                f"{_are(nodes)} too old an agent, and hold{'s' * (len(nodes) == 1)} nobody to rules: upgrade it"
            )
    return said


def _of_peers(tx: Tx, old: RulesOfConfig, new: RulesOfConfig, was: str, now: str, number: int) -> list[str]:
    """Say what is different for some peers of a config, who were held to one set and are to another."""
    before, after = old.sets.get(was), new.sets.get(now)
    whom = f"{number} peer{'s' * (number != 1)} of {new.config.name!r}"
    said = []
    if gone := lost(before, after):
        said.append(f"{whom} reach{'es' * (number == 1)} no more: {_several(gone)}; that ends open connections too")
    if more := lost(after, before):
        said.append(f"{whom} reach{'es' * (number == 1)} from now on, as far as the config lets them: {_several(more)}")
    had = own_things_denied(tx, new.config, before)
    return [*said, *(f"{whom}: {each}" for each in own_things_denied(tx, new.config, after) if each not in had)]


def _several(said: Collection[str]) -> str:
    return " | ".join(said)


def own_things_denied(tx: Tx, config: Config, rules: RuleSet | None) -> list[str]:
    """Say which of the VPN's own things a set denies to those of a config who are held to it."""
    if rules is None:
        return []
    own = _gateways(tx, config)
    of_users = [*(pool.network for pool in config_rows.pools(tx, [config.id])), *peer_rows.networks(tx, config.id)]
    through = [ipaddress.ip_network(text) for text in config.client_allowed_ips]
    said = []
    for text in dict.fromkeys([*config.dns, *rule_set_rows.dns_of(tx, config.id, rules.name)]):
        if not is_address(text) or not in_any(ipaddress.ip_address(text), through):
            continue
        place = place_of(text, own, of_users)
        if not _allowed(rules, text, place, DestinationTransport.UDP, _DNS_PORT):
            said.append(f"no name is resolved by {text}, the name server in their files: allow udp/53 and tcp/53 to it")
        elif not _allowed(rules, text, place, DestinationTransport.TCP, _DNS_PORT):
            said.append(f"long answers of {text}, the name server in their files, are lost: allow tcp/53 to it")
    denied = [each for each in own if not _allowed(rules, each, DestinationPlace.NODE, _PING, 0)]
    if denied:
        said.append(
            f"pings of {' and '.join(denied)}, by which one sees that the tunnel works, get no answer: allow icmp"
        )
    closed = [text for text in config.node_ports if not any(_opens(rules, each, text) for each in own)]
    if closed:
        said.append(f"{', '.join(closed)} of the node, which the config opens (node_ports), stays closed to them")
    return said


def _gateways(tx: Tx, config: Config) -> list[str]:
    """Return the addresses of nodes in the tunnel."""
    if config.mode != INDEPENDENT:
        return [gateway(pool.network) for pool in config_rows.pools(tx, [config.id])]
    return [
        gateway(pool.network)
        for assignment, _ in assignment_rows.of_config(tx, config.id)
        for pool in assignment_rows.pools(tx, config.id, assignment.id)
    ]


def _opens(rules: RuleSet, address: str, node_port: str) -> bool:
    transport, _, ports = node_port.partition("/")
    first, _, last = ports.partition("-")
    by = DestinationTransport(transport)
    return all(_allowed(rules, address, DestinationPlace.NODE, by, int(port)) for port in {first, last or first})


def _allowed(rules: RuleSet, address: str, place: DestinationPlace, transport: DestinationTransport, port: int) -> bool:
    return allows(rules, UserConnection(ipaddress.ip_address(address), transport, port, place))


def not_held_on(tx: Tx, config_ids: Collection[str]) -> list[str]:
    """Return the names of nodes that have some configs, and whose agents hold nobody to rules as they are too old."""
    return sorted(
        {
            node.name
            for assignment, node in assignment_rows.with_nodes(tx, list(config_ids))
            if (node.connected or node.agent_version is not None)
            and assignment.phase != Phase.REMOVED
            and Feature.RULES not in node.agent_features
        }
    )


def _are(nodes: Collection[str]) -> str:
    return f"node{'s' * (len(nodes) != 1)} {', '.join(nodes)} {'has' if len(nodes) == 1 else 'have'}"
