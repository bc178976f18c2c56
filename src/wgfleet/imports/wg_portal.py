"""Reader of wg-portal 2 on SQLite. Keys that it encrypted stay unread: the peer comes without its private key."""

from collections.abc import Mapping
from pathlib import Path

from wgfleet.imports.addresses import divided, interface_address, listed, networks
from wgfleet.imports.databases import Database, Row, found_in, opened
from wgfleet.imports.fleet import (
    ImportedFleet,
    ImportedInterface,
    ImportedPeer,
    UnreadableError,
    clamped,
    expiry,
    keys_of,
    peers_of,
    preshared,
    public_of,
)
from wgfleet.imports.numbers import bytes_of, common_keepalive_of, keepalive_of, mtu_of, port_of, time_of
from wgfleet.protocol.reasons import Reason

ENCRYPTED = "WG_ENC_"
_HOOKS = ("pre_up", "post_up", "pre_down", "post_down")


def read(path: Path) -> ImportedFleet:
    """Read `sqlite.db`, or the folder that has it. Raise `UnreadableError`."""
    place = found_in(path, "sqlite.db", "data/sqlite.db", "wg_portal.db")
    with opened(place) as database:
        if "DatabaseMigrationInfo" in database.tables():
            raise UnreadableError(
                Reason("{place}: is of version 1; have wg-portal 2 read it first, with -migrateFrom", place=place)
            )
        interfaces, rows = database.needed("interfaces"), database.needed("peers")
        addresses = {kind: _addresses(database, kind) for kind in ("interface", "peer")}
        status = {str(row.get("identifier")): row for row in database.rows("peer_statuses")}
    if not interfaces:
        raise UnreadableError(Reason("{place}: has no interface", place=place))
    said: list[str] = []
    found = []
    for row in interfaces:
        name = row["identifier"]
        if row.get("type") == "client":
            said.append(Reason("{name} is a client of another server, and is left out", name=name))
            continue
        own = tuple(interface_address(each) for each in addresses["interface"].get(name, ()))
        peers = peers_of(
            [each for each in rows if each.get("interface_identifier") == name],
            lambda each: _peer(each, addresses["peer"].get(each["identifier"], ()), own, status, said),  # noqa: B023 - used at once
            lambda each: Reason("{name}: peer {peer}", name=name, peer=_called(each)),  # noqa: B023 - as above
            said,
        )
        found.append(_interface(row, own, peers, said))
    return ImportedFleet(source="wg-portal", interfaces=tuple(found), warnings=tuple(said))


def _addresses(database: Database, kind: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for row in database.rows(f"{kind}_addresses"):
        found[row[f"{kind}_identifier"]] = (*found.get(row[f"{kind}_identifier"], ()), row["cidr_cidr"])
    return found


def _interface(row: Row, own: tuple[str, ...], peers: tuple[ImportedPeer, ...], said: list[str]) -> ImportedInterface:
    name = row["identifier"]
    private = _key(row.get("private_key"), f"{name}: private_key", said)
    said += [
        Reason("{name} is a device of {backend}, not of Linux", name=name, backend=row["backend"])
        for _ in "1"
        if row.get("backend") not in {None, "", "local"}
    ]
    return ImportedInterface(
        name=name,
        private_key=private,
        public_key=public_of(private) if private else row.get("public_key"),
        listen_port=port_of(row.get("listen_port"), "listen_port", name, said),
        addresses=own,
        mtu=mtu_of(row.get("mtu"), "mtu", name, said),
        dns=listed(f"{row.get('peer_def_dns_str') or ''},{row.get('peer_def_dns_search_str') or ''}"),
        client_allowed_ips=networks(listed(row.get("peer_def_allowed_ips_str"))),
        keepalive=common_keepalive_of(
            row.get("peer_def_persistent_keepalive"), "peer_def_persistent_keepalive", name, said
        ),
        endpoint=row.get("peer_def_endpoint") or None,
        hooks=tuple(f"{each}: {row[each]}" for each in _HOOKS if row.get(each)),
        peers=peers,
    )


def _key(text: str | None, place: str, said: list[str]) -> str | None:
    if not text:
        return None
    if text.startswith(ENCRYPTED):
        said.append(Reason("{place} is encrypted by wg-portal, and cannot be read", place=place))
        return None
    return clamped(text, place)


def _peer(
    row: Row, cidrs: tuple[str, ...], interface: tuple[str, ...], status: Mapping[str, Row], said: list[str]
) -> ImportedPeer:
    place = Reason("peer {peer}", peer=_called(row))
    kept = row.get("private_key")
    if kept and kept.startswith(ENCRYPTED):
        kept = _key(kept, f"{place}: private_key", said)
    public, private = keys_of(kept, row.get("public_key") or row["identifier"], place, said)
    psk = row.get("preshared_key")
    if psk and psk.startswith(ENCRYPTED):
        said.append(Reason("{place}: its preshared key is encrypted; the peer needs a new file", place=place))
        psk = None
    own, behind = divided([*cidrs, *listed(row.get("extra_allowed_ips_str"))], interface)
    seen = status.get(row["identifier"], {})
    return ImportedPeer(
        public_key=public,
        name=" ".join(str(row.get("display_name") or "").split()),
        private_key=private,
        preshared_key=preshared(psk, place),
        addresses=own,
        networks=behind,
        enabled=not row.get("disabled"),
        client_allowed_ips=networks(listed(row.get("allowed_ips_str_v"))) or None,
        dns=listed(row.get("iface_dns_str_v")) or None,
        mtu=mtu_of(row.get("iface_mtu_v"), "mtu", place, said),
        keepalive=keepalive_of(row.get("persistent_keep_alive_v"), place, said),
        endpoint=row.get("endpoint_v") or None,
        notes=str(row.get("notes") or ""),
        owner=row.get("user_identifier") or None,
        created_at=time_of(row.get("created_at")),
        expires_at=expiry(row.get("expires_at"), place, said),
        received=bytes_of(seen.get("received"), "received", place, said),
        sent=bytes_of(seen.get("transmitted"), "transmitted", place, said),
        place=str(place),
    )


def _called(row: Row) -> object:
    return row.get("display_name") or row.get("identifier")
