"""`/api/relays` and `/api/configs/{config}/nodes/{node_id}/relays`: who hangs on a relay; their end and their time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Response, status
from pydantic import Field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import MAX_PAGE, After, Body, LongLimit, Page, Reference, ReferenceFilter, View, utc
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.previews import EffectsView
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.moves import relay_control
from wgfleet.panel.services.moves.relay_control import HangingClient
from wgfleet.protocol.relay import MAX_RELAY_S

router = subject_router("relays")
OnePeer = Annotated[
    str | None, Query(max_length=64, description="Only the relay of this peer (id or name); without it, all of them.")
]
Force = Annotated[bool, Query(description="End them also where live clients are cut off by that.")]


class HangingClientView(View):
    """A client whose packets a node passes on to the node that has it."""

    id: str
    config_id: str
    config_name: str
    node_id: str = Field(description="The node that relays it: the one that its device sends to.")
    node_name: str
    peer_id: str
    peer_name: str
    to_node_id: str | None = Field(description="The node that has its session; null: a node that has gone since.")
    to_node_name: str | None
    live: bool = Field(description="Whether it uses the relay now: it would be cut off without.")
    since: datetime
    ends_at: datetime = Field(description="When the node ends it, by itself.")
    wanted_ends_at: datetime | None = Field(
        description="Until when somebody asked for it to last, which the node has yet to confirm; null: nothing."
    )
    ending: bool = Field(description="Whether somebody asked for its end, which the node has yet to confirm.")
    connected: bool = Field(description="Whether the panel is connected to the agent of the node that relays it.")


class Prolongation(Body):
    """For how long clients are to be relayed."""

    relay_s: float = Field(
        gt=0, le=MAX_RELAY_S, allow_inf_nan=False, description="Seconds from now. No relay is made shorter by it."
    )


class AskedRelays(View):
    """Whose relays the node is asked about."""

    peers: list[str] = Field(description="Names. Empty: nobody hangs on a relay there.")


NOBODY: dict[int | str, dict[str, Any]] = {
    200: {"model": AskedRelays, "description": "Nobody hangs on a relay there: nothing was done, and `peers` is empty."}
}


def _view(found: HangingClient) -> HangingClientView:
    row = found.row
    return HangingClientView(
        id=row.id,
        config_id=row.config_id,
        config_name=row.config_name,
        node_id=row.node_id,
        node_name=row.node_name,
        peer_id=row.peer_id,
        peer_name=row.peer_name,
        to_node_id=None if found.to is None else found.to.id,
        to_node_name=None if found.to is None else found.to.name,
        live=found.live,
        since=utc(row.since),
        ends_at=utc(row.ends_at),
        wanted_ends_at=utc(row.wanted_ends_at or None),
        ending=row.wanted_ends_at == 0,
        connected=found.connected,
    )


def _views(found: Sequence[HangingClient]) -> list[HangingClientView]:
    return [_view(each) for each in found]


@router.get("/api/relays", summary="List the clients that hang on relays")
def list_relays(
    panel: ThePanel,
    _caller: Reader,
    *,
    config: ReferenceFilter = None,
    node: ReferenceFilter = None,
    after: After = None,
    limit: LongLimit = MAX_PAGE,
) -> Page[HangingClientView]:
    """List those of a config, of the node that relays them, or all, as the agents said in the last half minute."""
    with panel.store.read() as tx:
        found = relay_control.listing(
            tx,
            None if config is None else configs.get(tx, config),
            None if node is None else nodes.get(tx, node),
            after,
            limit + 1,
        )
        following = found[limit - 1].row.id if len(found) > limit else None
        return Page(items=_views(found[:limit]), next=following)


@router.get(
    "/api/configs/{config}/nodes/{node_id}/relays/deletion", summary="Show who would be cut off by the end of relays"
)
def preview_end_of_relays(
    panel: ThePanel,
    _caller: Writer,
    config: Reference,
    node_id: Reference,
    *,
    peer: OnePeer = None,
    force: Force = False,
) -> EffectsView:
    """Without `force` it is refused as the end itself is, where live clients would be cut off."""
    with panel.store.read() as tx:
        row, node = configs.get(tx, config), nodes.get(tx, node_id)
        clients = relay_control.chosen(tx, row, node, peer)
        if not force:
            relay_control.check_end(tx, row, node, clients)
        return EffectsView(effects=relay_control.effects_of_end(tx, row, node, clients))


@router.delete(
    "/api/configs/{config}/nodes/{node_id}/relays",
    status_code=status.HTTP_202_ACCEPTED,
    responses=NOBODY,
    summary="End relays of a node",
)
def end_relays(
    panel: ThePanel,
    caller: Writer,
    config: Reference,
    node_id: Reference,
    response: Response,
    *,
    peer: OnePeer = None,
    force: Force = False,
) -> AskedRelays:
    """Have the node pass packets of these clients on no more, once its agent answers; they are listed until then.

    Refused without `force` where that cuts live clients off.
    """
    with panel.store.write() as tx:
        row, node = configs.get(tx, config), nodes.get(tx, node_id)
        return _asked(response, relay_control.end(tx, caller.actor, row, node, peer, force=force))


@router.post(
    "/api/configs/{config}/nodes/{node_id}/relays/prolong",
    status_code=status.HTTP_202_ACCEPTED,
    responses=NOBODY,
    summary="Prolong relays of a node",
)
def prolong_relays(
    panel: ThePanel,
    caller: Writer,
    config: Reference,
    node_id: Reference,
    body: Prolongation,
    response: Response,
    *,
    peer: OnePeer = None,
) -> AskedRelays:
    """Tell the node as soon as its agent answers; a relay whose time is over before that has ended."""
    with panel.store.write() as tx:
        row, node = configs.get(tx, config), nodes.get(tx, node_id)
        return _asked(response, relay_control.prolong(tx, caller.actor, row, node, peer, body.relay_s))


def _asked(response: Response, names: list[str]) -> AskedRelays:
    """Say whose relays the node is asked about; of nobody's nothing is under way."""
    if not names:
        response.status_code = status.HTTP_200_OK
    return AskedRelays(peers=names)
