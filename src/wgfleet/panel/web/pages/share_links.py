"""Links to the files of peers: made and withdrawn by who may read files, opened by who was given one."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request
from starlette.responses import Response

from wgfleet.doors.strangers import source_of
from wgfleet.panel import origin
from wgfleet.panel.api import files as file_answers
from wgfleet.panel.api.auth import SecretReader, Writer
from wgfleet.panel.api.models import Identifier
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.share_links import address, values
from wgfleet.panel.errors import Invalid, PanelError
from wgfleet.panel.qr_images import data_uri
from wgfleet.panel.services.access.callers import SECRETS
from wgfleet.panel.services.clients import share_links
from wgfleet.panel.services.clients.platforms import Platform
from wgfleet.panel.services.clients.share_links import (
    PREFIX,
    FetchedFiles,
    KnownLink,
    LinkPasswordMissing,
    LinkPasswordWrong,
)
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.tokens import MOST_LETTERS, pasted
from wgfleet.panel.web.addresses import from_outside
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.link_secrets import unseen
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.pages.jobs import told_to_user
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.panel.web.visitors import TheVisitor, Visitor

router = page_router()
T = TypeVar("T")
DAY_S = 86400
MOST_DIGITS = 4  # of a number of days
NO_LINK = marked("paste the whole link that you were given")
NO_DAYS = marked("must be a number of days")


@router.get("/peers/{peer_id}/links")
def links_page(request: Request, panel: ThePanel, _caller: SecretReader, peer_id: Identifier) -> Response:
    return _links(request, panel, peer_id, SubmittedForm())


@router.post("/peers/{peer_id}/links")
def make_link(request: Request, panel: ThePanel, caller: Writer, peer_id: Identifier, form: TheForm) -> Response:
    """Make a link, and show it once."""
    caller.need(SECRETS, "giving a file away")
    days = form.get("days").strip()
    # The password is typed again, and stands in no page.
    kept, password_hash = SubmittedForm({name: each for name, each in form.values.items() if name != "password"}), None
    if not (days.isascii() and days.isdigit() and len(days) <= MOST_DIGITS):
        kept.wrong["days"] = NO_DAYS
    with kept.noting():
        password_hash = share_links.hashed(form.get("password") or None)
    if kept.wrong:
        return _links(request, panel, peer_id, kept)
    try:
        with panel.store.write() as tx:
            peer = peers.get(tx, peer_id)
            _, secret = share_links.create(
                tx,
                caller.actor,
                peer,
                one_time=form.ticked("one_time"),
                lasts_s=float(int(days) * DAY_S),
                password_hash=password_hash,
            )
    except REFUSALS as error:
        return _links(request, panel, peer_id, kept.refused(error))
    return _links(
        request, panel, peer_id, SubmittedForm(), made=address(panel, from_outside(request, panel, ""), secret)
    )


@router.post("/peers/{peer_id}/links/{link_id}/delete")
def withdraw_link(
    request: Request, panel: ThePanel, caller: Writer, peer_id: Identifier, link_id: Identifier
) -> Response:
    with panel.store.write() as tx:
        share_links.delete(tx, caller.actor, peers.get(tx, peer_id), link_id)
    return gone_on(request, f"/peers/{peer_id}/links")


def _links(request: Request, panel: Panel, peer_id: str, form: SubmittedForm, made: str | None = None) -> Response:
    with panel.store.read() as tx:
        peer = peers.get(tx, peer_id)
        context: dict[str, Any] = {
            "peer": {"id": peer.id, "name": peer.name},
            "links": [values(row) for row in share_links.listing(tx, peer.id)],
            "form": form,
            "made": made,
        }
        return page(request, "share_links/links.html", context, status=form.status)


@router.get("/shared")
def shared_page(request: Request) -> Response:
    """Ask for the link: its secret stands behind `#`, where scripts put it in, and nothing on the way has it."""
    return unseen(page(request, "share_links/open.html", {"form": SubmittedForm(), "asks_password": False}))


@router.post("/shared")
def show_shared(request: Request, panel: ThePanel, visitor: TheVisitor, form: TheForm) -> Response:
    """Show the file. Only this, which a person asks for, uses a link up: programs that look at links do not."""
    values = {"secret": form.get("secret")[:MOST_LETTERS]}
    try:
        link, found = _fetch(request, panel, visitor, form, lambda found: found)
    except LinkPasswordMissing:
        context = {"form": SubmittedForm(values), "asks_password": True}
        return unseen(page(request, "share_links/open.html", context))
    except PanelError as error:
        shown = SubmittedForm(values).refused(error)
        context = {"form": shown, "asks_password": error.field == "password" or "password" in form.values}
        return unseen(page(request, "share_links/open.html", context, status=shown.status))
    with panel.store.read() as tx:
        told = told_to_user(tx, found.peer_id)
    codes = {each.file_name: data_uri(each.text) for each in found.files}  # some 15 ms each, and no writer waits
    context = {"shared": found, "codes": codes, **values, "proof": link.proof(visitor.secret), **told}
    return unseen(page(request, "share_links/shared.html", context))


@router.post("/shared/file")
def download_shared(request: Request, panel: ThePanel, visitor: TheVisitor, form: TheForm) -> Response:
    platform = next((each for each in Platform if each == form.get("format")), Platform.CONF)

    def made(found: FetchedFiles) -> Response:
        return file_answers.for_platform(file_answers.choose(found.files, form.get("node") or None), platform)

    return unseen(_fetch(request, panel, visitor, form, made)[1])


def _fetch(
    request: Request, panel: Panel, visitor: Visitor, form: SubmittedForm, made: Callable[[FetchedFiles], T]
) -> tuple[KnownLink, T]:
    """Return a link, and what is made of its files; where that is refused, the link is not used, nor a file taken."""
    secret = pasted(form.get("secret"))
    if not secret.startswith(PREFIX):
        raise Invalid(NO_LINK, field="secret")
    remote = origin.of(request.scope)
    with panel.link_guesses.guess(source_of(remote)), panel.store.read() as tx:  # who only guesses holds up nobody
        link = share_links.known(tx, secret)
    if not share_links.is_proven(link, form.get("proof"), visitor.secret):
        _check_password(panel, link, form.get("password"), remote)
    with panel.link_guesses.guess(source_of(remote)):
        panel.link_uses.used(f"link {link.id}")
        with panel.store.write() as tx:
            return link, made(share_links.fetch(tx, panel.vault, link, visitor.secret, remote))


def _check_password(panel: Panel, link: KnownLink, password: str, remote: str) -> None:
    try:
        with panel.link_passwords.guess(link.id, source_of(remote), LinkPasswordMissing):
            share_links.check_password(link, password)
    except LinkPasswordWrong:
        panel.refusals.link_password_refused(panel.store, remote, link.id)
        raise
