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
from wgfleet.panel.store.tables import Config, Pool
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
    pools = config_rows.pools(tx, [config.id])
    served = _slices(tx, config) if config.mode == INDEPENDENT else pools
    gateways = [gateway(pool.network, pool.server_address) for pool in served]
    through = [ipaddress.ip_network(text) for text in config.client_allowed_ips]
    entries = {each: rule_set_rows.dns_of(tx, config.id, each) for each in sets}
    servers = {
        each
        for each in {*config.dns, *(entry for some in entries.values() for entry in some)}
        if is_address(each) and in_any(ipaddress.ip_address(each), through)
    }
    networks = [*(pool.network for pool in pools), *peer_rows.networks(tx, config.id)] if servers else []
    of_users = [ipaddress.ip_network(text) for text in networks]
    places = {each: place_of(each, gateways, of_users) for each in servers}

    def among(some: Iterable[str]) -> dict[str, DestinationPlace]:
        """Return where the name servers among entries are, of those that are reached through the tunnel."""
        return {each: places[each] for each in some if each in places}

    return OwnThings(
        gateways=tuple(gateways),
        node_ports=tuple(config.node_ports),
        name_servers=among(config.dns),
        of_sets={each: among(some) for each, some in entries.items()},
    )


def _slices(tx: Tx, config: Config) -> list[Pool]:
    """Return the networks of an independent config's nodes: those of the oldest first, IPv4 before IPv6."""
    found = assignment_rows.slices(tx, config.id)
    return sorted(found, key=lambda pool: (pool.assignment_id or "", ":" in pool.network, pool.id))


def _too_old(tx: Tx, config_id: str) -> tuple[str, ...]:
    """Return the names of the nodes of a config whose agents hold nobody to rules."""
    return tuple(
        sorted(
            node.name
            for assignment, node in assignment_rows.of_config(tx, config_id)
            if (node.connected or node.agent_version is not None)
            and assignment.phase != Phase.REMOVED
            and Feature.RULES not in node.agent_features
        )
    )
