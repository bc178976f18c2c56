"""`/api/configs/{config}/nodes/{node_id}/departure` and `/clients`: who would be cut off if a node left a config."""

from typing import Annotated

from fastapi import Query
from pydantic import Field

from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.hints import sentence
from wgfleet.panel.api.models import MAX_PAGE, LongLimit, NameAfter, Page, Reference, View, cut_after
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.problems import ProblemHint
from wgfleet.panel.api.removals import RelayFor
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services import configs
from wgfleet.panel.services.fleet import assignments, node_groups, nodes
from wgfleet.panel.services.moves import departures
from wgfleet.panel.services.moves.departures import ClientReach, Departure
from wgfleet.panel.services.moves.steps import NAMED
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config, Node

router = subject_router("assignments")
REACH = (
    "`floating`: the node's floating address moves along; `relayed`: it hangs on a relay, which is turned; `answered`: "
    "it answered the last call of another node, at the address that it has; `unknown`: nobody has called it there yet; "
    "`silent`: it did not answer the last call there, so it is behind NAT or a firewall."
)
Names = Annotated[list[str], Field(max_length=NAMED)]


class DepartureView(View):
    """What the node's removal would mean now. Lists have the first 100 names; `GET .../clients` has all."""

    live: int = Field(description="How many peers have a live session on the node.")
    reach: dict[ClientReach, int] = Field(
        description=f"How many of them can be had by other nodes in which way. {REACH}"
    )
    cut_off: Names = Field(
        description="Those that would be cut off: `silent`, unless the node would relay them; and, connected or not, "
        "those that may use no other node of an independent config."
    )
    relayed: Names = Field(description="Those of them that the node relays for `relay_s`, instead of that.")
    unknown: Names = Field(
        description="Those that the removal would call for the first time. It ends without cutting off who is silent."
    )
    can_relay: bool = Field(description="Whether the node can pass on the packets of clients that nobody can call.")
    refusal: str | None = Field(description="Why a removal without `force` is refused for them; null: it is not.")
    hints: list[ProblemHint] = Field(description="The ways out of that; any one of them is enough.")


class LiveClientView(View):
    """A peer with a live session on the node."""

    id: str
    name: str
    endpoint: str
    reach: ClientReach = Field(description=REACH)


def _assigned(tx: Tx, config: str, node_id: str) -> tuple[Config, Node]:
    row, node = configs.get(tx, config), nodes.get(tx, node_id)
    assignments.get(tx, row, node)
    return row, node


@router.get("/api/configs/{config}/nodes/{node_id}/departure", summary="Preview a removal")
def preview_removal(
    panel: ThePanel, _caller: Reader, config: Reference, node_id: Reference, *, relay_s: RelayFor = 0.0
) -> DepartureView:
    """Say who would be called, and cut off, if the node were removed from the config. Changes nothing."""
    with panel.store.read() as tx:
        row, node = _assigned(tx, config, node_id)
        return _view(departures.foresee(tx, row, node), row, node, relay_s)


def _view(found: Departure, config: Config, node: Node, relay_s: float) -> DepartureView:
    refusal: Conflict | None = None
    try:
        departures.check(found, config, node, relay_s=relay_s)
    except Conflict as error:
        refusal = error
    silent = found.of(ClientReach.SILENT)
    relayed = refusal is None and bool(relay_s)
    return DepartureView(
        live=len(found.clients),
        reach=found.counts(),
        cut_off=[*found.stranded.names, *([] if relayed else [client.name for client in silent])][:NAMED],
        relayed=[client.name for client in silent[:NAMED]] if relayed else [],
        unknown=[client.name for client in found.of(ClientReach.UNKNOWN)[:NAMED]],
        can_relay=found.can_relay,
        refusal=None if refusal is None else sentence(refusal.detail, refusal.hints),
        hints=[
            ProblemHint(code=hint.code.value, arguments=hint.arguments)
            for hint in (() if refusal is None else refusal.hints)
        ],
    )


class GroupDepartureView(View):
    """What it would mean for users if one node of the group left one config."""

    config_name: str
    node_name: str
    departure: DepartureView


@router.get("/api/node-groups/{group}/departure", summary="Preview the drain of a node group")
def preview_group_drain(
    panel: ThePanel, _caller: Reader, group: Reference, *, relay_s: RelayFor = 0.0
) -> Page[GroupDepartureView]:
    """Say for each node and config who would be called, and who not reached, if the group were drained now.

    Changes nothing. A drain leaves those who cannot be called where they are; a removal would cut them off.
    """
    with panel.store.read() as tx:
        items = [
            GroupDepartureView(
                config_name=config.name, node_name=node.name, departure=_view(found, config, node, relay_s)
            )
            for config, node, found in departures.of_group(tx, node_groups.get(tx, group))
        ]
        return Page(items=items)


@router.get("/api/configs/{config}/nodes/{node_id}/clients", summary="List the live clients of a node")
def list_live_clients(
    panel: ThePanel,
    _caller: Reader,
    config: Reference,
    node_id: Reference,
    *,
    reach: Annotated[ClientReach | None, Query(description="Only those that other nodes can have in this way.")] = None,
    after: NameAfter = None,
    limit: LongLimit = MAX_PAGE,
) -> Page[LiveClientView]:
    """Those with a live session there, and how another node can have each of them."""
    with panel.store.read() as tx:
        found = departures.foresee(tx, *_assigned(tx, config, node_id)).clients
    wanted = [client for client in found if reach is None or client.reach is reach]
    shown, following = cut_after(wanted, lambda client: client.name, after, limit)
    items = [
        LiveClientView(id=each.peer_id, name=each.name, endpoint=each.endpoint, reach=each.reach) for each in shown
    ]
    return Page(items=items, next=following)
