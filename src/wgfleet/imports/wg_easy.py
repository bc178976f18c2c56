"""Reader of wg-easy: `wg0.json` up to version 14, `wg-easy.db` from version 15 on.

Before 15, what users' files say stood in the container's environment only: a file of it, or of docker compose, is read
beside.
"""

import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wgfleet.imports.addresses import divided, listed, networks
from wgfleet.imports.databases import Row, found_in, opened
from wgfleet.imports.fleet import (
    MALFORMED,
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
    why,
)
from wgfleet.imports.numbers import common_keepalive_of, keepalive_of, mtu_of, number, port_of, time_of
from wgfleet.imports.server_folders import text_of
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

UNFINISHED = "---default---"
_VARIABLE = re.compile(
    r"""^\s*+-?\s*+["']?((?:WG|EXPERIMENTAL|OVERRIDE)_[A-Z_]+)["']?\s*[=:]\s*+["']?([^"'#]*+)["']?\s*+(?:#.*)?$"""
)
_DESTINATION = re.compile(  # 10.0.0.0/24:443/tcp, [2001:db8::1]:53/udp, 2001:db8::/32; a protocol takes a port
    r"(?:\[(?P<network>[0-9a-fA-F:.]+(?:/[0-9]+)?)\]|(?P<bare>[0-9.]+(?:/[0-9]+)?|[0-9a-fA-F:.]+(?:/[0-9]+)?))"
    r"(?::(?P<port>[0-9]+)(?:/(?P<transport>tcp|udp))?)?"
)
_DEFAULTS = {
    "WG_PORT": "51820",
    "WG_DEFAULT_DNS": "1.1.1.1",
    "WG_ALLOWED_IPS": "0.0.0.0/0, ::/0",
    "WG_PERSISTENT_KEEPALIVE": "0",
}
_IN_PREFIX = 24  # of version 14, which never asked


def read(path: Path, environment: Path | None = None) -> ImportedFleet:
    """Read a folder, `wg0.json` or `wg-easy.db`; `environment`: a file of variables or of docker compose.

    Raise `UnreadableError`.
    """
    place = found_in(path, "wg-easy.db", "wg0.json")
    if place.suffix == ".json":
        return _version_14(place, environment)
    return _version_15(place)


def variables(text: str) -> dict[str, str]:
    """Return the variables of wg-easy in a file of assignments, or of docker compose in either of its forms."""
    return {match[1]: match[2].strip() for line in text.splitlines() if (match := _VARIABLE.match(line))}


def _version_14(place: Path, environment: Path | None) -> ImportedFleet:
    said: list[str] = []
    given = variables(text_of(environment)) if environment else {}
    if not given.get("WG_HOST"):
        said.append(
            Reason("the file lacks what users' files say: give the container's environment, or check each setting")
        )
    values = _DEFAULTS | given
    try:
        kept = json.loads(text_of(place))
        server, clients = kept["server"], kept["clients"]
        private = clamped(server["privateKey"], "server.privateKey")
        address = _of_server(server["address"])
        peers = peers_of(
            clients.items(),
            lambda pair: _peer_14(pair[1], said, Reason("client {client}", client=pair[0])),
            lambda pair: Reason("client {client}", client=pair[0]),
            said,
        )
    except MALFORMED as error:
        raise UnreadableError(
            Reason("{place}: is no file of wg-easy up to version 14: {error}", place=place, error=why(error))
        ) from None
    host = given.get("WG_HOST")
    port = given.get("WG_CONFIG_PORT") or values["WG_PORT"]
    interface = ImportedInterface(
        name=place.stem,
        private_key=private,
        public_key=public_of(private),
        listen_port=port_of(values["WG_PORT"], "WG_PORT", place.name, said),
        addresses=(str(address),),
        mtu=mtu_of(given.get("WG_MTU"), "WG_MTU", place.name, said),
        dns=listed(values["WG_DEFAULT_DNS"]),
        client_allowed_ips=networks(listed(values["WG_ALLOWED_IPS"])),
        keepalive=common_keepalive_of(values["WG_PERSISTENT_KEEPALIVE"], "WG_PERSISTENT_KEEPALIVE", place.name, said),
        endpoint=endpoint_of(host, number(port)),
        hooks=tuple(f"{name}: {given[name]}" for name in sorted(given) if name.startswith(("WG_POST", "WG_PRE"))),
        peers=peers,
    )
    said.append(
        Reason(
            "{name}: version 14 does not keep its network; {network} is assumed",
            name=place.name,
            network=address.network,
        )
    )
    return ImportedFleet(source="wg-easy", interfaces=(interface,), warnings=tuple(said))


