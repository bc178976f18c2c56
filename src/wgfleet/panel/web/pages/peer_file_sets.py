"""The files of all peers of a config that a list shows, in one ZIP."""

from starlette.responses import Response

from wgfleet.panel.api.auth import SecretReader
from wgfleet.panel.api.models import Reference
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.peer_file_sets import archive_of
from wgfleet.panel.web.listed_peers import ListedPeers
from wgfleet.panel.web.page_router import page_router

router = page_router()


@router.get("/configs/{config}/files")
def download_files(
    panel: ThePanel,
    caller: SecretReader,
    config: Reference,
    wanted: ListedPeers,
) -> Response:
    """Give the files of those that a list shows. That is audited."""
    return archive_of(panel, caller, config, wanted, None)
