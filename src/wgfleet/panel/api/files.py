"""User downloads: stock WireGuard files, their QR codes, bundles with the helper for Linux.

All of it needs the scope `secrets`.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import Query, Response

from wgfleet.panel.api.auth import SecretReader
from wgfleet.panel.api.models import Identifier, Page, ReferenceFilter, View
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.file_names import file_stem, unused
from wgfleet.panel.domain.zip_stream import ZipStream
from wgfleet.panel.errors import Conflict, NotFound
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.clients import files, platforms
from wgfleet.panel.services.clients.files import ClientFile
from wgfleet.panel.services.clients.platforms import Platform
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Peer
from wgfleet.protocol.reasons import Reason
from wgfleet.qr_code import NoQrCodeError, code_image

router = subject_router("files for users")
# A browser, or a proxy on the way, must not keep a private key.
NO_STORE = {"Cache-Control": "no-store"}


WG_QUICK: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "A wg-quick file."}
}
IMAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "image/png": {"schema": {"type": "string", "format": "binary"}},
            "image/svg+xml": {"schema": {"type": "string"}},
        },
        "description": "An image for the WireGuard apps to scan.",
    }
}
OF_PLATFORM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "application/gzip": {"schema": {"type": "string", "format": "binary"}},
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
            "application/x-apple-aspen-config": {"schema": {"type": "string", "format": "binary"}},
        },
        "description": "The wg-quick file, or what the platform imports.",
    }
}
ForPlatform = Annotated[
    Platform,
    Query(
        alias="format",
        description="`conf`: the wg-quick file; `linux`: and the helper, tar.gz; `windows`, `macos`, `ios`, `android`: "
        "with a how-to, ZIP; `networkmanager`: a keyfile; `mikrotik`: a script of RouterOS 7; `openwrt`: uci commands; "
        "`mobileconfig-ios`, `mobileconfig-macos`: a profile.",
    ),
]
ImageKind = Annotated[Literal["png", "svg"], Query(alias="format", description="Kind of image.")]


class ClientFileView(View):
    """A file for `wg-quick` and every WireGuard app. `node_id` is null if it is for a whole cluster."""

    node_id: str | None
    node_name: str | None
    file_name: str
    text: str


@router.get("/api/peers/{peer_id}/configs", summary="List the files of a peer")
def list_files(panel: ThePanel, caller: SecretReader, peer_id: Identifier, response: Response) -> Page[ClientFileView]:
    """One file for a cluster; one for each node of an independent config, the home node first."""
    response.headers.update(NO_STORE)
    with panel.store.write() as tx:  # that it was read is audited
        found = files.files(tx, panel.vault, caller.actor, peers.get(tx, peer_id))
    return Page(items=[ClientFileView.model_validate(file, from_attributes=True) for file in found])


@router.get(
    "/api/peers/{peer_id}/configs/zip",
    summary="Download all files of a peer",
    response_class=Response,
    responses={
        200: {
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
            "description": "A ZIP with a wg-quick file for each node of an independent config, or one of a cluster.",
        }
    },
)
def download_peer_files(panel: ThePanel, caller: SecretReader, peer_id: Identifier) -> Response:
    """Each is called as it is alone, by `file_names` of the config where that is set; no two are called the same."""
    with panel.store.write() as tx:  # that it was read is audited
        peer = peers.get(tx, peer_id)
        return zipped(files.files(tx, panel.vault, caller.actor, peer), peer.name, peer.id)


@router.get(
    "/api/peers/{peer_id}/config",
    summary="Download the file of a peer",
    response_class=Response,
    responses=WG_QUICK,
)
def download_file(panel: ThePanel, caller: SecretReader, peer_id: Identifier, node: ReferenceFilter = None) -> Response:
    """`node` selects the node of an independent config; default: the home node."""
    return of_peer(panel, caller, peer_id, lambda found: for_platform(choose(found, node), Platform.CONF))


@router.get(
    "/api/peers/{peer_id}/file",
    summary="Download the file of a peer for a platform",
    response_class=Response,
    responses=OF_PLATFORM,
)
def download_platform_file(
    panel: ThePanel,
    caller: SecretReader,
    peer_id: Identifier,
    *,
    platform: ForPlatform = Platform.CONF,
    node: ReferenceFilter = None,
) -> Response:
    """`node` selects the node of an independent config; default: the home node. Reproducible for the same input.

    `networkmanager`, `mikrotik`, `openwrt` and the profiles have the private key within: where the user alone has it,
    they are refused (409).
    """
    return of_peer(panel, caller, peer_id, lambda found: for_platform(choose(found, node), platform))


@router.get(
    "/api/peers/{peer_id}/bundle",
    summary="Download the file of a peer with the Linux helper",
    response_class=Response,
    responses={
        200: {
            "content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}},
            "description": "A tar.gz: the wg-quick file, a script that finds another server, its units, README.",
        }
    },
)
def download_bundle(
    panel: ThePanel, caller: SecretReader, peer_id: Identifier, node: ReferenceFilter = None
) -> Response:
    """`node` selects the node of an independent config; default: the home node. Reproducible for the same input."""
    return of_peer(panel, caller, peer_id, lambda found: for_platform(choose(found, node), Platform.LINUX))


@router.get(
    "/api/peers/{peer_id}/qr",
    summary="Show the file of a peer as a QR code",
    response_class=Response,
    responses=IMAGE,
)
def show_qr(
    panel: ThePanel,
    caller: SecretReader,
    peer_id: Identifier,
    *,
    image: ImageKind = "png",
    node: ReferenceFilter = None,
) -> Response:
    return of_peer(panel, caller, peer_id, lambda found: qr(choose(found, node), image))


def of_peer(
    panel: Panel,
    caller: Caller,
    peer_id: str,
    made: Callable[[list[ClientFile]], Response],
    having: Callable[[Tx, str], Peer] = peers.get,
) -> Response:
    """Answer with what is made of the files of a peer. Where that is refused, nobody has read or taken them."""
    with panel.store.write() as tx:  # that they were read is audited
        return made(files.files(tx, panel.vault, caller.actor, having(tx, peer_id)))


def for_platform(file: ClientFile, platform: Platform) -> Response:
    """Answer with a file as a platform takes it."""
    found = platforms.made(file, platform)
    headers = {"Content-Disposition": f'attachment; filename="{found.name}"', **NO_STORE}
    return Response(found.content, media_type=found.media_type, headers=headers)


def zipped(found: Sequence[ClientFile], title: str, identifier: str) -> Response:
    """Answer with a ZIP of the files of one peer, called `title` where a header can say that."""
    choose(found, None)
    packed, taken, content = ZipStream(), set[str](), b""
    for file in found:
        stem = unused(file.file_name.removesuffix(".conf"), file.node_id or "", taken)
        taken.add(stem.casefold())
        content += packed.member(f"{stem}.conf", file.text.encode())
    name = f"{file_stem(title, identifier, ()) if title.isascii() else identifier}-files.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', **NO_STORE}
    return Response(content + packed.end(), media_type="application/zip", headers=headers)


def qr(file: ClientFile, image: Literal["png", "svg"]) -> Response:
    """Answer with the QR code of a file."""
    try:
        content = code_image(file.text, image)
    except NoQrCodeError as error:
        raise Conflict(Reason("{file}: {error}", file=file.file_name, error=error)) from None
    media_type = "image/png" if image == "png" else "image/svg+xml"
    return Response(content, media_type=media_type, headers=NO_STORE)


def choose(found: Sequence[ClientFile], node: str | None) -> ClientFile:
    """Return the file that is for a node, or the first."""
    if not found:
        raise Conflict(Reason("the peer's config has no serving node, so there is no file"), Hint(HintCode.ASSIGN_NODE))
    wanted = [file for file in found if node is None or node in {file.node_id, file.node_name}]
    if not wanted:
        names = ", ".join(sorted(file.node_name for file in found if file.node_name is not None))
        way_out = (
            Reason("there are files for {names}", names=names)
            if names
            else Reason("its one file is for all nodes, so leave `node` out")
        )
        raise NotFound(
            Reason("the peer has no file of its own for node {node!r}; {way_out}", node=node, way_out=way_out),
            field="node",
        )
    return wanted[0]
