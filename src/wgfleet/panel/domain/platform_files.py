"""Files of users in the words of platforms that read no wg-quick file: NetworkManager, RouterOS, OpenWrt, Apple. Pure.

Each escapes names in its own way: a name may have quotes, dollars and letters of any script.
"""

import hashlib
import plistlib
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from wgfleet.panel.domain.client_settings import EVERYTHING
from wgfleet.panel.domain.fields import is_address
from wgfleet.panel.domain.rendering import ClientValues, client_file
from wgfleet.protocol.addresses import host_network

_PLAIN_IN_ROUTEROS = re.compile(rb"[A-Za-z0-9 .,:/_+=@()-]")
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def split_host(endpoint: str) -> tuple[str, str]:
    """Return host, without brackets, and port of `HOST:PORT`."""
    host, _, port = endpoint.rpartition(":")
    return host.strip("[]"), port


def identifier(values: ClientValues, what: str) -> str:
    """Return a UUID that is always the same for the same user's file: a second import replaces the first."""
    own = " ".join((what, *values.addresses, values.server_public_key))
    digest = bytearray(hashlib.sha256(own.encode()).digest()[:16])
    digest[6], digest[8] = digest[6] & 0x0F | 0x80, digest[8] & 0x3F | 0x80  # version 8 of RFC 9562: ours
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _dns(values: ClientValues) -> tuple[list[str], list[str]]:
    """Return name servers, and search domains."""
    servers = [each for each in values.dns if is_address(each)]
    return servers, [each for each in values.dns if each not in servers]


def network_manager(values: ClientValues, interface: str) -> str:
    """Return a keyfile of NetworkManager (nm-settings-keyfile(5)).

    With name servers of its own the tunnel is asked for all names, as wg-quick has it.
    """
    servers, domains = _dns(values)
    lines = ["[connection]", f"id={_keyfile(values.title)}", f"uuid={identifier(values, 'NetworkManager')}"]
    lines += ["type=wireguard", f"interface-name={interface}", "", "[wireguard]", f"private-key={values.private_key}"]
    if values.mtu is not None:
        lines.append(f"mtu={values.mtu}")
    lines += ["", f"[wireguard-peer.{values.server_public_key}]", f"endpoint={values.endpoint}"]
    if values.preshared_key:
        lines += [f"preshared-key={values.preshared_key}", "preshared-key-flags=0"]
    lines.append(f"allowed-ips={''.join(f'{each};' for each in values.allowed_ips)}")
    if values.keepalive:
        lines.append(f"persistent-keepalive={values.keepalive}")
    for version in (4, 6):
        lines += ["", f"[ipv{version}]", *_of_version(values, version, servers, domains)]
    return "\n".join(lines) + "\n"


def _of_version(values: ClientValues, version: int, servers: Sequence[str], domains: Sequence[str]) -> Iterable[str]:
    own = [each for each in values.addresses if (":" in each) == (version == 6)]  # noqa: PLR2004 - IPv6
    if not own:
        return ["method=disabled"]
    lines = [f"address{number}={host_network(each)}" for number, each in enumerate(own, 1)]
    asked = [each for each in servers if (":" in each) == (version == 6)]  # noqa: PLR2004 - as above
    if asked:
        search = domains or ["~"]
        lines += [
            f"dns={''.join(f'{each};' for each in asked)}",
            f"dns-search={''.join(f'{each};' for each in search)}",
        ]
    return [*lines, "method=manual"]


