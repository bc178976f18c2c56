"""Peers of calls that have not ended: they go where such a call was cut off, so nobody else may count on them."""

from collections.abc import Collection, Mapping

from wgfleet.panel.domain import look_alikes
from wgfleet.panel.errors import Conflict
from wgfleet.panel.store import Tx
from wgfleet.panel.store import peer_batches as batch_rows
from wgfleet.panel.store import peers as peer_rows
from wgfleet.panel.store.tables import Peer
from wgfleet.protocol.reasons import Reason

ABANDONED_S = 30.0  # without a slice, though its maker lives; one that waits for its turn has it, or fails, after ten
LOOKED_FOR_S = 2.0  # between two looks for batches whose maker died, or that are abandoned
AGAIN_S = LOOKED_FOR_S + 1  # until it is worth while to ask again: that of a dead maker is gone, and most others ended


def check_ended(tx: Tx, config_id: str, peer_ids: Collection[str], field: str | None = None) -> None:
    """Refuse to use or change peers of a config of which some are of an unfinished batch. Call it once they are read.

    What is in no batch when it was read stays: batches have new peers only.
    """
    batches = batch_rows.unfinished(tx, config_id) if peer_ids else []
    if all(ids.isdisjoint(peer_ids) for ids in batches):
        return
    which = Reason("this peer is") if len(peer_ids) == 1 else Reason("some of these peers are")
    raise Conflict(
        Reason(
            "{which} of a call that has not ended; what a call has made that was cut off is taken back within seconds; "
            "try again in {again_s:.0f} s",
            which=which,
            again_s=AGAIN_S,
        ),
        field=field,
        retry_after_s=AGAIN_S,
    )


def check_new_name(tx: Tx, peer: Peer, name: str) -> None:
    """Refuse a name for a peer that another one has, or that looks the same."""
    if name != peer.name:
        others = peer_rows.clashes(tx, peer.config_id, [name], [])[0] - {peer.name}
        check_name(tx, peer.config_id, name, {look_alikes.seen(each): each for each in others}, "name")


def check_name(tx: Tx, config_id: str, name: str, taken: Mapping[str, str], field: str) -> None:
    """Refuse a name that a peer has, or that looks the same; say so where that one is of an unfinished batch.

    `taken`: names by what is seen of them.
    """
    other = taken.get(look_alikes.seen(name))
    if other is None:
        return
    check_ended(tx, config_id, [peer.id for peer in peer_rows.named(tx, config_id, [other])], field)
    look_alikes.check(name, [other], field)
    raise Conflict(Reason("a peer named {name!r} already exists; choose another name", name=name), field=field)
