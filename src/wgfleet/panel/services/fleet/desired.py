"""The desired state of a config on a node, rendered from rows: the whole of it, or what changed since a generation."""

import hashlib
from dataclasses import replace
from typing import NamedTuple

import msgspec

from wgfleet.panel.domain import addressing, public_ports, rendering
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.services import reach, rule_sets
from wgfleet.panel.services.configs import INDEPENDENT
from wgfleet.panel.services.fleet import backbone, common_peers, peer_nodes, probe_keys, taken_over
from wgfleet.panel.services.fleet.common_peers import CommonPeers, Keeper, PackedPeers
from wgfleet.panel.services.floating import carriers, isolation, translations
from wgfleet.panel.services.floating.carriers import Carriage
from wgfleet.panel.store import Tx, given_up, histories, sealed
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import floating as floating_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import sessions as session_rows
from wgfleet.panel.store.tables import Assignment, Config, FloatingAddress, Node, Pool
from wgfleet.panel.vault import Vault
from wgfleet.protocol import features
from wgfleet.protocol.addresses import join_endpoint
from wgfleet.protocol.desired import (
    DesiredInterface,
    DesiredPeer,
    FloatingSettings,
    InterfaceDelta,
    InterfaceSettings,
    MuteSettings,
    Push,
)
from wgfleet.protocol.destinations import RuleSet
from wgfleet.protocol.features import Feature
from wgfleet.protocol.ids import ConfigId, Generation, InterfaceName
from wgfleet.protocol.keys import PrivateKey, PublicKey


class PreparedPush(NamedTuple):
    """What is sent to a node. `shared`: JSON members of its `peers` beyond those in `push`, as other nodes get too."""

    push: Push
    shared: bytes = b""


WITNESSES = 8  # that a node asks whether it is cut off; more say nothing more


def whole(
    tx: Tx, vault: Vault, config: Config, assignment: Assignment, keeper: Keeper | None = None
) -> DesiredInterface:
    """Render everything; what it has in common with other nodes is taken from `keeper`, or kept there."""
    common, left_out = _common(tx, vault, config, assignment, 0, keeper)
    upsert, _ = common.without(left_out)
    upsert |= probe_peers(tx, config, assignment)
    return DesiredInterface(
        generation=Generation(config.generation),
        settings=interface(tx, vault, config, assignment, common.rule_sets),
        peers=upsert,
    )


def since(
    tx: Tx, vault: Vault, config: Config, assignment: Assignment, base: int, keeper: Keeper | None = None
) -> InterfaceDelta:
    """Render what changed after generation `base`, which the node has applied."""
    common, left_out = _common(tx, vault, config, assignment, base, keeper)
    upsert, remove = common.without(left_out)
    if config.probes_generation > base:
        upsert |= probe_peers(tx, config, assignment)
    changed = config.settings_generation > base
    return InterfaceDelta(
        name=InterfaceName(config.name),
        config_id=ConfigId(config.id),
        base=Generation(base),
        generation=Generation(config.generation),
        settings=interface(tx, vault, config, assignment, common.rule_sets) if changed else None,
        upsert=upsert,
        remove=remove,
    )


def usable_base(config: Config, assignment: Assignment, applied: int | None) -> int:
    """Return the generation that a delta for a node can start from, given what it has applied; 0: needs the whole."""
    oldest = max(config.oldest_base, assignment.oldest_base)
    return applied if applied is not None and oldest <= applied <= config.generation else 0


def history(tx: Tx, config: Config, assignment: Assignment, generation: int, known: frozenset[Feature]) -> str:
    """Return the history of a generation on a node: who made it, for which assignment, for an agent that knows what.

    What a node has under another one is not what it would be sent, though the number may be the same.
    """
    tied = {feature for names in features.FIELDS.values() for feature in names.values()}
    rendered_for = hashlib.sha256(features.header(known & tied).encode()).hexdigest()[:8]
    return f"{histories.made_by(tx, config.id, generation) or '-'}/{assignment.id}/{rendered_for}"


