"""Probe keys: those with which panel, nodes and witnesses ask the nodes of a config for a handshake; their rotation.

A rotation goes from step to step as nodes apply the generation of each. Who asks a node uses the new key once that
node has confirmed that it knows it. Nodes in use are waited for: one that is asked with a key that it does not know,
or asks with one that the others do not know any more, would be taken for dead, or take itself for cut off.
"""

from collections.abc import Mapping

from wgfleet.panel import clock
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.domain.probe_keys import RotationStep
from wgfleet.panel.errors import Conflict
from wgfleet.panel.keypairs import new_key_pair
from wgfleet.panel.services import audit, generations
from wgfleet.panel.store import Tx, sealed
from wgfleet.panel.store import assignments as assignment_rows
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store import probe_keys as rotation_rows
from wgfleet.panel.store import witness_keys as witness_rows
from wgfleet.panel.store.tables import Assignment, Config, Node, ProbeKeyRotation, WitnessKey
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason

Asker = Assignment | WitnessKey
"""Who asks the nodes of a config with a key of its own: a node of it, or a witness."""

LEAST_STEP_S = 15.0  # probes under way, and watches that read the rows before, are done with the keys of the last step


def rotation(tx: Tx, config: Config) -> ProbeKeyRotation | None:
    """Return the rotation that is under way, or None."""
    return rotation_rows.rotation(tx, config.id)


def rotations(tx: Tx) -> Mapping[str, ProbeKeyRotation]:
    """Return all that are under way, by config."""
    return {row.config_id: row for row in rotation_rows.rotations(tx)}


def public_keys(asker: Asker) -> list[str]:
    """Return the public keys that a node or a witness may ask others with: one, or an old and a new one."""
    return [key for key in (asker.probe_public_key, asker.next_probe_public_key) if key is not None]


def _askers(tx: Tx, config_id: str) -> list[Asker]:
    return [*(each for each, _ in assignment_rows.of_config(tx, config_id)), *witness_rows.of_config(tx, config_id)]


def in_use(tx: Tx, config: Config) -> set[str]:
    """Return all public keys of a config's probes, old and new."""
    row = rotation(tx, config)
    found = {config.probe_public_key} if row is None else {config.probe_public_key, row.public_key}
    return found | {key for each in _askers(tx, config.id) for key in public_keys(each)}


def admitted(tx: Tx, config: Config, assignment: Assignment) -> list[str]:
    """Return the public keys whose handshakes a node is to answer: of the panel, the other nodes and witnesses."""
    row = rotation(tx, config)
    panel = [config.probe_public_key] if row is None else [config.probe_public_key, row.public_key]
    others = [public_keys(each) for each in _askers(tx, config.id) if each.id != assignment.id]
    if row is None or row.step is not RotationStep.DROPPED:
        return [key for keys in (panel, *others) for key in keys]
    return [keys[-1] for keys in (panel, *others)]


def agents_use_new(tx: Tx, config_id: str) -> bool:
    """Tell whether the agents of a config's nodes use their new keys on their own, where there are two."""
    row = rotation_rows.rotation(tx, config_id)
    return row is not None and row.step is not RotationStep.SPREAD


def of_agent(tx: Tx, vault: Vault, assignment: Assignment) -> str:
    """Return the private key with which a node's agent asks others on its own, to find out whether it is cut off."""
    return of_node(vault, assignment, new=agents_use_new(tx, assignment.config_id))


def public_of_node(asker: Asker, *, new: bool) -> str:
    """Return the public key that belongs to `of_node`."""
    return (asker.next_probe_public_key if new else None) or asker.probe_public_key


def of_node(vault: Vault, asker: Asker, *, new: bool) -> str:
    """Return the private key with which a node or a witness asks others; one that came meanwhile has no `new` one."""
    if new and asker.next_probe_private_key_sealed is not None:
        return sealed.unseal(vault, type(asker).next_probe_private_key_sealed, asker)
    return sealed.unseal(vault, type(asker).probe_private_key_sealed, asker)


def of_panel(vault: Vault, config: Config, row: ProbeKeyRotation | None, *, new: bool) -> str:
    """Return the private key with which the panel asks the nodes of a config."""
    if new and row is not None:
        return sealed.unseal(vault, ProbeKeyRotation.private_key_sealed, row)
    return sealed.unseal(vault, Config.probe_private_key_sealed, config)


def knows_new(row: ProbeKeyRotation | None, assignment: Assignment) -> bool:
    """Tell whether a node is to be asked with new keys: its agent has confirmed them."""
    return row is not None and assignment.applied_generation >= row.known_from


