"""Incarnations of the panel: each start is a new one, and each generation of a config belongs to the one that made it.

Agents remember the highest that they obeyed. A panel on an older copy of the database is thereby recognized. One that
the nodes do not obey is superseded (`domain.succession`). It stays so: starting it again must not make it the newest.
"""

from wgfleet.panel import clock
from wgfleet.panel.domain.certificates import NO_KEY
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx, histories, sealed
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store import health as health_rows
from wgfleet.panel.store import installation as installation_rows
from wgfleet.panel.store import nodes as node_rows
from wgfleet.panel.store.tables import Incarnation
from wgfleet.panel.vault import Vault, VaultError
from wgfleet.protocol.panel_name import PanelName

BEYOND = 1_000_000
"""How far a restored database moves beyond itself: more starts and more generations than the lost time had."""


def begin(tx: Tx, *, beyond: int = 1) -> Incarnation:
    """Draw a new incarnation: at each start of the process that decides. One that is superseded stays what it is."""
    last = histories.newest(tx)
    if last is not None and last.refused is not None and beyond == 1:
        return last
    number = (0 if last is None else last.number) + beyond
    incarnation = Incarnation(number=number, id=clock.new_id(), started_at=clock.now(), refused=None)
    histories.add(tx, incarnation)
    return incarnation


def newest(tx: Tx) -> Incarnation | None:
    """Return the incarnation that this database is in."""
    return histories.newest(tx)


def name(tx: Tx, vault: Vault, incarnation: Incarnation) -> PanelName:
    """Return how this panel names itself to agents, with the proof."""
    authority = installation_rows.authority(tx)
    bare = PanelName("-" if authority is None else authority.panel_id, incarnation.number, incarnation.id)
    return PanelName(bare.panel, bare.number, bare.id, sealed.seal_proof(vault, str(bare)))


def proven(vault: Vault, proof: str | None) -> PanelName | None:
    """Return which incarnation a proof is of; None: no panel with our master key made it."""
    try:
        return PanelName.parse(sealed.unseal_proof(vault, proof or ""))
    except VaultError:
        return None


def in_use(tx: Tx) -> frozenset[str]:
    """Return the nodes whose word counts: those that serve a config, or would if they were asked to."""
    return health_rows.nodes_in_use(tx)


def supersede(tx: Tx, number: int, reason: str) -> None:
    """Note that the nodes obey a newer panel: this one decides nothing, now and after the next start."""
    row = histories.incarnation(tx, number)
    if row is not None and row.refused is None:
        row.refused = reason
        audit.record(tx, audit.PANEL, "superseded", "panel", "panel", incarnation=number, reason=reason)


def obeyed_again(tx: Tx, number: int) -> None:
    """Note that most nodes obey this panel after all."""
    row = histories.incarnation(tx, number)
    if row is not None and row.refused is not None:
        row.refused = None
        audit.record(tx, audit.PANEL, "obeyed_again", "panel", "panel", incarnation=number)


def superseded(tx: Tx) -> str | None:
    """Return why this panel decides nothing; None: as far as is known, the nodes obey it."""
    row = histories.newest(tx)
    return None if row is None else row.refused


def restored(tx: Tx, actor: str) -> int:
    """Make this database, which was restored from a copy, the one that counts.

    Agents obey it whatever they have seen, and every node gets the whole. An agent whose certificate was renewed since
    the copy was made is believed by that, until it has the next one. Returns how many configs there are.
    """
    incarnation = begin(tx, beyond=BEYOND)
    node_rows.forget_agent_keys(tx, but=NO_KEY)
    configs = config_rows.all_ids(tx)
    for config_id in configs:
        row = config_rows.lock(tx, config_id)
        if row is not None:
            beyond = config_rows.overtake(tx, config_id, row.generation + BEYOND)
            histories.note(tx, config_id, beyond, incarnation.id)
    audit.record(tx, actor, "restored", "panel", "panel", incarnation=incarnation.number, configs=len(configs))
    return len(configs)