def prepared(
    tx: Tx,
    vault: Vault,
    config: Config,
    assignment: Assignment,
    base: int,
    known: frozenset[Feature],
    keeper: Keeper,
) -> PreparedPush:
    """Render as `push` does; what a whole has in common with other nodes stays as it is kept, and is not copied."""
    if base == 0 and config.mode != INDEPENDENT:
        common, left_out = _common(tx, vault, config, assignment, 0, keeper)
        packed = common.upsert
        if isinstance(packed, PackedPeers) and packed.needs <= known and common.is_whole_without(left_out):
            own = DesiredInterface(
                generation=Generation(config.generation),
                settings=interface(tx, vault, config, assignment, common.rule_sets),
                peers=probe_peers(tx, config, assignment),
            )
            return PreparedPush(features.for_agent(own, known), packed.members)
    return PreparedPush(push(tx, vault, config, assignment, base, known, keeper))


def in_history(push: Push, history: str, base_history: str) -> Push:
    """Return a push with its history; `base_history` is that of a delta's base."""
    if isinstance(push, DesiredInterface):
        return msgspec.structs.replace(push, history=history)
    return msgspec.structs.replace(push, history=history, base_history=base_history)


def push(
    tx: Tx,
    vault: Vault,
    config: Config,
    assignment: Assignment,
    base: int,
    known: frozenset[Feature] = features.ALL,
    keeper: Keeper | None = None,
) -> Push:
    """Render what brings a node from generation `base` to the present one; from 0 it is the whole.

    Without what its agent, which has the features `known`, does not know.
    """
    if base == 0:
        return features.for_agent(whole(tx, vault, config, assignment, keeper), known)
    return features.for_agent(since(tx, vault, config, assignment, base, keeper), known)


def interface(
    tx: Tx, vault: Vault, config: Config, assignment: Assignment, sets: tuple[RuleSet, ...]
) -> InterfaceSettings:
    """Render the interface alone."""
    return rendering.settings(
        rendering.NetworkValues(
            name=config.name,
            config_id=config.id,
            private_key=private_key(vault, config, assignment),
            listen_port=config.listen_port,
            addresses=tuple(
                addressing.interface_address(pool.network, pool.server_address)
                for pool in served_pools(tx, config, assignment)
            ),
            routes=tuple(peer_rows.networks(tx, config.id, peer_nodes.barred(tx, config, assignment.node_id))),
            mtu=config.mtu,
            masquerade=config.masquerade,
            enabled=config.enabled,
            reach=reach.rendered(tx, config),
            dns=tuple(config.dns),
            floating=_floating(tx, vault, config, assignment),
            mute=_mute(tx, vault, config, assignment),
            backbone=backbone.rendered(tx, vault, config, assignment),
            rule_sets=sets,
        )
    )


def held(tx: Tx, config: Config, assignment: Assignment) -> tuple[str, ...]:
    """Return the floating addresses that a node's agent is to carry: its own, where no other may still have them.

    Also those that another may have whom nobody can ask: the agent finds out first.
    """
    return tuple(row.address for row in _carried(tx, config, assignment, carriers.of_config(tx, config.id)))


def _carried(tx: Tx, config: Config, assignment: Assignment, how: Carriage) -> list[FloatingAddress]:
    if assignment.phase not in {Phase.SERVING, Phase.DRAINING} or not assignment.health.in_use:
        return []
    found = [
        row
        for row in floating_rows.of_config(tx, config.id)
        if (row.holder_node_id == assignment.node_id and (row.leaving_node_id is None or row.contested))
        or (how.bound and row.still_at_node_id == assignment.node_id)
    ]
    on_loopback = how.routed or how.bound
    if found and on_loopback and not carriers.knows_loopback(tx, assignment.node_id):
        return []  # it would have them on a link, where nobody looks for them
    return found if on_loopback or how.on_agent else []


