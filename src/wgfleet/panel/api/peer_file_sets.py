"""`/api/configs/{config}/files`: the files of all peers of a config, or of those that fit, in one ZIP."""

from collections.abc import Iterator, Sequence
from typing import Annotated, NamedTuple

import structlog
from fastapi import Query, Response
from fastapi.responses import StreamingResponse

from wgfleet.panel.api.auth import SecretReader
from wgfleet.panel.api.files import NO_STORE
from wgfleet.panel.api.models import NEW_FILE, Reference, ReferenceFilter
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.peer_changes import WantedPeers, filter_of
from wgfleet.panel.api.peer_tables import Part
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.file_names import file_stem, unused
from wgfleet.panel.domain.zip_stream import ZipStream
from wgfleet.panel.errors import PanelError, Unauthorized
from wgfleet.panel.services import configs
from wgfleet.panel.services.access import credentials
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.clients import files
from wgfleet.panel.services.fleet import peer_lists
from wgfleet.panel.store.listed_peers import PeerFilter
from wgfleet.protocol.reasons import Reason

router = subject_router("files for users")
FIRST = 50  # of the first page, so that a download begins at once
PAGE = 500  # that are rendered together, while nothing is locked

log = structlog.get_logger()


@router.get(
    "/api/configs/{config}/files",
    summary="Download the files of all peers of a config",
    response_class=Response,
    responses={
        200: {
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
            "description": "A ZIP with a wg-quick file for each peer, named after the peer, or by `file_names`.",
        }
    },
)
def download_files(
    panel: ThePanel,
    caller: SecretReader,
    config: Reference,
    *,
    node: Annotated[
        ReferenceFilter,
        Query(description="Node of an independent config to which the files lead; default: each peer's home node."),
    ] = None,
    search: Annotated[Part, Query(description="Only those with this part in the name, or this key or address.")] = None,
    tag: Annotated[Part, Query(description="Only those with this tag.")] = None,
    home: Annotated[Part, Query(description="Only those whose home this node is.")] = None,
    owner: Annotated[Part, Query(description="Only the devices of this user.")] = None,
    enabled: bool | None = None,
    live: Annotated[bool | None, Query(description="Whether they are connected now.")] = None,
    restricted: Annotated[bool | None, Query(description="Whether a limit keeps them out.")] = None,
    needs_new_file: Annotated[bool | None, Query(description=NEW_FILE)] = None,
) -> Response:
    """All of them, or those that fit: one file for each peer, as `/api/peers/{peer_id}/config` has it.

    They come as they are made, a few hundred at a time, of the peers that there are when it begins. The audit log has
    one entry for all of them, with their number. An answer that breaks off is no whole ZIP: it has no directory.
    """
    wanted = WantedPeers(
        search=search,
        tag=tag,
        node=home,
        owner=owner,
        enabled=enabled,
        live=live,
        restricted=restricted,
        needs_new_file=needs_new_file,
    )
    return archive_of(panel, caller, config, wanted, node)


def archive_of(panel: Panel, caller: Caller, config: str, wanted: WantedPeers, node: str | None) -> Response:
    """Answer with the files of those peers of a config that fit; that they are read is audited before.

    The first page is made before the answer begins, so that a refusal is one.
    """
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        pages = _Pages(panel, caller, row.id, filter_of(tx, panel, caller, row.id, wanted), node)
        count, newest = peer_lists.extent(tx, pages.wanted)
    first = pages.next(FIRST)
    which = {key: value for key, value in wanted.model_dump().items() if value is not None}
    with panel.store.write() as tx:
        files.note_reading(tx, caller.actor, configs.get(tx, row.id), count, filter=which, node=node)
    headers = {"Content-Disposition": f'attachment; filename="{row.name}-files.zip"', **NO_STORE}
    return StreamingResponse(_packed(pages, first, newest), media_type="application/zip", headers=headers)


class _Page(NamedTuple):
    files: list[tuple[str, str, str]]
    """Names for peers, ids, and their files."""
    is_last: bool
    by_template: bool
    """Whether the names are by the config's template; otherwise they are those of the peers."""


class _Pages:
    """The files of the peers of a config, in the order of creation, a page in a transaction of its own."""

    def __init__(self, panel: Panel, caller: Caller, config_id: str, wanted: PeerFilter, node: str | None) -> None:
        self.wanted = wanted
        self._panel, self._caller, self._config_id, self._node = panel, caller, config_id, node
        self._after: str | None = None

    def next(self, size: int) -> _Page:
        """Return the next page; raise where the caller would not be let in any more."""
        with self._panel.store.read() as tx:
            if not credentials.is_valid(tx, self._caller):
                raise Unauthorized(Reason("the credential no longer counts"))
            rows, self._after = peer_lists.whole(tx, self.wanted, self._after, size)
            config = configs.get(tx, self._config_id)
            made = files.one_each(tx, self._panel.vault, config, rows, self._node)
            by_template = config.file_names is not None
            found = []
            for peer in rows:
                if (file := made.get(peer.id)) is None:
                    continue  # it may use none of the nodes
                name = file.file_name.removesuffix(".conf") if by_template else peer.name
                found.append((name, peer.id, file.text))
            return _Page(found, self._after is None, by_template)

    def note_taken(self, peer_ids: Sequence[str]) -> None:
        """Note whose files are on their way."""
        with self._panel.store.write() as tx:
            files.note_taken(tx, peer_ids)


def _packed(pages: _Pages, page: _Page, newest: str) -> Iterator[bytes]:
    """Yield a ZIP of the files of peers up to the newest: without its end, and so none, where it breaks off.

    Those that are made meanwhile are not in it, as they are not in the number that was audited.
    """
    packed, taken = ZipStream(), set[str]()
    while True:
        part, ids = bytearray(), list[str]()
        for title, peer_id, text in page.files:
            if peer_id > newest:
                break
            stem = (unused if page.by_template else file_stem)(title, peer_id, taken)
            taken.add(stem.casefold())
            part += packed.member(f"{stem}.conf", text.encode())
            ids.append(peer_id)
        if part:
            pages.note_taken(ids)
            yield bytes(part)
        if page.is_last or (page.files and page.files[-1][1] >= newest):
            break
        try:
            page = pages.next(PAGE)
        except PanelError as error:
            log.warning("files.broken_off", after=len(taken), error=str(error))
            raise
    yield packed.end()
