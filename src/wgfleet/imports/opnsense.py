"""Reader of `config.xml` of OPNsense and pfSense. Neither keeps the private keys of users."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from wgfleet.imports.addresses import divided, interface_address, listed
from wgfleet.imports.databases import found_in
from wgfleet.imports.fleet import (
    MALFORMED,
    ImportedFleet,
    ImportedInterface,
    ImportedPeer,
    UnreadableError,
    clamped,
    peers_of,
    preshared,
    public_key,
    public_of,
    why,
)
from wgfleet.imports.numbers import keepalive_of, mtu_of, port_of
from wgfleet.imports.server_folders import text_of
from wgfleet.protocol.reasons import Reason


def read(path: Path) -> ImportedFleet:
    """Read an exported configuration. Raise `UnreadableError`."""
    path = found_in(path, "config.xml")
    text = text_of(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UnreadableError(Reason("{path}: has declarations that no exported configuration has", path=path))
    try:
        root = ET.fromstring(text)  # noqa: S314 - no declarations, so nothing to expand
    except ET.ParseError as error:
        raise UnreadableError(Reason("{path}: is no XML: {error}", path=path, error=error)) from None
    said: list[str] = []
    try:
        found = list(_opnsense(root, said)) or list(_pfsense(root, said))
    except MALFORMED as error:
        raise UnreadableError(Reason("{path}: {what}", path=path, what=why(error))) from None
    if not found:
        raise UnreadableError(Reason("{path}: has no WireGuard server of OPNsense or pfSense", path=path))
    return ImportedFleet(source="opnsense", interfaces=tuple(found), warnings=tuple(said))


def _text(element: Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _opnsense(root: Element, said: list[str]) -> Iterator[ImportedInterface]:
    wireguard = root.find(".//wireguard/server/servers/..")
    if wireguard is None:
        return
    clients = {each.get("uuid"): each for each in root.iterfind(".//wireguard/client/clients/client")}
    for server in root.iterfind(".//wireguard/server/servers/server"):
        name = f"wg{_text(server, 'instance') or '0'}"
        own = tuple(interface_address(each) for each in listed(_text(server, "tunneladdress")))
        if _text(server, "carp_depend_on"):
            said.append(Reason("{name} belongs to a pair of machines, of which one at a time serves", name=name))
        members = [clients[each] for each in listed(_text(server, "peers")) if each in clients]
        own_members = [each for each in members if not _text(each, "serveraddress")]
        peers = peers_of(
            own_members,
            lambda each: _opnsense_peer(each, own, said),  # noqa: B023 - used at once
            lambda each: Reason("{name}: client {client}", name=name, client=_text(each, "name")),  # noqa: B023 - as above
            said,
        )
        said += [
            Reason(
                "{name}: {site} is another site, at {address}, and is left out",
                name=name,
                site=_text(each, "name"),
                address=_text(each, "serveraddress"),
            )
            for each in members
            if _text(each, "serveraddress")
        ]
        yield _server(name, server, ("privkey", "port"), own, peers, said)


def _server(
    name: str,
    element: Element,
    key_and_port: tuple[str, str],
    own: tuple[str, ...],
    peers: tuple[ImportedPeer, ...],
    said: list[str],
) -> ImportedInterface:
    key, port = key_and_port
    private = clamped(_text(element, key), f"{name}: private key" if name else "private key")
    return ImportedInterface(
        name=name,
        private_key=private,
        public_key=public_of(private),
        listen_port=port_of(_text(element, port), port, name, said),
        addresses=own,
        mtu=mtu_of(_text(element, "mtu"), "mtu", name, said),
        dns=listed(_text(element, "dns")),
        peers=peers,
    )


def _opnsense_peer(client: Element, interface: tuple[str, ...], said: list[str]) -> ImportedPeer:
    name = _text(client, "name")
    own, behind = divided(listed(_text(client, "tunneladdress")), interface)
    return ImportedPeer(
        public_key=public_key(_text(client, "pubkey"), f"client {name}"),
        name=name,
        preshared_key=preshared(_text(client, "psk"), f"client {name}"),
        addresses=own,
        networks=behind,
        enabled=_text(client, "enabled") != "0",
        keepalive=keepalive_of(_text(client, "keepalive"), name, said) or None,
        place=str(Reason("client {client}", client=name)),
    )


def _pfsense(root: Element, said: list[str]) -> Iterator[ImportedInterface]:
    tunnels = root.iterfind(".//installedpackages/wireguard/tunnels/item")
    peers = list(root.iterfind(".//installedpackages/wireguard/peers/item"))
    for tunnel in tunnels:
        name = _text(tunnel, "name")
        own = tuple(interface_address(each) for each in _rows(tunnel, "addresses"))
        mine = [peer for peer in peers if _text(peer, "tun") == name]
        said += [
            Reason(
                "{name}: {site} is another site, at {address}, and is left out",
                name=name,
                site=_text(peer, "descr"),
                address=_text(peer, "endpoint"),
            )
            for peer in mine
            if _text(peer, "endpoint")
        ]
        found = peers_of(
            [peer for peer in mine if not _text(peer, "endpoint")],
            lambda peer: _pfsense_peer(peer, own, said),  # noqa: B023 - used at once
            lambda peer: Reason("{name}: peer {peer}", name=name, peer=_text(peer, "descr")),  # noqa: B023 - as above
            said,
        )
        yield _server(name, tunnel, ("privatekey", "listenport"), own, found, said)


def _pfsense_peer(peer: Element, interface: tuple[str, ...], said: list[str]) -> ImportedPeer:
    addresses, behind = divided(list(_rows(peer, "allowedips")), interface)
    return ImportedPeer(
        public_key=public_key(_text(peer, "publickey"), f"peer {_text(peer, 'descr')}"),
        name=_text(peer, "descr"),
        preshared_key=preshared(_text(peer, "presharedkey"), "presharedkey"),
        addresses=addresses,
        networks=behind,
        enabled=_text(peer, "enabled") == "yes",
        keepalive=keepalive_of(_text(peer, "persistentkeepalive"), _text(peer, "descr"), said) or None,
        place=str(Reason("peer {peer}", peer=_text(peer, "descr"))),
    )


def _rows(element: Element, name: str) -> Iterator[str]:
    for row in element.iterfind(f"{name}/row"):
        yield f"{_text(row, 'address')}/{_text(row, 'mask')}" if _text(row, "mask") else _text(row, "address")