def _floating(tx: Tx, vault: Vault, config: Config, assignment: Assignment) -> FloatingSettings | None:
    how = carriers.of_config(tx, config.id)
    carried = _carried(tx, config, assignment, how)
    takes_part = assignment.phase in {Phase.SERVING, Phase.DRAINING}
    translated = translations.of_config(tx, vault, config.id).get(assignment.node_id, ()) if takes_part else ()
    if not carried and not translated and not (how.routed and takes_part):
        return None
    return FloatingSettings(
        addresses=tuple(row.address for row in carried),
        # Those out of use count too: who reaches them is not the one that is cut off. Where a cloud says who has an
        # address, a node need not give it up: two that have it on loopback do no harm.
        witnesses=()
        if how.bound or translated
        else tuple(
            _outside(config, other, node)
            for other, node in assignment_rows.of_config(tx, config.id)
            if other.id != assignment.id and other.phase in {Phase.SERVING, Phase.DRAINING}
        ),
        probe_key=PrivateKey(probe_keys.of_agent(tx, vault, assignment)),
        give_up_after_s=isolation.give_up_after_s(tx),
        ask_first=tuple(row.address for row in carried if row.contested),
        routed=how.routed,
        bound=how.bound,
        translated=translated,
    )


def _outside(config: Config, assignment: Assignment, node: Node) -> str:
    """Return where other nodes reach the WireGuard of one."""
    port = public_ports.from_outside(config.listen_port, assignment.public_port)
    return join_endpoint(node.endpoint_addresses[0], port)


def _others(tx: Tx, config: Config, assignment: Assignment) -> list[str]:
    """Return where the other nodes of a cluster are, the next ones in order: those that can replace the node."""
    if config.mode == INDEPENDENT:
        return []
    found = [
        (other.id, _outside(config, other, node))
        for other, node in assignment_rows.of_config(tx, config.id)
        if other.id != assignment.id and other.phase != Phase.REMOVED
    ]
    return [endpoint for _, endpoint in sorted(found, key=lambda each: (each[0] < assignment.id, each[0]))][:WITNESSES]


def _mute(tx: Tx, vault: Vault, config: Config, assignment: Assignment) -> MuteSettings | None:
    if not (witnesses := _others(tx, config, assignment)):
        return None
    return MuteSettings(tuple(witnesses), PrivateKey(probe_keys.of_agent(tx, vault, assignment)))


def private_key(vault: Vault, config: Config, assignment: Assignment) -> str:
    """Return the interface's private key: the cluster's, or the node's own."""
    if config.mode == INDEPENDENT:
        return sealed.unseal(vault, Assignment.private_key_sealed, assignment)
    return sealed.unseal(vault, Config.private_key_sealed, config)


def served_pools(tx: Tx, config: Config, assignment: Assignment) -> list[Pool]:
    """Return the pools that a node serves: all of a cluster's, or the node's slices."""
    return assignment_rows.pools(tx, config.id, assignment.id if config.mode == INDEPENDENT else None)


def probe_peers(tx: Tx, config: Config, assignment: Assignment) -> dict[PublicKey, DesiredPeer]:
    """Return those who may shake hands with the node to see that it answers, and reach nothing: panel, other nodes."""
    return {PublicKey(key): DesiredPeer(allowed_ips=()) for key in probe_keys.admitted(tx, config, assignment)}


def _common(
    tx: Tx, vault: Vault, config: Config, assignment: Assignment, since: int, keeper: Keeper | None
) -> tuple[CommonPeers, set[str]]:
    """Return what nodes of a config have in common, and the public keys that this one is not to have of it."""
    pools = [pool.id for pool in served_pools(tx, config, assignment)]

    def render() -> CommonPeers:
        changed = since == 0 or config.settings_generation > since
        sets = rule_sets.rendered(tx, config.id) if changed else ()
        barred = peer_nodes.barred(tx, config, assignment.node_id)
        return replace(common_peers.render(tx, vault, config.id, pools, since, barred), rule_sets=sets)

    if keeper is None or config.mode == INDEPENDENT:
        common = render()
    else:
        common = keeper.get((config.id, since, config.generation), lambda: render() if since else render().packed())
    # A node must stay silent towards peers whose session another node takes over.
    left_out = set(given_up.by_node(tx, assignment.node_id, config.id))
    left_out.add(assignment.public_key or config.public_key or "")  # WireGuard is silent about a peer that is itself
    # One that is out of use keeps the sessions that nobody took over, such as those of a node that was only cut off.
    if not assignment.health.in_use:
        kept = session_rows.kept_by(tx, assignment.node_id, config.id) - {
            *taken_over.since_down(tx, assignment).values()
        }
        left_out |= (common.upsert.keys() | common.unreadable.keys()) - kept
    return common, left_out