def _of_server(text: object) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    try:
        return ipaddress.ip_interface(f"{ipaddress.ip_address(str(text))}/{_IN_PREFIX}")
    except ValueError:
        raise FieldError("server.address", Reason("must be the server's own, such as 10.8.0.1")) from None


def _peer_14(client: Mapping[str, Any], said: list[str], place: str) -> ImportedPeer:
    public, private = keys_of(client.get("privateKey"), client.get("publicKey"), place, said)
    if not client.get("privateKey"):
        said.append(Reason("{place} has no private key: its file cannot be made again", place=place))
    allowed = client.get("allowedIPs")
    return ImportedPeer(
        public_key=public,
        name=" ".join(str(client.get("name") or "").split()),
        private_key=private,
        preshared_key=preshared(client.get("preSharedKey"), place),
        addresses=(str(ipaddress.ip_address(client["address"])),) if client.get("address") else (),
        enabled=client.get("enabled") is not False,
        client_allowed_ips=networks(listed(allowed)) if isinstance(allowed, str) and allowed else None,
        created_at=time_of(client.get("createdAt")),
        expires_at=expiry(client.get("expiredAt"), place, said),
        place=str(place),
    )


def _version_15(place: Path) -> ImportedFleet:
    with opened(place) as database:
        rows = database.rows("interfaces_table")
        clients = database.needed("clients_table")
        users = {row.get("id"): row.get("username") for row in database.rows("users_table")}
        settings = {row.get("id"): row for row in database.rows("user_configs_table")}
        hooks = {row.get("id"): row for row in database.rows("hooks_table")}
    if not rows:
        raise UnreadableError(Reason("{place}: has no interface", place=place))
    said: list[str] = []
    try:
        interfaces = tuple(_interface(row, settings, hooks, clients, users, said) for row in rows)
    except MALFORMED as error:
        raise UnreadableError(
            Reason("{place}: is not as wg-easy 15 keeps it: {error}", place=place, error=why(error))
        ) from None
    return ImportedFleet(source="wg-easy", interfaces=interfaces, warnings=tuple(said))


def _interface(
    row: Row,
    settings: Mapping[Any, Row],
    hooks: Mapping[Any, Row],
    clients: list[Row],
    users: Mapping[Any, Any],
    said: list[str],
) -> ImportedInterface:
    name = row["name"]
    if UNFINISHED in {row["private_key"], row.get("public_key")}:
        raise UnreadableError(Reason("{name}: the set-up of wg-easy was never finished, so it has no key", name=name))
    private = clamped(row["private_key"], f"{name}: private_key")
    cidrs = [str(row[each]) for each in ("ipv4_cidr", "ipv6_cidr") if row.get(each)]
    addresses = tuple(_first_host(each) for each in cidrs)
    values = settings.get(name, {})
    texts = hooks.get(name, {})
    own = [client for client in clients if client.get("interface_id") in {name, None}]
    return ImportedInterface(
        name=name,
        private_key=private,
        public_key=public_of(private),
        listen_port=port_of(row.get("port"), "port", name, said),
        addresses=addresses,
        mtu=mtu_of(row.get("mtu"), "mtu", name, said),
        dns=_json_list(values.get("default_dns")) or (),
        client_allowed_ips=networks(_json_list(values.get("default_allowed_ips")) or ()),
        keepalive=common_keepalive_of(
            values.get("default_persistent_keepalive"), "default_persistent_keepalive", name, said
        ),
        endpoint=endpoint_of(values.get("host"), values.get("port")),
        hooks=tuple(
            f"{each}: {texts[each]}" for each in ("pre_up", "post_up", "pre_down", "post_down") if texts.get(each)
        ),
        peers=peers_of(
            own,
            lambda client: _peer_15(client, addresses, users, values if row.get("firewall_enabled") else None, said),
            lambda client: Reason("client {client} ({name})", client=client.get("id"), name=client.get("name")),
            said,
        ),
    )


