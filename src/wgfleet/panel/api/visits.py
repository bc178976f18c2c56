"""`/api/peers/{peer_id}/sessions`: when a peer was connected, where, and from where."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import Field

from wgfleet.panel import clock
from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.models import Identifier, Limit, Page, View, utc
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.errors import Invalid
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store import Tx, sessions, visits
from wgfleet.panel.store.tables import PeerVisit
from wgfleet.protocol.reasons import Reason

router = subject_router("usage")


class PastSessionView(View):
    """A time for which a peer was connected to a node from one endpoint."""

    node_id: str
    endpoint: str
    began_at: datetime
    last_at: datetime = Field(
        description="When it was last heard of; a session that goes on is heard of every 2 minutes."
    )
    seconds: int = Field(description="How long that is.")


@router.get("/api/peers/{peer_id}/sessions", summary="List when and from where a peer was connected")
def list_sessions(
    panel: ThePanel,
    _caller: Reader,
    peer_id: Identifier,
    after: Annotated[
        str | None, Query(max_length=96, pattern=r"^[!-~]+$", description="Cursor: pass `next` from the page before.")
    ] = None,
    limit: Limit = 100,
) -> Page[PastSessionView]:
    """Newest first. Empty where `usage.session_history` is off."""
    with panel.store.read() as tx:
        peers.shown(tx, peer_id)
        found = visits.page(tx, peer_id, _before(after), limit + 1)
        shown = found[:limit]
        following = "~".join((repr(shown[-1].began_at), shown[-1].node_id)) if len(found) > limit else None
        ends = _ends(tx, peer_id, shown)
    items = [
        PastSessionView(
            node_id=each.node_id,
            endpoint=each.endpoint,
            began_at=utc(each.began_at),
            last_at=utc(last_at),
            seconds=round(last_at - each.began_at),
        )
        for each, last_at in zip(shown, ends, strict=True)
    ]
    return Page[PastSessionView](items=items, next=following)


def _ends(tx: Tx, peer_id: str, shown: Sequence[PeerVisit]) -> list[float]:
    """Return when visits were last heard of: the row of one that goes on is written now and then only."""
    newest, shaken = visits.newest(tx, peer_id), sessions.handshakes(tx, peer_id)
    begins = {*newest.values(), *(each.began_at for each in shown)}
    ends = []
    for each in shown:
        at = min([clock.by_wall(shaken.get(each.node_id, 0)), *(began for began in begins if began > each.began_at)])
        goes_on = each.began_at == newest.get(each.node_id) and 0 < at - each.last_at <= visits.LATE_S
        ends.append(at if goes_on else each.last_at)
    return ends


def _before(after: str | None) -> tuple[float, str] | None:
    if after is None:
        return None
    at, _, node_id = after.partition("~")
    try:
        return float(at), node_id
    except ValueError:
        raise Invalid(Reason("pass `next` of the page before"), field="after") from None
