"""Set-up: the first administrator, by an address that the terminal shows, then the way to a first connected device.

The address is worth something until there is an administrator who can sign in; a panel that starts without one shows
another.
"""

import hmac
from typing import Annotated

from fastapi import Path, Request
from pydantic import Field
from starlette.responses import Response

from wgfleet.panel import origin, passwords
from wgfleet.panel.api.auth import Admin
from wgfleet.panel.api.configs import NewConfig
from wgfleet.panel.api.models import Body
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.domain.fields import parse_name
from wgfleet.panel.errors import NotFound, PanelError
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import sign_ins, users
from wgfleet.panel.services.access.callers import Caller, Role
from wgfleet.panel.services.access.users import UserSpec
from wgfleet.panel.services.configs import ConfigSpec
from wgfleet.panel.services.fleet import assignments, nodes, peers
from wgfleet.panel.services.fleet.peers import PeerSpec
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Node
from wgfleet.panel.tokens import digest, pasted
from wgfleet.panel.web.all_at_once import all_at_once
from wgfleet.panel.web.doors import signed_in
from wgfleet.panel.web.forms import REFUSALS, SubmittedForm, TheForm, made_of
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.link_secrets import led_on, unseen
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.pages.sign_in import check_new_password
from wgfleet.panel.web.rendering import gone_on, page
from wgfleet.panel.web.visitors import TheVisitor
from wgfleet.protocol.errors import FieldError

router = page_router()
Secret = Annotated[str, Path(max_length=100)]
ADMINISTRATOR = "/set-up/administrator"
MOST_NODES = 1000
USED_UP = marked(
    "this address has been used, or is of an earlier start: sign in, or look at what the panel printed last"
)


class FirstNetwork(Body):
    """What the first network needs, by the names of the API's fields."""

    config_name: str = Field(min_length=1, max_length=15)
    pools: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=8)
    endpoint_address: str = Field(default="", max_length=64)
    peer_name: str = Field(min_length=1, max_length=peers.MAX_NAME)


@router.get(ADMINISTRATOR)
def first_administrator_page(request: Request, panel: ThePanel) -> Response:
    """Ask for the first administrator, and the secret of the address, which scripts put in."""
    with panel.store.read() as tx:
        _check_open(tx, panel)
    return _administrator(request, SubmittedForm({"name": "admin"}))


@router.get("/set-up/{secret}")
def old_first_administrator_page(visitor: TheVisitor, secret: Secret) -> Response:
    """Take the address as earlier versions showed it."""
    return led_on(visitor, ADMINISTRATOR, secret)


@router.post(ADMINISTRATOR)
def create_first_administrator(request: Request, panel: ThePanel, visitor: TheVisitor, form: TheForm) -> Response:
    """Make the first administrator, sign that user in, and go on to the first network."""
    name, password, secret = form.get("name").strip(), form.get("password"), pasted(form.get("secret"))
    with panel.store.read() as tx:
        _check_open(tx, panel)
    shown = SubmittedForm({"name": name, "secret": secret})
    try:
        _check(panel, secret)
        check_new_password(shown, form)
        with shown.noting():
            passwords.check(password, name)
        with shown.noting():
            parse_name(name)
        if shown.error is not None:
            return _administrator(request, shown)
        kept = passwords.hashed(password)
        remote = origin.of(request.scope)
        with panel.store.write() as tx:
            _check_open(tx, panel)
            _, link = users.create(tx, "panel", UserSpec(name, Role.ADMIN))
            users.set_password_by_link(tx, link, kept)
            tx.flush()
            claimed = sign_ins.claim(tx, name)
            _, token = sign_ins.begin(tx, panel.vault, claimed, None, remote, request.headers.get("user-agent", ""))
    except REFUSALS as error:
        return _administrator(request, shown.refused(error))
    return signed_in(gone_on(request, "/set-up"), visitor, token)


@router.get("/set-up")
def first_network_page(request: Request, panel: ThePanel, _caller: Admin) -> Response:
    return _network(request, panel, SubmittedForm())


@router.post("/set-up")
@all_at_once
def create_first_network(request: Request, panel: ThePanel, caller: Admin, form: TheForm) -> Response:
    """Make a network that this machine serves, and a first device in it; go on to the code of that device."""
    body = form.read(FirstNetwork, many={"pools"})
    if body is None:
        return _network(request, panel, form)
    try:
        peer_id = _create(panel, caller, body)
    except REFUSALS as error:
        return _network(request, panel, form.refused(_at_its_field(error)))
    return gone_on(request, f"/peers/{peer_id}/access")


def _create(panel: Panel, caller: Caller, body: FirstNetwork) -> str:
    drafts, hosts = peers.draft(panel.vault, [PeerSpec(body.peer_name)]), panel.hosts()
    with panel.store.write() as tx:
        node = _own_node(tx)
        address = body.endpoint_address.strip()
        if node is not None and address and [address] != node.endpoint_addresses:
            nodes.update(tx, caller.actor, node, {"endpoint_addresses": [address]}, force=True)
        spec = ConfigSpec(**made_of(NewConfig, name=body.config_name, pools=body.pools).model_dump())
        config = configs.create(tx, panel.vault, caller.actor, spec, panel_hosts=hosts)
        if node is not None:
            assignments.assign(tx, panel.vault, caller.actor, config, node)
        tx.flush()
        return peers.create(tx, caller.actor, config, drafts, panel_hosts=hosts).rows()[0].id


def _at_its_field(error: PanelError | FieldError) -> PanelError | FieldError:
    """Have a refusal of the network's name stand beside it."""
    if error.field == "name":
        error.field = "config_name"
    return error


def _network(request: Request, panel: Panel, form: SubmittedForm) -> Response:
    with panel.store.read() as tx:
        node = _own_node(tx)
        context = {"form": form, "node": node, "configs": configs.page(tx, None, 1)}
        return page(request, "set_up/network.html", context, status=form.status)


def _own_node(tx: Tx) -> Node | None:
    return next((node for node in nodes.page(tx, None, MOST_NODES) if node.is_panel_node), None)


def _administrator(request: Request, form: SubmittedForm) -> Response:
    return unseen(page(request, "set_up/administrator.html", {"form": form}, status=form.status))


def _check_open(tx: Tx, panel: Panel) -> None:
    """Raise `NotFound` where the address of this start was used, or there is none."""
    if panel.set_up_digest is None or users.is_administered(tx):
        raise NotFound(USED_UP)


def _check(panel: Panel, secret: str) -> None:
    """Raise `NotFound` for a secret that is not the one of this start."""
    if not hmac.compare_digest(panel.set_up_digest or "", digest(secret)):
        raise NotFound(USED_UP, field="secret")
