"""The probe keys of witnesses: one for each config that a node has, so that they look at the nodes of all configs.

A witness gets nothing else, and each key only with the request to look. Nodes admit it as a peer without allowed IPs.
"""

from wgfleet.panel import clock
from wgfleet.panel.keypairs import new_key_pair
from wgfleet.panel.services import generations
from wgfleet.panel.services.fleet import probe_keys
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import witness_keys as witness_rows
from wgfleet.panel.store.tables import Node, WitnessKey
from wgfleet.panel.vault import Vault


def for_new_witness(tx: Tx, vault: Vault, node: Node) -> None:
    """Have the nodes of all configs admit a witness."""
    for config_id in witness_rows.assigned_configs(tx):  # in order, so that no two wait for each other's rows
        generations.probe_peers_changed(tx, config_id)
        _add(tx, vault, config_id, node.id)


def for_config(tx: Tx, vault: Vault, config_id: str) -> None:
    """Have the nodes of a config, whose generation the caller has raised, admit the witnesses that have no key yet."""
    known = {row.node_id for row in witness_rows.of_config(tx, config_id)}
    for node in witness_rows.witnesses(tx):
        if node.id not in known:
            _add(tx, vault, config_id, node.id)


def forget(tx: Tx, node: Node) -> None:
    """Have nodes admit a witness no more."""
    for row in witness_rows.of_node(tx, node.id):
        generation = generations.probe_peers_changed(tx, row.config_id)
        peer_rows.bury(tx, row.config_id, dict.fromkeys(probe_keys.public_keys(row)), generation, clock.now())
        witness_rows.delete(tx, row)


def _add(tx: Tx, vault: Vault, config_id: str, node_id: str) -> None:
    key_id = clock.new_id()
    private_key, public_key = new_key_pair()
    row = WitnessKey(
        id=key_id,
        config_id=config_id,
        node_id=node_id,
        probe_private_key_sealed=sealed.seal(vault, WitnessKey.probe_private_key_sealed, key_id, private_key),
        probe_public_key=public_key,
    )
    witness_rows.add(tx, row)
