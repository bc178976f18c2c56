"""Peers by the set of destination rules that they are held to, and what of the VPN itself they are to reach.

`domain.destination_effects` says what that means, and what a change of it does, without a transaction.
"""

import ipaddress
from collections.abc import Iterable

from wgfleet.panel.domain.addressing import gateway
from wgfleet.panel.domain.destination_effects import OwnThings, RulesOfConfig
from wgfleet.panel.domain.destination_rules import in_any, place_of
from wgfleet.panel.domain.fields import is_address
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import held_settings, rule_sets
from wgfleet.panel.services.configs import INDEPENDENT
from wgfleet.panel.services.held_settings import SupposedTag
from wgfleet.panel.store import Tx, homes
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import held_settings as held_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import rule_sets as rule_set_rows
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.destinations import DestinationPlace
from wgfleet.protocol.features import Feature


def at_present(tx: Tx, config_ids: Iterable[str], supposed: SupposedTag | None = None) -> list[RulesOfConfig]:
    """Return who is held to what, of some configs; `supposed`: what is taken to be so."""
    found = []
    for config_id in config_ids:
        config = config_rows.find(tx, config_id)
        if config is None:
            continue
        own = held_rows.of_peers_in(tx, config_id)
        of_others, of_some = held_settings.in_effect(tx, config_id, own, None, supposed)
        sets = rule_sets.by_ids(tx, {of_others.rule_set, *(held.rule_set for held in of_some.values())})
        found.append(
            RulesOfConfig(
                name=config.name,
                peers=homes.of_configs(tx, [config_id]).get(config_id, 0),
                of_others=of_others.rule_set or "",
                of_some={peer_id: held.rule_set or "" for peer_id, held in of_some.items()},
                sets=sets,
                own=_own_things(tx, config, sets),
                too_old=_too_old(tx, config_id),
            )
        )
    return found


def _own_things(tx: Tx, config: Config, sets: Iterable[str]) -> OwnThings:
    gateways = _gateways(tx, config)
    of_users = [*(pool.network for pool in config_rows.pools(tx, [config.id])), *peer_rows.networks(tx, config.id)]
    through = [ipaddress.ip_network(text) for text in config.client_allowed_ips]

    def places(entries: Iterable[str]) -> dict[str, DestinationPlace]:
        """Return where the name servers among entries are, of those that are reached through the tunnel."""
        servers = [each for each in entries if is_address(each)]
        return {
            each: place_of(each, gateways, of_users) for each in servers if in_any(ipaddress.ip_address(each), through)
        }

    return OwnThings(
        gateways=tuple(gateways),
        node_ports=tuple(config.node_ports),
        name_servers=places(config.dns),
        of_sets={each: places(rule_set_rows.dns_of(tx, config.id, each)) for each in sets},
    )


def _gateways(tx: Tx, config: Config) -> list[str]:
    """Return the addresses of nodes in the tunnel."""
    if config.mode != INDEPENDENT:
        return [gateway(pool.network) for pool in config_rows.pools(tx, [config.id])]
    return [
        gateway(pool.network)
        for assignment, _ in assignment_rows.of_config(tx, config.id)
        for pool in assignment_rows.pools(tx, config.id, assignment.id)
    ]


def _too_old(tx: Tx, config_id: str) -> tuple[str, ...]:
    """Return the names of the nodes of a config whose agents hold nobody to rules."""
    return tuple(
        sorted(
            node.name
            for assignment, node in assignment_rows.with_nodes(tx, [config_id])
            if (node.connected or node.agent_version is not None)
            and assignment.phase != Phase.REMOVED
            and Feature.RULES not in node.agent_features
        )
    )
