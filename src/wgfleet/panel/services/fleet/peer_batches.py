"""Many peers made by one call, a slice in each transaction: no other change, and no decision, waits for all of them.

It is all or none. What a batch has made is undone where a slice cannot be made, and where nobody goes on with it: the
process that made it was killed. So are tags and config that were made for it, unless somebody uses them by then.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from wgfleet.panel import clock
from wgfleet.panel.errors import Unavailable
from wgfleet.panel.services import audit, configs, generations, rule_sets, tunnel_networks, usage
from wgfleet.panel.services.fleet import peers, tags
from wgfleet.panel.services.fleet.peers import Created, PeerDraft
from wgfleet.panel.services.fleet.unfinished_peers import ABANDONED_S
from wgfleet.panel.store import Tx
from wgfleet.panel.store import peer_batches as batch_rows
from wgfleet.panel.store.tables import Config, PeerBatch
from wgfleet.panel.store.wakes import Topic
from wgfleet.protocol.addresses import parse_address
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

SLICE = 250  # peers in a transaction, which takes 15 ms with them
FIELD = "peers"
"""The path of the list in the request, for errors."""


def begin(
    tx: Tx,
    batch_id: str,
    config: Config,
    drafts: Sequence[PeerDraft],
    prefix: str | None = None,
    *,
    made_config: bool = False,
) -> None:
    """Note that peers are about to be made. `batch_id`: new, and held by who makes them. `prefix`: of numbered names.

    `made_config`: the config was made for them, and goes if they do.
    """
    batch = PeerBatch(
        id=batch_id,
        config_id=config.id,
        peer_ids=[draft.id for draft in drafts],
        name_prefix=prefix,
        last_number=None if prefix is None else _number(prefix, drafts[-1]),
        touched_at=clock.now(),
        made_config=made_config,
        tag_ids=None,
    )
    batch_rows.add(tx, batch)


def beyond_others(tx: Tx, config: Config, prefix: str, drafts: Sequence[PeerDraft]) -> Sequence[PeerDraft]:
    """Give drafts that are numbered other numbers where batches under way have these; call it before `begin`."""
    generations.hold(tx, config.id)  # of two that begin, the second sees the first
    last = batch_rows.last_number(tx, config.id, prefix)
    if last is None or last < _number(prefix, drafts[0]):
        return drafts
    return peers.numbered(tx, config, prefix, drafts, last + 1)


def _number(prefix: str, draft: PeerDraft) -> int:
    return int(draft.spec.name.removeprefix(prefix))


def add(
    tx: Tx,
    batch_id: str,
    config: Config,
    drafts: Sequence[PeerDraft],
    first: int,
    *,
    panel_hosts: Mapping[str, str] = tunnel_networks.NOTHING,
    spoken_for: Collection[str] = (),
) -> Created:
    """Make a slice of a batch, whose peers are in its list from the number `first` on. No node hears of it yet.

    `spoken_for`: what those of later slices want.
    """
    _go_on(tx, batch_id, config.id)
    return peers.add(
        tx, config, drafts, field=FIELD, first=first, panel_hosts=panel_hosts, topic=None, spoken_for=spoken_for
    )


def add_made(tx: Tx, batch_id: str, made_ids: Sequence[str]) -> None:
    """Note tags and rule sets that were made for the peers, and go if those do."""
    batch = batch_rows.find(tx, batch_id)
    if batch is None:
        raise _too_late()
    _go_on(tx, batch_id, batch.config_id)
    batch_rows.set_tags(tx, batch_id, [*(batch.tag_ids or ()), *made_ids])


def wanted(drafts: Sequence[PeerDraft]) -> set[str]:
    """Return the addresses that some of a batch want. What those of later slices want, nobody else of it gets."""
    found = set()
    for draft in drafts:
        for text in draft.spec.addresses:
            with suppress(FieldError):  # it is refused with its own slice
                found.add(parse_address(text, FIELD))
    return found


def complete(tx: Tx, batch_id: str, actor: str, config: Config, drafts: Sequence[PeerDraft]) -> None:
    """End a batch whose peers are all made, and have nodes get them."""
    _go_on(tx, batch_id, config.id)
    batch_rows.delete(tx, batch_id)
    peers.record_created(tx, actor, config, drafts)
    tx.wake(Topic.NEW_PEERS, config.id)


def _go_on(tx: Tx, batch_id: str, config_id: str) -> None:
    generations.hold(tx, config_id)  # before its batches, as who deletes it does
    if not batch_rows.touch(tx, batch_id, clock.now()):
        raise _too_late()


def _too_late() -> Unavailable:
    return Unavailable(Reason("the peers were not made in time, and none of them stays; try again"), retry_after_s=1)


def under_way(tx: Tx) -> dict[str, bool]:
    """Return all batches by id: whether so long has passed since the last slice that nobody can be going on with it."""
    since = clock.now() - ABANDONED_S
    return {batch_id: touched_at < since for batch_id, touched_at in batch_rows.all_under_way(tx)}


def undo(tx: Tx, actor: str, batch_id: str) -> bool:
    """Take back some of what a batch has made, or end it; tell whether there may be more.

    From the first time on it is given up: who made it, and comes back after all, makes no more.
    """
    batch = batch_rows.find(tx, batch_id)
    if batch is None:
        return False
    generations.hold(tx, batch.config_id)  # before its batches, as who deletes it does
    before = batch_rows.find(tx, batch_id)  # as it is now that nobody else writes
    if before is None or not batch_rows.give_up(tx, batch_id):
        return False
    if before.touched_at != batch_rows.GIVEN_UP:  # what it has made by now is all that it ever has
        batch_rows.set_peers(tx, batch_id, batch_rows.made(tx, before.peer_ids))
        batch = batch_rows.find(tx, batch_id) or before
    config = configs.get(tx, batch.config_id)
    ids = batch_rows.made(tx, batch.peer_ids, SLICE)
    if ids:
        peers.remove(tx, config, ids)
        usage.close_balances(tx, ids)
        return True
    if batch.tag_ids:
        tags.delete_unused(tx, actor, batch.tag_ids[:SLICE])
        rule_sets.delete_unused(tx, actor, batch.tag_ids[:SLICE])
        batch_rows.set_tags(tx, batch_id, batch.tag_ids[SLICE:])
        return True
    audit.record(tx, actor, "peers_not_created", "config", config.id, count=len(batch.peer_ids))
    batch_rows.delete(tx, batch_id)
    if batch.made_config and not batch_rows.are_under_way(tx, config.id):
        configs.delete_unused(tx, actor, config)
    return False
