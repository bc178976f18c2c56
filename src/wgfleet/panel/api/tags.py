"""`/api/tags`: words for some peers, of any config, and settings of all of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, cast

from fastapi import Path, status
from pydantic import Field

from wgfleet.panel.api.auth import Reader, Writer
from wgfleet.panel.api.client_settings import ChangedClientSettings, ClientSettingsView, NewClientSettings
from wgfleet.panel.api.held_settings import ChangedHeldSettings, HeldSettingsView, NewHeldSettings, set_here
from wgfleet.panel.api.large_bodies import LargeBodies
from wgfleet.panel.api.models import UNCHANGED, WORD_IN_PATH, After, Body, Limit, Page, View, page, utc
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.client_settings import SETTINGS
from wgfleet.panel.domain.held_settings import HELD
from wgfleet.panel.domain.limits import Limit as AccessLimit
from wgfleet.panel.services.fleet import client_settings, tags
from wgfleet.panel.services.fleet.peers import MAX_BATCH
from wgfleet.panel.services.fleet.tags import GREY, MAX_NAME, TagChanges
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Tag

router = subject_router("tags", route_class=LargeBodies)
TagReference = Annotated[str, Path(max_length=MAX_NAME, pattern=WORD_IN_PATH, description="An id or a name.")]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern="^[^/]*$", examples=["office"])]
Color = Annotated[str, Field(max_length=7, description="`#rrggbb`.", examples=["#2fb344"])]
PeerIds = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MAX_BATCH)]


class NewTag(NewClientSettings, NewHeldSettings):
    """The tag to create."""

    name: Name
    color: Color = GREY


class ChangedTag(ChangedClientSettings, ChangedHeldSettings):
    """The fields to change; a field that is left out keeps its value. A setting that is null is left to the config."""

    name: Name = UNCHANGED
    color: Color = UNCHANGED


class TaggedPeers(Body):
    """Peers that get the tag, and those that lose it, by their ids."""

    add: PeerIds = Field(default=[])
    remove: PeerIds = Field(default=[])


class TagView(ClientSettingsView, HeldSettingsView):
    """A tag."""

    id: str
    name: str
    color: str
    peers: int = Field(description="Number of peers that have it.")
    created_at: datetime


class TaggedView(View):
    """What a call changed."""

    added: int = Field(description="Number of peers that did not have the tag.")


def _views(tx: Tx, rows: Sequence[Tag], within: AccessLimit | None = None) -> list[TagView]:
    counts, held = tags.counts(tx, rows, within), set_here(tx, rows)
    return [
        TagView(
            id=row.id,
            name=row.name,
            color=row.color,
            peers=counts.get(row.id, 0),
            created_at=utc(row.created_at),
            **client_settings.of_row(row),
            **held[row.id],
        )
        for row in rows
    ]


@router.get("/api/tags", summary="List tags")
def list_tags(panel: ThePanel, caller: Reader, after: After = None, limit: Limit = 100) -> Page[TagView]:
    """Who is limited to some configs sees those of their peers, and counts these."""
    with panel.store.read() as tx:
        found = tags.page(tx, after, limit + 1, caller.limit)
        return page(found, limit, lambda rows: _views(tx, rows, caller.limit))


@router.post("/api/tags", status_code=status.HTTP_201_CREATED, summary="Create a tag")
def create_tag(panel: ThePanel, caller: Writer, body: NewTag) -> TagView:
    """Its settings count for the files of its peers, where a peer has none of its own."""
    with panel.store.write() as tx:
        return _views(tx, [tags.create(tx, caller.actor, cast("TagChanges", body.model_dump()))])[0]


@router.get("/api/tags/{tag}", summary="Show a tag")
def show_tag(panel: ThePanel, caller: Reader, tag: TagReference) -> TagView:
    with panel.store.read() as tx:
        return _views(tx, [tags.get(tx, tag, caller.limit)], caller.limit)[0]


@router.patch("/api/tags/{tag}", summary="Change a tag")
def update_tag(panel: ThePanel, caller: Writer, tag: TagReference, body: ChangedTag) -> TagView:
    """Nodes hold its peers to new speeds and rules at once. Files have new settings when they are fetched again."""
    with panel.store.write() as tx:
        return _views(tx, [tags.update(tx, caller.actor, tags.get(tx, tag), changes_of(body))])[0]


def changes_of(body: ChangedTag) -> TagChanges:
    """Return what a body asks for; null takes settings away, and for the rest says the same as nothing."""
    given = body.given().items()
    return cast("TagChanges", {name: value for name, value in given if value is not None or name in {*SETTINGS, *HELD}})


@router.delete("/api/tags/{tag}", status_code=status.HTTP_204_NO_CONTENT, summary="Delete a tag")
def delete_tag(panel: ThePanel, caller: Writer, tag: TagReference) -> None:
    """Its peers stay; files that are fetched from now on lack its settings."""
    with panel.store.write() as tx:
        tags.delete(tx, caller.actor, tags.get(tx, tag))


@router.post("/api/tags/{tag}/peers", summary="Give a tag to peers, or take it")
def tag_peers(panel: ThePanel, caller: Writer, tag: TagReference, body: TaggedPeers) -> TaggedView:
    """All or none. Peers may be of several configs."""
    with panel.store.write() as tx:
        row = tags.get(tx, tag)
        return TaggedView(added=tags.change_peers(tx, caller.actor, row, add=body.add, remove=body.remove))
