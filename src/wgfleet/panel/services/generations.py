"""The generation of a config's desired state: raised before a change, and overtaken after a restore."""

from wgfleet.panel.errors import NotFound
from wgfleet.panel.services import audit
from wgfleet.panel.store import Tx, histories
from wgfleet.panel.store import configs as config_rows
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.reasons import Reason

MAX_LOST = 2**20  # changes that a copy may be behind: a year of them at one each 30 s


def bump(tx: Tx, config_id: str, *, settings: bool = False, topic: Topic | None = Topic.CONFIG) -> int:
    """Lock the config, raise its generation and return it. Call it first in whatever changes what a node must have.

    It is raised once in a transaction.

    `settings`: the interface itself changes too, not only its peers. `topic`: `PEERS` or `NEW_PEERS` where only
    peers change, which the DNS name of the config does not depend on; None: nobody hears of it yet.
    """
    before = tx.raised.get(config_id)
    generation = config_rows.bump(tx, config_id, settings=settings)
    if generation is None:
        raise NotFound(Reason("there is no config {config_id!r}; it was deleted meanwhile", config_id=config_id))
    if before is None or before[0] != generation:
        _note_who_made(tx, config_id, generation)
    if topic is not None:
        tx.wake(topic, config_id)
    return generation


def hold(tx: Tx, config_id: str) -> None:
    """Lock the config as `bump` does, and leave its generation."""
    config_rows.hold(tx, config_id)


def _note_who_made(tx: Tx, config_id: str, generation: int) -> None:
    incarnation, made_by = histories.newest_and_made_by(tx, config_id, generation)
    if incarnation is not None and made_by != incarnation:
        histories.note(tx, config_id, generation, incarnation)


def probes_changed(tx: Tx, config_id: str) -> int:
    """As `bump`, where the vantage points from which the config's nodes are probed, and their witnesses, change."""
    generation = bump(tx, config_id, settings=True)
    config_rows.set_values(tx, config_id, {"probes_generation": generation})
    return generation


def probe_peers_changed(tx: Tx, config_id: str) -> int:
    """As `bump`, where only those change from whom the config's nodes are probed."""
    generation = bump(tx, config_id, topic=Topic.PEERS)
    config_rows.set_values(tx, config_id, {"probes_generation": generation})
    return generation


def is_plausible(tx: Tx, config_id: str, generation: int) -> bool:
    """Tell whether a config may once have been at a generation that a node claims to have."""
    config = config_rows.find(tx, config_id)
    return config is not None and 0 <= generation <= config.generation + MAX_LOST


def overtake(tx: Tx, config_id: str, generation: int) -> None:
    """Go beyond a generation that a node has and we do not know: this database was restored from an older copy.

    Every node then gets the whole, for what it got in that other history is not recorded here. Ask `is_plausible`
    first: one node must not use up the numbers of all.
    """
    bump(tx, config_id, settings=True)
    beyond = config_rows.overtake(tx, config_id, generation)
    audit.record(tx, audit.PANEL, "generation_overtaken", "config", config_id, found=generation, now=beyond)
