"""Text form of an interface as `wg-quick` reads it: rendering, and parsing that names a wrong line. Pure.

What this text cannot express (routes, masquerading, whether the link is up) stays as it is when one is parsed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from wgfleet.protocol.addresses import parse_interface_address, parse_network, parse_port
from wgfleet.protocol.desired import DesiredInterface, DesiredPeer, InterfaceSettings, check_settings
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import PublicKey, parse_preshared_key, parse_private_key, parse_public_key
from wgfleet.protocol.quotes import quoted

_MAX_KEEPALIVE = 65535  # wg(8)


def render(desired: DesiredInterface) -> str:
    """Render an interface with all its secrets."""
    settings = desired.settings
    lines = ["[Interface]", f"PrivateKey = {settings.private_key}", f"ListenPort = {settings.listen_port}"]
    lines += [f"Address = {address}" for address in settings.addresses]
    if settings.mtu is not None:
        lines.append(f"MTU = {settings.mtu}")
    for key, peer in desired.peers.items():
        lines += ["", "[Peer]", f"PublicKey = {key}"]
        if peer.preshared_key is not None:
            lines.append(f"PresharedKey = {peer.preshared_key}")
        if peer.allowed_ips:
            lines.append(f"AllowedIPs = {', '.join(peer.allowed_ips)}")
        if peer.persistent_keepalive:
            lines.append(f"PersistentKeepalive = {peer.persistent_keepalive}")
    return "\n".join(lines) + "\n"


@dataclass
class _Section:
    line: int
    fields: dict[str, tuple[str, str]] = field(default_factory=dict)  # lower-case name -> (place, value)

    def take(self, name: str) -> tuple[str, str] | None:
        return self.fields.pop(name.lower(), None)

    def items(self, name: str, parse: Callable[[str, str], str]) -> tuple[str, ...]:
        found = self.take(name)
        if found is None:
            return ()
        place, value = found
        return tuple(parse(item.strip(), place) for item in value.split(",") if item.strip())

    def need(self, name: str) -> tuple[str, str]:
        found = self.take(name)
        if found is None:
            raise FieldError(f"line {self.line}", f"this section has no {name}")
        return found

    def end(self, hint: dict[str, str]) -> None:
        for name, (place, _) in self.fields.items():
            raise FieldError(place, hint.get(name, "is not a field that the agent knows in this section"))


_LISTS = {"address", "allowedips"}  # fields that may be given several times
_SHELL = "hooks are not run; forwarding and masquerading are settings of the config in the panel"
_INTERFACE_HINTS = dict.fromkeys(("preup", "postup", "predown", "postdown"), _SHELL) | {
    "dns": "belongs to the clients' files, not to a node",
    "table": "routes are settings of the config in the panel",
    "saveconfig": "the agent stores the state itself",
}
_PEER_HINTS = {"endpoint": "belongs to the live session: WireGuard learns it from the peer"}


def parse(text: str, held: DesiredInterface) -> DesiredInterface:
    """Parse an interface; `held` gives its name, config, generation and what the text cannot express.

    Raise `FieldError` whose field is the line (`line 7, AllowedIPs`).
    """
    sections = _sections(text)
    interfaces = [section for kind, section in sections if kind == "interface"]
    if len(interfaces) != 1:
        raise FieldError("line 1", f"there must be one [Interface], not {len(interfaces)}")
    peers: dict[PublicKey, DesiredPeer] = {}
    for kind, section in sections:
        if kind == "peer":
            key, peer, place = _peer(section)
            if key in peers:
                raise FieldError(place, "this peer is listed twice")
            peers[key] = peer
    return DesiredInterface(generation=held.generation, settings=_settings(interfaces[0], held.settings), peers=peers)


def _settings(section: _Section, held: InterfaceSettings) -> InterfaceSettings:
    place, private_key = section.need("PrivateKey")
    port_place, port = section.need("ListenPort")
    mtu = section.take("MTU")
    settings = msgspec.structs.replace(
        held,
        private_key=parse_private_key(private_key, place),
        listen_port=parse_port(_number(port, port_place), port_place),
        addresses=section.items("Address", parse_interface_address),
        mtu=None if mtu is None else _number(mtu[1], mtu[0]),
    )
    section.end(_INTERFACE_HINTS)
    try:
        check_settings(settings)
    except FieldError as error:
        raise FieldError(mtu[0] if mtu and error.field == "settings.mtu" else place, error.detail) from None
    return settings


def _peer(section: _Section) -> tuple[PublicKey, DesiredPeer, str]:
    place, key = section.need("PublicKey")
    psk = section.take("PresharedKey")
    keepalive = section.take("PersistentKeepalive")
    every = 0
    if keepalive is not None and keepalive[1] != "off":
        every = _number(keepalive[1], keepalive[0])
        if every > _MAX_KEEPALIVE:
            raise FieldError(keepalive[0], f"must be at most {_MAX_KEEPALIVE} s, not {every}")
    peer = DesiredPeer(
        allowed_ips=section.items("AllowedIPs", parse_network),
        preshared_key=None if psk is None else parse_preshared_key(psk[1], psk[0]),
        persistent_keepalive=every,
    )
    section.end(_PEER_HINTS)
    return parse_public_key(key, place), peer, place


def _sections(text: str) -> list[tuple[str, _Section]]:
    sections: list[tuple[str, _Section]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        if line.startswith("["):
            kind = line.strip("[]").lower()
            if kind not in {"interface", "peer"}:
                raise FieldError(f"line {number}", "a section is [Interface] or [Peer]")
            sections.append((kind, _Section(number)))
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not sections:
            raise FieldError(f"line {number}", "must be NAME = VALUE under a [Section]")
        fields, place = sections[-1][1].fields, f"line {number}, {name}"
        before = fields.get(name.lower())
        if before is not None and name.lower() not in _LISTS:
            raise FieldError(place, "is set twice in this section")
        fields[name.lower()] = (place, value if before is None else f"{before[1]}, {value}")
    return sections


def _number(text: str, place: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise FieldError(place, f"must be a number, not {quoted(text)}")
    return int(text)
