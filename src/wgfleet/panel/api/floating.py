"""`/api/configs/{config}/floating-addresses`: which node holds which address; moving an address."""

from datetime import datetime
from typing import Annotated

from fastapi import Path, Response, status
from pydantic import Field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.models import MAX_PAGE, After, Body, LongLimit, Page, Reference, Said, View, cut_after, utc
from wgfleet.panel.api.operations import OperationView, lead_to
from wgfleet.panel.api.operations import view as operation_view
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.services.floating import views
from wgfleet.panel.services.moves import address_move
from wgfleet.protocol.addresses import parse_address

router = subject_router("floating addresses")
Address = Annotated[str, Path(max_length=64, pattern=r"^[!-~]+$", description="A floating address of the config.")]


class FloatingAddressView(View):
    """A floating address and its holder."""

    address: str
    node_id: str | None = Field(description="The node that holds it or will hold it; null if no node can.")
    node_name: str | None
    in_use: bool = Field(description="Whether that node is serving clients.")
    held: bool | None = Field(
        description="Whether that node's agent says that the machine has it; null: the agent is not heard, or the "
        "address is on no machine."
    )
    leaving_node_id: str | None = Field(
        description="The former holder, which must give it up first, or from which the provider has yet to bring it; "
        "null if it has."
    )
    leaving_node_name: str | None
    conflict: str | None = Field(
        description="Who else has the address now, as agents report; null if nobody, or only the former holder."
    )
    since: datetime = Field(description="When the holder was last decided.")
    error: Said | None = Field(description="Why the provider could not move it; null if there is no error.")
    failing_since: datetime | None = Field(description="When the provider began to fail.")
    attempts: int = Field(description="Number of consecutive failed attempts.")
    next_try_at: datetime | None = Field(description="Time of the next attempt; null: immediately.")


class MoveBody(Body):
    """The node to move the address to."""

    node: str = Field(max_length=64, pattern=r"^[!-~]+$", description="Id or name of a node that serves the config.")


@router.get("/api/configs/{config}/floating-addresses", summary="List a config's floating addresses")
def list_floating_addresses(
    panel: ThePanel, _caller: Reader, config: Reference, *, after: After = None, limit: LongLimit = MAX_PAGE
) -> Page[FloatingAddressView]:
    """Floating addresses are set in the endpoint group."""
    with panel.store.read() as tx:
        found = views.views(tx, configs.get(tx, config).id)
        shown, following = cut_after(found, lambda each: each.address, after, limit)
        return Page(items=[_view(each) for each in shown], next=following)


def _view(found: views.AddressView) -> FloatingAddressView:
    return FloatingAddressView(
        address=found.address,
        node_id=found.holder.id if found.holder else None,
        node_name=found.holder.name if found.holder else None,
        in_use=found.in_use,
        held=found.held,
        leaving_node_id=found.leaving.id if found.leaving else None,
        leaving_node_name=found.leaving.name if found.leaving else None,
        conflict=found.conflict,
        since=utc(found.since),
        error=found.error,
        failing_since=utc(found.failing_since),
        attempts=found.attempts,
        next_try_at=utc(found.next_try_at),
    )


@router.get("/api/configs/{config}/floating-addresses/{address}", summary="Show a floating address")
def show_floating_address(panel: ThePanel, _caller: Reader, config: Reference, address: Address) -> FloatingAddressView:
    with panel.store.read() as tx:
        return _view(views.view(tx, configs.get(tx, config), parse_address(address, "address")))


@router.post(
    "/api/configs/{config}/floating-addresses/{address}/move",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Move a floating address to another node",
)
def move_floating_address(
    panel: ThePanel, caller: Writer, config: Reference, address: Address, body: MoveBody, response: Response
) -> OperationView:
    """Its clients' sessions move too: the new holder starts handshakes with them from the address."""
    with panel.store.write() as tx:
        row = configs.get(tx, config)
        limits.check_node(tx, caller.limit, body.node, "node")
        operation = address_move.start(
            tx, caller.actor, row, parse_address(address, "address"), nodes.named(tx, body.node, "node")
        )
        shown = operation_view(tx, operation)
    lead_to(response, panel, shown)
    return shown
