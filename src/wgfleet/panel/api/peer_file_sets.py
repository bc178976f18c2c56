"""`/api/configs/{config}/files`: the files of all peers of a config, or of those that fit, in one ZIP."""

from collections.abc import Iterator
from typing import Annotated, NamedTuple

import structlog
from fastapi import Query, Response
from fastapi.responses import StreamingResponse

from wgfleet.panel import clock
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
TOGETHER = 5000  # that are noted in one transaction

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
        fit = filter_of(tx, panel, caller, row.id, wanted)
        count, newest = peer_lists.extent(tx, fit)
    pages = _Pages(panel, caller, row.id, fit, newest, node)
    first = pages.next(FIRST)
    which = {key: value for key, value in wanted.model_dump().items() if value is not None}
    with panel.store.write() as tx:
        files.note_reading(tx, caller.actor, configs.get(tx, row.id), count, filter=which, node=node)
    headers = {"Content-Disposition": f'attachment; filename="{row.name}-files.zip"', **NO_STORE}
    return StreamingResponse(_packed(pages, first), media_type="application/zip", headers=headers)


class _Page(NamedTuple):
    files: list[tuple[str, str, str]]
    """Names for peers, ids, and their files."""
    is_last: bool
    by_template: bool
    """Whether the names are by the config's template; otherwise they are those of the peers."""


class _Pages:
    """The files of the peers of a config up to the newest, in the order of creation, a page in a transaction.

    Those that are made meanwhile are not in it, as they are not in the number that was audited.
    """

    def __init__(
        self, panel: Panel, caller: Caller, config_id: str, wanted: PeerFilter, newest: str, node: str | None
    ) -> None:
        self._panel, self._caller, self._config_id, self._node = panel, caller, config_id, node
        self._wanted, self._newest = wanted, newest
        self._after: str | None = None
        self._sending, self._sent = clock.new_id(), list[str]()

    def next(self, size: int) -> _Page:
        """Return the next page; raise where the caller would not be let in any more."""
        with self._panel.store.read() as tx:
            if not credentials.is_valid(tx, self._caller):
                raise Unauthorized(Reason("the credential no longer counts"))
            found_ids, self._after = peer_lists.ids(tx, self._wanted, self._after, size)
        ids = [peer_id for peer_id in found_ids if peer_id <= self._newest]
        with self._panel.store.write() as tx:
            files.note_set_out(tx, ids, self._sending)
        with self._panel.store.read() as tx:  # what is changed after they set out takes their mark away
            rows = peer_lists.chosen(tx, ids)
            config = configs.get(tx, self._config_id)
            made = files.one_each(tx, self._panel.vault, config, rows, self._node)
            by_template = config.file_names is not None
            found = []
            for peer in rows:
                if (file := made.get(peer.id)) is None:
                    continue  # it may use none of the nodes
                name = file.file_name.removesuffix(".conf") if by_template else peer.name
                found.append((name, peer.id, file.text))
        self._sent += [peer_id for _, peer_id, _ in found]
        return _Page(found, self._after is None or self._after >= self._newest, by_template)

    def note_arrived(self) -> None:
        """Note that all were sent."""
        for start in range(0, len(self._sent), TOGETHER):
            with self._panel.store.write() as tx:
                files.note_arrived(tx, self._sent[start : start + TOGETHER], self._sending)


def _packed(pages: _Pages, page: _Page) -> Iterator[bytes]:
    """Yield a ZIP of the files of peers: without its end, and so none, where it breaks off.

    Who takes what is yielded asks for more when that is sent; where it breaks off, nobody asks, and no file is taken.
    """
    packed, taken = ZipStream(), set[str]()
    while True:
        part = bytearray()
        for title, peer_id, text in page.files:
            stem = (unused if page.by_template else file_stem)(title, peer_id, taken)
            taken.add(stem.casefold())
            part += packed.member(f"{stem}.conf", text.encode())
        if part:
            yield bytes(part)
        if page.is_last:
            break
        try:
            page = pages.next(PAGE)
        except PanelError as error:
            log.warning("files.broken_off", after=len(taken), error=str(error))
            raise
    yield packed.end()
    pages.note_arrived()
