"""The peers that a list on a page shows, by the filter in its address: for downloads of just those."""

from typing import Annotated, Literal

from fastapi import Depends, Query

from wgfleet.panel.api.peer_changes import WantedPeers
from wgfleet.panel.api.peer_tables import Part

YesOrNo = Annotated[Literal["yes", "no"] | None, Query()]


def _wanted(
    search: Part = None,
    tag: Part = None,
    node: Part = None,
    owner: Part = None,
    enabled: YesOrNo = None,
    live: YesOrNo = None,
    needs_new_file: YesOrNo = None,
) -> WantedPeers:
    return WantedPeers(
        search=search,
        tag=tag,
        node=node,
        owner=owner,
        enabled=enabled and enabled == "yes",
        live=live and live == "yes",
        needs_new_file=needs_new_file and needs_new_file == "yes",
    )


ListedPeers = Annotated[WantedPeers, Depends(_wanted)]
