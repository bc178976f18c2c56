"""`/api/me/devices`: users' own devices, which is all that the role `self-service` is for."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Response, status
from pydantic import AfterValidator, Field, StringConstraints

from wgfleet.panel.api import files, shown_peers
from wgfleet.panel.api.auth import Owner
from wgfleet.panel.api.models import After, Body, Identifier, Limit, Page, ReferenceFilter, View, cut
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.peers import MAX_KEY
from wgfleet.panel.api.shown_peers import PeerView
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.services.access import devices
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.clients.files import ClientFile
from wgfleet.panel.services.clients.platforms import Platform
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store import Tx
from wgfleet.protocol.addresses import pasted

router = subject_router("own devices")

PublicKey = Annotated[
    str,
    StringConstraints(max_length=MAX_KEY),
    AfterValidator(pasted),
    Field(description="Base64 of 32 bytes, as printed by `wg pubkey`; null: the panel makes the keys."),
]


class NewDevice(Body):
    """The device to make."""

    name: str = Field(min_length=1, max_length=peers.MAX_NAME, description="Shown after your own.", examples=["phone"])
    config: str | None = Field(
        default=None, max_length=64, description="Id or name; null: the only one in which you may have devices."
    )
    public_key: PublicKey | None = None


class DeviceKeys(Body):
    """The keys that a device is to have."""

    public_key: PublicKey | None = None


class AllowedConfig(View):
    """A config in which the caller may have devices."""

    id: str
    name: str


class AllowanceView(View):
    """How many devices a user has, and may have."""

    devices: int
    most: int
    configs: list[AllowedConfig]


@router.get("/api/me/device-allowance", summary="Show which devices you may make")
def show_allowance(panel: ThePanel, caller: Owner) -> AllowanceView:
    with panel.store.read() as tx:
        may = devices.allowance(tx, caller, panel.settings.self_service.devices)
        allowed = [AllowedConfig(id=each.id, name=each.name) for each in may.configs]
        return AllowanceView(devices=may.devices, most=may.most, configs=allowed)


@router.get("/api/me/devices", response_model=Page[PeerView], summary="List your devices")
def list_devices(panel: ThePanel, caller: Owner, after: After = None, limit: Limit = 100) -> Response:
    with panel.store.read() as tx:
        rows, following = cut(devices.page(tx, caller, after, limit + 1), limit)
        return shown_peers.page(shown_peers.of_rows(tx, rows), following)


@router.post(
    "/api/me/devices",
    status_code=status.HTTP_201_CREATED,
    response_model=PeerView,
    summary="Make a device of your own",
)
def create_device(panel: ThePanel, caller: Owner, body: NewDevice) -> Response:
    """Refused (409) where you have as many as you may."""
    draft = devices.draft(panel.vault, caller, body.name, body.public_key)
    with panel.store.write() as tx:
        made = devices.create(tx, caller, body.config, draft, panel.settings.self_service.devices)
        held, at = shown_peers.held_of(tx, made.rows()), shown_peers.at_nodes_of(tx, made.rows(), made.addresses)
    items = shown_peers.shown(made.rows(), made.addresses, {}, {}, held, at_nodes=at)
    return shown_peers.one(items[0], status.HTTP_201_CREATED)


@router.get("/api/me/devices/{device_id}", response_model=PeerView, summary="Show a device of yours")
def show_device(panel: ThePanel, caller: Owner, device_id: Identifier) -> Response:
    with panel.store.read() as tx:
        return _shown(tx, devices.get(tx, caller, device_id).id)


@router.post("/api/me/devices/{device_id}/rotate", response_model=PeerView, summary="Give a device of yours new keys")
def rotate_device(panel: ThePanel, caller: Owner, device_id: Identifier, body: DeviceKeys) -> Response:
    """Its present file stops working."""
    with panel.store.write() as tx:
        devices.rotate(tx, panel.vault, caller, devices.get(tx, caller, device_id), body.public_key)
        return _shown(tx, device_id)


@router.delete(
    "/api/me/devices/{device_id}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a device of yours"
)
def delete_device(panel: ThePanel, caller: Owner, device_id: Identifier) -> None:
    with panel.store.write() as tx:
        devices.delete(tx, caller, devices.get(tx, caller, device_id))


@router.get(
    "/api/me/devices/{device_id}/config",
    summary="Download the file of a device of yours",
    response_class=Response,
    responses=files.WG_QUICK,
)
def download_device_file(
    panel: ThePanel, caller: Owner, device_id: Identifier, node: ReferenceFilter = None
) -> Response:
    """`node` selects the node of an independent config; default: the home node."""
    return answered(panel, caller, device_id, lambda file: files.for_platform(file, Platform.CONF), node)


@router.get(
    "/api/me/devices/{device_id}/file",
    summary="Download the file of a device of yours for a platform",
    response_class=Response,
    responses=files.OF_PLATFORM,
)
def download_device_platform_file(
    panel: ThePanel,
    caller: Owner,
    device_id: Identifier,
    *,
    platform: files.ForPlatform = Platform.CONF,
    node: ReferenceFilter = None,
) -> Response:
    """`node` selects the node of an independent config; default: the home node."""
    return answered(panel, caller, device_id, lambda file: files.for_platform(file, platform), node)


@router.get(
    "/api/me/devices/{device_id}/qr",
    summary="Show the file of a device of yours as a QR code",
    response_class=Response,
    responses=files.IMAGE,
)
def show_device_qr(
    panel: ThePanel,
    caller: Owner,
    device_id: Identifier,
    *,
    image: files.ImageKind = "png",
    node: ReferenceFilter = None,
) -> Response:
    return answered(panel, caller, device_id, lambda file: files.qr(file, image), node)


def _shown(tx: Tx, peer_id: str) -> Response:
    return shown_peers.one(shown_peers.of_rows(tx, [peers.shown(tx, peer_id)])[0])


def answered(
    panel: Panel, caller: Caller, device_id: str, made: Callable[[ClientFile], Response], node: str | None
) -> Response:
    """Answer with what is made of the file of a caller's own device, for a node or its home."""
    return files.of_peer(
        panel,
        caller,
        device_id,
        lambda found: made(files.choose(found, node)),
        lambda tx, peer_id: devices.get(tx, caller, peer_id),
    )
