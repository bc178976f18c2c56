"""Checks of imports: what of an interface of another program cannot be had here, found before anything is written."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from wgfleet.imports.fleet import ImportedInterface
from wgfleet.panel import clock
from wgfleet.panel.domain import addressing
from wgfleet.panel.errors import Invalid, PanelError
from wgfleet.panel.services.fleet import peer_details, peer_places, peers, tags
from wgfleet.panel.services.fleet.peers import MAX_BATCH, PeerDraft, PeerSpec
from wgfleet.panel.services.fleet.tags import TagChanges
from wgfleet.panel.store import Tx
from wgfleet.panel.store import addresses as address_rows
from wgfleet.panel.store import tags as tag_rows
from wgfleet.panel.store.addresses import PoolRow
from wgfleet.panel.store.tables import Config
from wgfleet.protocol.addresses import parse_address, parse_interface_address
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import parse_preshared_key, parse_private_key, parse_public_key, public_key_of
from wgfleet.protocol.reasons import Reason

FIELD = "peers"
_AT = re.compile(r"peers\[(\d+)\](.*)", re.DOTALL)


def too_many(count: int) -> Reason | None:
    """Say why that number of peers cannot be imported at once; None: it can."""
    if count <= MAX_BATCH:
        return None
    return Reason(
        "one import takes at most {most} peers, and these are {count}; split the source: parts with the same interface "
        "and key, imported one after another, come into the same config",
        most=MAX_BATCH,
        count=count,
    )


def check_source(interface: ImportedInterface) -> None:
    """Refuse keys and addresses that are none. Thousands take a while, and need no transaction."""
    _check_keys(interface.public_key, interface.private_key)
    for i, address in enumerate(interface.addresses):
        parse_interface_address(address, f"addresses[{i}]")
    names = [peer.name or peer.public_key for peer in interface.peers]
    with numbered(range(len(names)), names):
        for i, peer in enumerate(interface.peers):
            at = f"{FIELD}[{i}]."
            _check_keys(peer.public_key, peer.private_key, at)
            if peer.preshared_key is not None:
                parse_preshared_key(peer.preshared_key, f"{at}preshared_key")
            for j, text in enumerate(peer.addresses):
                parse_address(text, f"{at}addresses[{j}]")


def _check_keys(public: str | None, private: str | None, at: str = "") -> None:
    if public is not None:
        parse_public_key(public, f"{at}public_key")
    key = None if private is None else parse_private_key(private, f"{at}private_key")
    if key is not None and public is not None and public_key_of(key) != public:
        raise Invalid(Reason("is not the key that belongs to the public key"), field=f"{at}private_key")


def with_public_key(interface: ImportedInterface) -> ImportedInterface:
    """Return a checked interface with the public key that its private key has: by that its config is known."""
    if interface.private_key is None or interface.public_key is not None:
        return interface
    key = parse_private_key(interface.private_key, "private_key")
    return msgspec.structs.replace(interface, public_key=public_key_of(key))


@contextmanager
def numbered(numbers: Sequence[int], names: Sequence[str]) -> Iterator[None]:
    """Have errors about some peers name them, and their places in the source, which are these."""
    try:
        yield
    except (PanelError, FieldError) as error:
        at = _AT.fullmatch(error.field or "")
        if at is None:
            raise
        named = Reason("peer {name!r}: {why}", name=names[int(at[1])], why=error.said or error.detail)
        field = f"{FIELD}[{numbers[int(at[1])]}]{at[2]}"
        if isinstance(error, FieldError):
            raise Invalid(named, field=field) from None
        error.detail, error.said, error.field = str(named), named, field
        raise


def new_tags(tx: Tx, specs: Sequence[PeerSpec], colors: Mapping[str, str | None]) -> list[TagChanges]:
    """Return the tags of new peers that there are not yet; refuse what cannot be one, and too many of a peer."""
    found: dict[str, TagChanges | None] = {}
    for i, spec in enumerate(specs):
        names = dict.fromkeys(() if spec.details is None else spec.details.tags)
        if len(names) > tags.MAX_TAGS:
            raise Invalid(
                Reason("a peer has at most {most} tags, not {count}", most=tags.MAX_TAGS, count=len(names)),
                field=f"{FIELD}[{i}].tags",
            )
        for name in names:
            if name not in found:
                found[name] = None if tag_rows.find(tx, name) else _new_tag(tx, name, colors.get(name), i)
    return [values for values in found.values() if values is not None]


def _new_tag(tx: Tx, name: str, color: str | None, number: int) -> TagChanges:
    values: TagChanges = {"name": name}
    if color is not None:
        values["color"] = color
    try:
        tags.check(tx, values)
    except PanelError as error:
        field = "tags" if error.field == "color" else f"{FIELD}[{number}].tags"
        raise Invalid(
            Reason("{name!r}: {error}", name=name[: tags.MAX_NAME], error=error.detail), field=field
        ) from None
    return values


def check_new(
    tx: Tx,
    config: Config,
    networks: Mapping[str, str],
    specs: Sequence[PeerSpec],
    *,
    created: bool,
    hosts: Mapping[str, str],
) -> None:
    """Refuse new peers that cannot be made in a config. `created`: it is not there yet.

    `networks`: the pools, with the nodes' own address in each.
    """
    if not specs:
        return
    drafts = [PeerDraft(spec, clock.new_id(), spec.public_key or "", None, None) for spec in specs]
    peers.check(tx, config, drafts, field=FIELD, panel_hosts=hosts, pools=list(networks) if created else None)
    if created:
        new = [PoolRow("", pool, addressing.first_offset(pool, own), own) for pool, own in networks.items()]
        address_rows.check_room(tx, new, len(drafts))
    else:
        peer_places.check_room(tx, config, len(drafts))
    for i, spec in enumerate(specs):
        if spec.details is not None:
            peer_details.checked(spec.details, list(networks), f"{FIELD}[{i}].")
