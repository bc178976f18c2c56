"""`/api/peers/{peer_id}/share-links`: links with which somebody fetches the file of a peer without a sign-in."""

from datetime import datetime
from typing import Annotated

from fastapi import Request, Response, status
from pydantic import Field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.files import NO_STORE
from wgfleet.panel.api.models import Body, Identifier, View, utc
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.passwords import LEAST_OF_LINK, MOST
from wgfleet.panel.services.access.callers import SECRETS
from wgfleet.panel.services.clients import share_links
from wgfleet.panel.services.clients.share_links import DEFAULT_S, LONGEST_S
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store.tables import ShareLink

router = subject_router("files for users")


class NewShareLink(Body):
    """The link to make."""

    one_time: bool = Field(
        default=True, description="Worth nothing once its file was shown; else it works until it expires."
    )
    lasts_s: Annotated[int, Field(ge=60, le=int(LONGEST_S))] = Field(
        default=int(DEFAULT_S), description="After how many seconds it expires."
    )
    password: Annotated[str, Field(max_length=4 * MOST)] | None = Field(
        default=None,
        repr=False,
        description=f"What the user must know too: {LEAST_OF_LINK} to {MOST} characters. Tell it by another way than "
        "the link.",
    )


class ShareLinkView(View):
    """A link, without its secret."""

    id: str
    one_time: bool
    created_by: str
    created_at: datetime
    expires_at: datetime
    has_password: bool
    uses: int = Field(description="How often the file was fetched with it.")
    opened_at: datetime | None = Field(description="When it was opened: last, or, of one for one time, first.")


class NewShareLinkView(ShareLinkView):
    """A new link."""

    link: str = Field(
        description="The address, with its secret behind `#`, which browsers send to nobody. It is never shown again.",
        examples=["https://vpn.example.com/shared#wgd_..."],
    )


class ShareLinksView(View):
    """The links of a peer; there are 20 at most."""

    items: list[ShareLinkView]


def values(row: ShareLink) -> dict[str, object]:
    """Show a link."""
    shown = {name: getattr(row, name) for name in ("id", "one_time", "created_by", "uses")}
    shown["has_password"] = row.password_hash is not None
    return shown | {name: utc(getattr(row, name)) for name in ("created_at", "expires_at", "opened_at")}


def address(panel: Panel, here: str, secret: str) -> str:
    """Return the address of a link. `here`: under which the panel was asked, where it has no public one."""
    return f"{panel.address(here)}/shared#{secret}"


@router.get("/api/peers/{peer_id}/share-links", summary="List the links to the file of a peer")
def list_share_links(panel: ThePanel, _caller: Reader, peer_id: Identifier) -> ShareLinksView:
    with panel.store.read() as tx:
        rows = share_links.listing(tx, peers.get(tx, peer_id).id)
        return ShareLinksView(items=[ShareLinkView.model_validate(values(row)) for row in rows])


@router.post(
    "/api/peers/{peer_id}/share-links", status_code=status.HTTP_201_CREATED, summary="Make a link to a peer's file"
)
def create_share_link(
    panel: ThePanel, caller: Writer, peer_id: Identifier, body: NewShareLink, request: Request, response: Response
) -> NewShareLinkView:
    """Give it to the user. Who has it, and knows its password if any, has the file: code, text and download.

    Needs the scope `secrets` too, as reading the file does.
    """
    caller.need(SECRETS, "giving a file away")
    response.headers.update(NO_STORE)
    kept = share_links.hashed(body.password)
    with panel.store.write() as tx:
        peer = peers.get(tx, peer_id)
        row, secret = share_links.create(
            tx, caller.actor, peer, one_time=body.one_time, lasts_s=body.lasts_s, password_hash=kept
        )
        shown = values(row)
    return NewShareLinkView.model_validate({**shown, "link": address(panel, str(request.base_url), secret)})


@router.delete(
    "/api/peers/{peer_id}/share-links/{link_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Withdraw a link to a peer's file",
)
def delete_share_link(panel: ThePanel, caller: Writer, peer_id: Identifier, link_id: Identifier) -> None:
    with panel.store.write() as tx:
        share_links.delete(tx, caller.actor, peers.get(tx, peer_id), link_id)