def _keyfile(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return re.sub(r"^ +", lambda found: "\\s" * len(found[0]), escaped)


def routeros(values: ClientValues, interface: str) -> str:
    """Return a script for RouterOS 7.

    What may cut a router off, or is about all of it, stands in comments.
    """
    host, port = split_host(values.endpoint)
    name = _routeros(interface)
    peer = [f"interface={name}", f'public-key="{values.server_public_key}"']
    if values.preshared_key:
        peer.append(f'preshared-key="{values.preshared_key}"')
    peer += [f"endpoint-address={_routeros(host)}", f"endpoint-port={port}"]
    peer.append(f"allowed-address={','.join(values.allowed_ips)}")
    if values.keepalive:
        peer.append(f"persistent-keepalive={values.keepalive}s")
    comment, mtu = _routeros(values.title), "" if values.mtu is None else f" mtu={values.mtu}"
    lines = [
        "# RouterOS 7: upload it, look at it, then: /import file-name=THIS",
        f'/interface/wireguard/add name={name} private-key="{values.private_key}"{mtu} comment={comment}',
        f"/interface/wireguard/peers/add {' '.join(peer)}",
    ]
    for each in values.addresses:
        six = ":" in each
        more = " advertise=no" if six else ""
        lines.append(f"/{'ipv6' if six else 'ip'}/address/add address={host_network(each)} interface={name}{more}")
    for each in values.allowed_ips:
        family = "ipv6" if ":" in each else "ip"
        route = f"/{family}/route/add dst-address={each} gateway={name}"
        if each in EVERYTHING.values():
            lines.append("# Everything through the tunnel: first give the server itself a route by your provider.")
            lines += [f"# {route.replace(each, half)}" for half in _halves(each)]
        else:
            lines.append(route)
    servers, _ = _dns(values)
    if servers:
        lines += ["# Name servers of the whole router:", f"# /ip/dns/set servers={','.join(servers)}"]
    lines.append("# So that devices behind the router reach the tunnel, unless their network is routed to it:")
    lines.append(f"# /ip/firewall/nat/add chain=srcnat out-interface={name} action=masquerade")
    return "\n".join(lines) + "\n"


def _halves(everything: str) -> tuple[str, str]:
    """Return two networks that are everything, and nearer than the route that there is."""
    return ("::/1", "8000::/1") if ":" in everything else ("0.0.0.0/1", "128.0.0.0/1")


def _routeros(text: str) -> str:
    """Return a string of RouterOS: all but plain characters as the bytes of UTF-8, in hexadecimal digits."""
    parts = (bytes([byte]) for byte in text.encode())
    escaped = "".join(
        part.decode() if _PLAIN_IN_ROUTEROS.fullmatch(part) else f"\\{part.hex().upper()}" for part in parts
    )
    return f'"{escaped}"'


def openwrt(values: ClientValues, interface: str) -> str:
    """Return a shell script of uci commands, for OpenWrt with the package `wireguard-tools`."""
    host, port = split_host(values.endpoint)
    name = re.sub(r"[^A-Za-z0-9_]", "_", interface)  # all that a section's name may have
    own, peer = f"network.{name}", f"network.{name}_server"
    servers, domains = _dns(values)
    settings: list[tuple[str, str, str | None]] = [
        ("set", own, "interface"),
        ("set", f"{own}.proto", "wireguard"),
        ("set", f"{own}.private_key", values.private_key),
        *(("add_list", f"{own}.addresses", host_network(each)) for each in values.addresses),
        *(("add_list", f"{own}.dns", each) for each in servers),
        *(("add_list", f"{own}.dns_search", each) for each in domains),
        ("set", f"{own}.mtu", None if values.mtu is None else str(values.mtu)),
        ("set", peer, f"wireguard_{name}"),
        ("set", f"{peer}.description", values.title),
        ("set", f"{peer}.public_key", values.server_public_key),
        ("set", f"{peer}.preshared_key", values.preshared_key),
        ("set", f"{peer}.endpoint_host", host),
        ("set", f"{peer}.endpoint_port", port),
        ("set", f"{peer}.persistent_keepalive", str(values.keepalive) if values.keepalive else None),
        ("set", f"{peer}.route_allowed_ips", "1"),
        *(("add_list", f"{peer}.allowed_ips", each) for each in values.allowed_ips),
    ]
    lines = ["#!/bin/sh", "# OpenWrt, with the package wireguard-tools: sh THIS", "set -e"]
    lines += _guard_of_openwrt(own, "interfacewireguard", name) + _guard_of_openwrt(peer, f"wireguard_{name}", name)
    lines += _guard_of_peers(name, peer)
    lines += [f"uci -q delete {each} || true" for each in (own, peer)]
    lines += [f"uci {verb} {shlex.quote(f'{key}={value}')}" for verb, key, value in settings if value is not None]
    lines += [
        "uci commit network",
        "# So that devices behind the router reach the tunnel, put it into the zone wan:",
        f"# uci add_list firewall.@zone[1].network={name} && uci commit firewall && service firewall restart",
        "service network reload",
    ]
    return "\n".join(lines) + "\n"


def _guard_of_peers(name: str, peer: str) -> list[str]:
    """End the script where the interface has peers of another VPN, as those made in LuCI, which have no names."""
    section = f"network.@wireguard_{name}"
    said = f"network.{name} has peers that are not of this VPN; nothing was changed. Put another name than {name} here"
    return [
        f'others="$(uci -q get "{section}[1]" || true)"',
        f'[ -n "$(uci -q get {peer} || true)" ] || others="$(uci -q get "{section}[0]" || true)"',
        'if [ -n "$others" ]; then',
        f'    echo "{said}" >&2',
        "    exit 1",
        "fi",
    ]


def _guard_of_openwrt(section: str, kind: str, name: str) -> list[str]:
    """End the script before it changes anything where the router has something else of that name, such as its `lan`."""
    said = f"{section} is no WireGuard interface of this VPN; nothing was changed. Put another name than {name} here"
    return [
        f'have="$(uci -q get {section} || true)$(uci -q get {section}.proto || true)"',
        f'if [ -n "$have" ] && [ "$have" != {kind} ]; then',
        f'    echo "{said}" >&2',
        "    exit 1",
        "fi",
    ]


def mobileconfig(values: ClientValues, interface: str, system: Literal["ios", "macos"]) -> bytes:
    """Return a profile for the WireGuard app on devices of Apple, whose payload has the stock file within."""
    title = _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", values.title)
    host, _ = split_host(values.endpoint)
    own = f"org.wgfleet.{identifier(values, system)}"
    vpn: dict[str, Any] = {
        "PayloadType": "com.apple.vpn.managed",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"{own}.vpn",
        "PayloadUUID": identifier(values, f"{system} vpn").upper(),
        "PayloadDisplayName": "VPN",
        "UserDefinedName": interface,
        "VPNType": "VPN",
        "VPNSubType": f"com.wireguard.{system}",
        "VendorConfig": {"WgQuickConfig": _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", client_file(values))},
        "VPN": {"RemoteAddress": host, "AuthenticationMethod": "Password"},
    }
    return plistlib.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadVersion": 1,
            "PayloadIdentifier": own,
            "PayloadUUID": identifier(values, system).upper(),
            "PayloadDisplayName": f"WireGuard: {title}",
            "PayloadContent": [vpn],
        }
    )
