"""Reader of WGDashboard 4: `wgdashboard.db`, `wgdashboard_job.db` beside it, and the files of its interfaces.

Its tables are one set an interface; names and users' settings are only there, the server's own in the file of wg-quick.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from wgfleet.imports import wg_quick
from wgfleet.imports.addresses import divided, listed, networks
from wgfleet.imports.databases import Database, Row, found_in, opened
from wgfleet.imports.fleet import (
    MALFORMED,
    ImportedFleet,
    ImportedInterface,
    ImportedJob,
    ImportedPeer,
    ImportedTag,
    UnreadableError,
    keys_of,
    preshared,
    well_formed,
    why,
)
from wgfleet.imports.numbers import bytes_of, keepalive_of, mtu_of
from wgfleet.imports.server_folders import text_of
from wgfleet.protocol.reasons import Reason

GIB = 1024**3
RESTRICTED = "_restrict_access"
DATE = "%Y-%m-%d %H:%M:%S"


def read(path: Path, configurations: Path = Path("/etc/wireguard")) -> ImportedFleet:
    """Read a folder with the databases, or the main one; `configurations`: where its interfaces' files are.

    Raise `UnreadableError`.
    """
    main = found_in(path, "wgdashboard.db", "db/wgdashboard.db", "src/db/wgdashboard.db")
    with opened(main) as database:
        infos = {row.get("ID"): _object(row.get("Info")) for row in database.rows("ConfigurationsInfo")}
        names = _interfaces(database)
        peers = {name: (database.rows(name), database.rows(f"{name}{RESTRICTED}")) for name in names}
    if not names:
        raise UnreadableError(Reason("{main}: has no tables of peers, so it is of another program", main=main))
    jobs = _jobs(main.with_name("wgdashboard_job.db"))
    beside = configurations if configurations.is_dir() else main.parent
    interfaces, tags, warnings = [], [], []
    for name in names:
        found, said = _interface(name, beside / f"{name}.conf", infos.get(name, {}), peers[name], jobs)
        interfaces.append(found)
        warnings += said
        tags += [_tag(group) for group in _groups(infos.get(name, {}))]
    warnings.append(Reason("usage was kept in rounded GiB: opening balances are not exact to the byte"))
    if any(job.field == "date" for each in jobs.values() for job in each):
        warnings.append(Reason("dates of limits are read as times of this machine's zone, as its own server kept them"))
    return ImportedFleet(source="wgdashboard", interfaces=tuple(interfaces), tags=tuple(tags), warnings=tuple(warnings))


def _interfaces(database: Database) -> list[str]:
    tables = set(database.tables())
    return sorted(name for name in tables if f"{name}{RESTRICTED}" in tables)


def _object(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _jobs(path: Path) -> dict[tuple[str, str], list[ImportedJob]]:
    """Return the jobs that have not ended, by configuration and peer."""
    found: dict[tuple[str, str], list[ImportedJob]] = {}
    if not path.is_file():
        return found
    with opened(path) as database:
        for row in database.rows("PeerJobs"):
            if row.get("ExpireDate"):
                continue
            words = {name.lower(): str(row[name]) for name in ("Field", "Operator", "Action")}
            job = ImportedJob(**words, value=_value(words["field"], str(row["Value"])))
            found.setdefault((row["Configuration"], row["Peer"]), []).append(job)
    return found


def _value(field: str, text: str) -> str:
    """Return the value of a job, which is kept in GiB, or as a time of the server's own zone: of this machine's."""
    try:
        if field == "date":
            return datetime.strptime(text, DATE).astimezone().isoformat()
        return str(round(float(text) * GIB))
    except (ValueError, OverflowError):
        return text


def _groups(info: Mapping[str, Any]) -> list[dict[str, Any]]:
    groups = info.get("PeerGroups") or {}
    return [each for each in groups.values() if each.get("GroupName")] if isinstance(groups, dict) else []


def _tag(group: Mapping[str, Any]) -> ImportedTag:
    return ImportedTag(name=str(group["GroupName"]), color=group.get("BackgroundColor") or None)


def _interface(
    name: str,
    file: Path,
    info: Mapping[str, Any],
    tables: tuple[list[Row], list[Row]],
    jobs: Mapping[tuple[str, str], list[ImportedJob]],
) -> tuple[ImportedInterface, list[str]]:
    said: list[str] = []
    if file.is_file():
        keys = {str(row.get("id")) for rows in tables for row in rows}
        interface = wg_quick.server(name, text_of(file), said, elsewhere=keys)
    else:
        interface = ImportedInterface(name=name)
        said.append(
            Reason(
                "{name}: there is no {file}; give the folder with it, or its keys and port are not known",
                name=name,
                file=file,
            )
        )
    override = info.get("OverridePeerSettings") or {}
    groups = _groups(info)
    in_file = {peer.public_key: peer for peer in interface.peers}
    peers: dict[str, ImportedPeer] = {}
    for enabled, rows in zip((True, False), tables, strict=True):
        for row in rows:
            place = Reason("{name}: peer {peer}", name=name, peer=row.get("id"))
            try:
                found, warnings = _peer(row, place, interface, override, enabled=enabled)
                found = well_formed(found)
            except MALFORMED as error:
                said.append(Reason("{place} is left out: {error}", place=place, error=why(error)))
                continue
            said += warnings
            peers[found.public_key] = msgspec.structs.replace(
                found,
                tags=tuple(str(each["GroupName"]) for each in groups if row["id"] in (each.get("Peers") or ())),
                jobs=tuple(jobs.get((name, row["id"]), ())),
                preshared_key=found.preshared_key or _preshared(in_file, found.public_key),
            )
    said += [
        Reason("{name}: peer {key} is in its file only, without a name", name=name, key=key)
        for key in in_file.keys() - peers.keys()
    ]
    everyone = {**in_file, **peers}
    return msgspec.structs.replace(
        interface, endpoint=_endpoint(override, everyone, interface), peers=tuple(everyone.values())
    ), said


def _preshared(in_file: Mapping[str, ImportedPeer], key: str) -> str | None:
    return in_file[key].preshared_key if key in in_file else None


def _endpoint(
    override: Mapping[str, Any], peers: Mapping[str, ImportedPeer], interface: ImportedInterface
) -> str | None:
    host = override.get("PeerRemoteEndpoint")
    port = override.get("ListenPort") or interface.listen_port
    if host and port:
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return next((peer.endpoint for peer in peers.values() if peer.endpoint), None)


def _used(row: Row, what: str, place: str, said: list[str]) -> int | None:
    """Return bytes, which are kept in GiB: since the last reset of the counter, and before it."""
    kept = [row.get(f"{part}_{what}") or 0.0 for part in ("total", "cumu")]
    try:
        return bytes_of(sum(map(float, kept)) * GIB, what, place, said)
    except (TypeError, ValueError):
        return bytes_of(" and ".join(map(str, kept)), what, place, said)


def _whose(row: Row, place: str) -> str:
    """Return the name of a peer, or where it stands."""
    return " ".join(str(row.get("name") or "").split()) or place


def _peer(
    row: Row, place: str, interface: ImportedInterface, override: Mapping[str, Any], *, enabled: bool
) -> tuple[ImportedPeer, list[str]]:
    said: list[str] = []

    def value(own: str, overriding: str) -> str:
        return str(override.get(overriding) or row.get(own) or "")

    allowed = [each for each in listed(row.get("allowed_ip")) if each.upper() != "N/A"]
    addresses, behind = divided(allowed, interface.addresses)
    if not addresses:
        said.append(Reason("{place} has no address", place=place))
    said += [
        Reason("{place}: {column} has a template, {{{{ ... }}}}, which is kept as text", place=place, column=column)
        for column in ("name", "DNS", "endpoint_allowed_ip", "notes")
        if "{{" in str(row.get(column) or "")
    ]
    public, private = keys_of(str(row.get("private_key") or ""), row["id"], place, said)
    numbers = {name: value(name, key) for name, key in (("mtu", "MTU"), ("keepalive", "PersistentKeepalive"))}
    client_allowed = value("endpoint_allowed_ip", "EndpointAllowedIPs")
    peer = ImportedPeer(
        public_key=public,
        name=" ".join(str(row.get("name") or "").split()),
        private_key=private,
        preshared_key=preshared(row.get("preshared_key"), "preshared_key"),
        addresses=addresses,
        networks=behind,
        enabled=enabled,
        client_allowed_ips=networks(listed(client_allowed)) if client_allowed and "{{" not in client_allowed else None,
        dns=(listed(dns) or None) if "{{" not in (dns := value("DNS", "DNS")) else None,
        mtu=mtu_of(numbers["mtu"], "mtu", _whose(row, place), said),
        keepalive=keepalive_of(numbers["keepalive"], _whose(row, place), said),
        notes=str(row.get("notes") or ""),
        received=_used(row, "receive", place, said),
        sent=_used(row, "sent", place, said),
        place=str(place),
    )
    return peer, said
