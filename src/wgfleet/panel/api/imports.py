"""`/api/imports`: interfaces of other programs become configs, with the same keys, so that users keep their files."""

from typing import Annotated, Literal

import msgspec
from pydantic import BeforeValidator, Field

from wgfleet.imports.fleet import ImportedInterface, ImportedTag
from wgfleet.panel.api.auth import Writer
from wgfleet.panel.api.import_runs import ImportRun
from wgfleet.panel.api.large_bodies import LargeBodies
from wgfleet.panel.api.models import Body, Port, Said, View
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.domain.fields import MAX_NETWORKS
from wgfleet.panel.domain.import_choices import ImportChoice
from wgfleet.panel.services import import_checks
from wgfleet.panel.services.access.callers import Caller
from wgfleet.panel.services.fleet.peers import MAX_BATCH
from wgfleet.panel.services.import_plans import ImportPlan
from wgfleet.panel.services.pools import MAX_POOLS

router = subject_router("imports", route_class=LargeBodies)
Short = Annotated[str, Field(max_length=256)]
Long = Annotated[str, Field(max_length=4_000)]
Texts = Annotated[list[Short], Field(max_length=MAX_NETWORKS)]
Number = Annotated[int, Field(ge=0, le=2**53)]


def _not_too_many(value: object) -> object:
    """Refuse what is too long before any of it is looked at."""
    if isinstance(value, list) and (why := import_checks.too_many(len(value))) is not None:
        raise ValueError(why)
    return value


class PeerJob(Body):
    """A limit that the other program kept; one that has no like here is not carried over, which `remarks` tell."""

    field: Short
    operator: Short
    value: Short = Field(description="Bytes; of `date` a time of ISO 8601 with its zone.")
    action: Short


class PeerToImport(Body):
    """A peer as a reader found it; what is not known is left out."""

    public_key: Short
    name: Short = ""
    private_key: Short | None = None
    preshared_key: Short | None = None
    addresses: Texts = Field(default=[])
    networks: Texts = Field(default=[])
    enabled: bool = True
    client_allowed_ips: Texts | None = None
    dns: Texts | None = None
    mtu: Number | None = None
    keepalive: Number | None = None
    endpoint: Short | None = None
    notes: Long = ""
    owner: Short | None = Field(
        default=None,
        description="The user of that name, or a line of the notes. Devices of a disabled user are switched off.",
    )
    tags: Texts = Field(default=[])
    created_at: float | None = None
    expires_at: float | None = Field(default=None, description="Becomes a limit by date.")
    received: Number | None = Field(default=None, description="Bytes that the peer's total begins with.")
    sent: Number | None = None
    jobs: list[PeerJob] = Field(default=[], max_length=100)
    destinations: Texts | None = Field(
        default=None,
        description="Where it may connect to: rules such as `allow tcp/443 192.0.2.0/24`; what fits none is refused. "
        "They become a rule set, which peers with the same rules share. null: it is held to nothing.",
    )
    place: Short = ""


class InterfaceToImport(Body):
    """A WireGuard server as a reader found it."""

    name: Short
    private_key: Short | None = None
    public_key: Short | None = None
    listen_port: Number | None = None
    addresses: Texts = Field(default=[], description="Its own, with prefixes; their networks become the pools.")
    mtu: Number | None = None
    dns: Texts = Field(default=[])
    client_allowed_ips: Texts = Field(default=[])
    keepalive: Number | None = None
    endpoint: Short | None = Field(default=None, description="Host and port that the files of users say.")
    hooks: Annotated[list[Long], Field(max_length=100)] = Field(default=[], description="Reported, never run.")
    peers: Annotated[list[PeerToImport], BeforeValidator(_not_too_many)] = Field(
        default=[], max_length=MAX_BATCH, fail_fast=True
    )


class TagColor(Body):
    """A tag of the source."""

    name: Short
    color: Short | None = None


class ImportCall(Body):
    """What to import: one interface, as `wgfleet import --json --dry-run` prints it."""

    interface: InterfaceToImport
    config: Short | None = Field(default=None, description="Name of the config; null: that of the interface.")
    pools: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=MAX_POOLS)] | None = Field(
        default=None,
        description="Networks of a new config, where those of the interface are taken here; peers whose addresses are "
        "in none of them get others, and need new files. null: those of the interface.",
    )
    listen_port: Port | None = Field(
        default=None, description="UDP port of a new config, likewise; null: that of the interface."
    )
    tags: list[TagColor] = Field(default=[], max_length=1_000)


class ImportedPeerView(View):
    """What became, or would become, of a peer."""

    name: str
    public_key: str
    fate: Literal["new", "same", "left_out"]
    addresses: list[str]
    carried_over: list[Said] = Field(description="What it gets beside keys, settings, notes and tags, in sentences.")
    remarks: list[Said] = Field(description="What is another than at the source, or is not carried over, and why.")


class ImportView(View):
    """What an import did, or would do."""

    config: str = Field(description="Name of the config.")
    created: bool = Field(description="false: there was one with the same key.")
    peers: list[ImportedPeerView]
    remarks: list[Said] = Field(
        description="Whom limits cut off or delete at once, and what is not carried over, in sentences for people."
    )


@router.post("/api/imports/preview", summary="Show what an import would do")
def preview_import(panel: ThePanel, caller: Writer, body: ImportCall) -> ImportView:
    """Check everything, and change nothing."""
    return looked_at(panel, caller, body)


@router.post("/api/imports", summary="Import an interface of another program")
def import_interface(panel: ThePanel, caller: Writer, body: ImportCall) -> ImportView:
    """Make the config and its peers, all or nothing. The same call again changes nothing: peers are known by key.

    More than 50 peers are made in slices, between which other calls have their turn. Where one cannot be made, or the
    panel is killed meanwhile, those that were made are taken back, and so are the tags and the config.
    """
    return done(panel, caller, body)


def looked_at(panel: Panel, caller: Caller, body: ImportCall) -> ImportView:
    """Say what an import would do."""
    return _view(_run(panel, caller, body).plan())


def done(panel: Panel, caller: Caller, body: ImportCall) -> ImportView:
    """Import."""
    return _view(_run(panel, caller, body).make())


def _run(panel: Panel, caller: Caller, body: ImportCall) -> ImportRun:
    return ImportRun(
        panel,
        caller,
        msgspec.convert(body.interface.model_dump(), ImportedInterface),
        body.config,
        msgspec.convert([tag.model_dump() for tag in body.tags], list[ImportedTag]),
        ImportChoice(tuple(body.pools or ()), body.listen_port),
    )


def _view(found: ImportPlan) -> ImportView:
    return ImportView(
        config=found.target.config.name,
        created=found.target.created,
        remarks=found.remarks,
        peers=[
            ImportedPeerView(
                name=each.name,
                public_key=each.peer.public_key,
                fate=each.fate.value,
                addresses=list(each.addresses),
                carried_over=list(each.carried_over),
                remarks=list(each.remarks),
            )
            for each in found.peers
        ],
    )