def start(tx: Tx, vault: Vault, actor: str, config: Config) -> ProbeKeyRotation:
    """Begin to replace the probe keys of a config: its nodes learn the new ones."""
    generation = generations.probes_changed(tx, config.id)
    earlier = rotation(tx, config)
    if earlier is not None:
        names = ", ".join(waits_for(tx, earlier))
        way = (
            Reason("it waits for {names}: have the agent reach the panel, or remove the node", names=names)
            if names
            else Reason("wait for it")
        )
        raise Conflict(
            Reason("the probe keys of config {config!r} are being rotated already; {way}", config=config.name, way=way)
        )
    private_key, public_key = new_key_pair()
    row = ProbeKeyRotation(
        config_id=config.id,
        private_key_sealed=sealed.seal(vault, ProbeKeyRotation.private_key_sealed, config.id, private_key),
        public_key=public_key,
        step=RotationStep.SPREAD,
        known_from=generation,
        generation=generation,
        step_since=clock.now(),
        requested_by=actor,
        requested_at=clock.now(),
    )
    rotation_rows.add(tx, row)
    for asker in _askers(tx, config.id):
        private_key, public_key = new_key_pair()
        column = type(asker).next_probe_private_key_sealed
        asker.next_probe_private_key_sealed = sealed.seal(vault, column, asker.id, private_key)
        asker.next_probe_public_key = public_key
    audit.record(tx, actor, "probe_keys_rotating", "config", config.id, name=config.name, generation=generation)
    return row


def waits_for(tx: Tx, row: ProbeKeyRotation) -> list[str]:
    """Return the names of the nodes that have yet to apply the present step.

    Nodes that are down, or do not serve yet, have time until the end: they learn all with their next push.
    """
    return sorted(node.name for _, node in _lacking(tx, row))


def _lacking(tx: Tx, row: ProbeKeyRotation) -> list[tuple[Assignment, Node]]:
    found = [each for each in assignment_rows.of_config(tx, row.config_id) if each[0].phase != Phase.REMOVED]
    if row.step is RotationStep.DROPPED:
        return [each for each in found if each[0].applied_generation < row.known_from]
    return [
        (assignment, node)
        for assignment, node in found
        if assignment.phase != Phase.JOINING
        and assignment.health is not Health.DOWN
        and assignment.applied_generation < row.generation
    ]


def held_up(tx: Tx, since: float) -> str | None:
    """Say that a step which was begun before a time (s since the epoch) waits; without names, as strangers hear it."""
    waiting = [row for row in rotation_rows.rotations(tx) if row.step_since <= since and waits_for(tx, row)]
    if not waiting:
        return None
    configs = "1 config" if len(waiting) == 1 else f"{len(waiting)} configs"
    return f"the probe keys of {configs} are being replaced, and wait for nodes; their status names them"


def is_due(tx: Tx, row: ProbeKeyRotation) -> bool:
    """Tell whether the next step may be taken."""
    return clock.now() - row.step_since >= LEAST_STEP_S and not _lacking(tx, row)


def advance(tx: Tx, vault: Vault, config_id: str) -> None:
    """Take the next step of a config's rotation, if it is due; the last one forgets the old keys."""
    config = config_rows.lock(tx, config_id)
    row = rotation_rows.rotation(tx, config_id)
    if config is None or row is None:
        return
    tx.refresh(row)
    if not is_due(tx, row):
        return
    if row.step is RotationStep.DROPPED:
        _finish(tx, vault, config, row)
        return
    adopting = row.step is RotationStep.SPREAD
    row.generation = generations.bump(tx, config_id, settings=adopting)
    row.step = RotationStep.ADOPTED if adopting else RotationStep.DROPPED
    row.step_since = clock.now()
    if not adopting:
        _drop(tx, config, row)
    audit.record(
        tx, audit.PANEL, f"probe_keys_{row.step}", "config", config_id, name=config.name, generation=row.generation
    )


def _drop(tx: Tx, config: Config, row: ProbeKeyRotation) -> None:
    """Have nodes forget the old keys."""
    found = _askers(tx, config.id)
    old = [config.probe_public_key, *(each.probe_public_key for each in found if each.next_probe_public_key)]
    peer_rows.bury(tx, config.id, dict.fromkeys(old), row.generation, clock.now())
    for each, _ in assignment_rows.of_config(tx, config.id):
        if not knows_new(row, each) and not each.health.in_use:
            # It is asked with old keys until it confirms, and does not know them any more a moment before that: it is
            # used again afterwards only.
            each.oldest_base = row.generation


def _finish(tx: Tx, vault: Vault, config: Config, row: ProbeKeyRotation) -> None:
    """Let the new keys be the only ones here too."""
    private_key = of_panel(vault, config, row, new=True)
    config.probe_private_key_sealed = sealed.seal(vault, Config.probe_private_key_sealed, config.id, private_key)
    config.probe_public_key = row.public_key
    for each in _askers(tx, config.id):
        if each.next_probe_public_key is not None:
            private_key = of_node(vault, each, new=True)
            column = type(each).probe_private_key_sealed
            each.probe_private_key_sealed = sealed.seal(vault, column, each.id, private_key)
            each.probe_public_key = each.next_probe_public_key
            each.next_probe_private_key_sealed = each.next_probe_public_key = None
    rotation_rows.end(tx, row)
    audit.record(tx, audit.PANEL, "probe_keys_rotated", "config", config.id, name=config.name)