def _first_host(cidr: str) -> str:
    each = ipaddress.ip_network(cidr, strict=False)
    return f"{each.network_address + 1}/{each.prefixlen}"


def _peer_15(
    row: Row, interface: tuple[str, ...], users: Mapping[Any, Any], firewall: Row | None, said: list[str]
) -> ImportedPeer:
    """Read a client. `firewall`: the defaults that count for it where it is held to where it may connect to."""
    place = Reason("client {client}", client=row["id"])
    own = tuple(str(ipaddress.ip_address(row[each])) for each in ("ipv4_address", "ipv6_address") if row.get(each))
    _, behind = divided(_json_list(row.get("server_allowed_ips")) or (), interface)
    public, private = keys_of(row.get("private_key"), row.get("public_key"), place, said)
    said += [
        Reason(
            "{place} ({name}): the hook {hook} of its file is not carried over",
            place=place,
            name=row.get("name"),
            hook=each,
        )
        for each in ("pre_up", "post_up", "pre_down", "post_down")
        if row.get(each)
    ]
    allowed = _json_list(row.get("allowed_ips"))
    owner = users.get(row.get("user_id"))
    return ImportedPeer(
        public_key=public,
        name=" ".join(str(row.get("name") or "").split()),
        private_key=private,
        preshared_key=preshared(row.get("pre_shared_key"), place),
        addresses=own,
        networks=behind,
        enabled=bool(row.get("enabled", True)),
        client_allowed_ips=None if allowed is None else networks(allowed),
        dns=_json_list(row.get("dns")),
        mtu=mtu_of(row.get("mtu"), "mtu", str(row.get("name") or place), said),
        keepalive=keepalive_of(row.get("persistent_keepalive"), str(row.get("name") or place), said),
        owner=None if owner is None else str(owner),
        created_at=time_of(row.get("created_at")),
        expires_at=expiry(row.get("expires_at"), place, said),
        destinations=None if firewall is None else _destinations(row, firewall, place, said),
        place=str(place),
    )


def _destinations(row: Row, firewall: Row, place: str, said: list[str]) -> tuple[str, ...] | None:
    """Return rules that allow what the firewall of version 15 does: its list, else what the client's file says.

    It looks at what is forwarded alone: the server itself stays reachable. None: it allows all.
    """
    listed_ones = _json_list(row.get("firewall_ips")) or _json_list(row.get("allowed_ips"))
    allowed = listed_ones or _json_list(firewall.get("default_allowed_ips")) or ()
    if {"0.0.0.0/0", "::/0"} <= set(allowed):
        return None
    rules = ["allow node"]
    for entry in allowed:
        if (match := _DESTINATION.fullmatch(entry.strip())) is None:
            said.append(
                Reason(
                    "{place}: the firewall's {entry!r} is not understood, and allows nothing", place=place, entry=entry
                )
            )
            continue
        network = match["network"] or match["bare"]
        transports = [match["transport"]] if match["transport"] else ["tcp", "udp"]
        rules += (
            [f"allow {each}/{match['port']} {network}" for each in transports]
            if match["port"]
            else [f"allow {network}"]
        )
    return tuple(dict.fromkeys(rules))


def _json_list(text: Any) -> tuple[str, ...] | None:
    """Return a list that is kept as JSON; None for NULL, which stands for the default."""
    found = json.loads(text) if isinstance(text, str) and text else None
    return tuple(str(each) for each in found) if isinstance(found, list) else None


def endpoint_of(host: str | None, port: int | None) -> str | None:
    """Return host and port as files have them, None without either."""
    if not host or not port:
        return None
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
