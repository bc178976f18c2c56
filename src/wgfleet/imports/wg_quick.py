"""Reader of files of wg-quick(8), with the names that people and programs write into their comments.

A server's file gives an interface with its peers; a client's gives what belongs to one peer of a server.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from wgfleet.imports.addresses import divided, interface_address, networks
from wgfleet.imports.file_sections import COMMENTED_OUT, FileSection, sections
from wgfleet.imports.fleet import (
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
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason, words_of

HOOKS = ("preup", "postup", "predown", "postdown")
_TAKEN = frozenset({"privatekey", "listenport", "address", "mtu", "saveconfig", *HOOKS})
MAX_NAME, NAMED = 64, 20
_END = re.compile(r"(?i)^#+\s*(end_peer\b.*|end\s.+#{3})$")
_FRIENDLY = re.compile(r"^#\s*friendly_name\s*=\s*(.+)$")
_FRIENDLY_JSON = re.compile(r"^#\s*friendly_json\s*=\s*(\{.+\})\s*$")
_NAMED = re.compile(r"(?i)^#\s*(?:-WGP-\s*display name|name)\s*+#?\s*+[=:]\s*(.*)$")
_BEFORE = (
    re.compile(r"^###\s*begin\s(.+)###$"),  # PiVPN
    re.compile(r"^#\s*BEGIN_PEER\s+(.+)$"),  # Nyr
    re.compile(r"^###\s*Client\s+(.+)$"),  # angristan
    re.compile(r"^#\s*Client:\s*(.+?)(?:\s\([0-9a-f-]{8,}\))?$"),  # wg-easy
)
_NOTHING = re.compile(r"(?i)^#\s*(-WGP-|id:|email:|created at:|update at:|endpoint\b|subnet ranges:)")


def name_of(section: FileSection) -> tuple[str, str]:
    """Return the name of a peer, "" where there is none, and the rest of its comments as notes."""
    comments = [(line, True) for line in section.inside] + [(line, False) for line in section.before]
    for line, _ in comments:
        if match := _FRIENDLY.match(line):
            return _one_line(match[1]), ""
        if match := _FRIENDLY_JSON.match(line):
            return _from_json(match[1]), ""
    for line, _ in comments:
        if (match := _NAMED.match(line)) and match[1].strip():
            return _one_line(match[1]), ""
    for line, _ in comments:
        for pattern in _BEFORE:
            if match := pattern.match(line):
                return _one_line(match[1]), ""
    nothing = (_END, _NOTHING, _NAMED)  # a name that was left empty is none, and no note
    free = [line.lstrip("# ").strip() for line, _ in comments if not any(each.match(line) for each in nothing)]
    free = [line for line in free if line]
    if free and len(free[0]) <= MAX_NAME:
        return free[0], "\n".join(free[1:])
    return "", "\n".join(free)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _from_json(text: str) -> str:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(values, dict):
        return ""
    named = [values[key] for key in ("name", "n", *values) if isinstance(values.get(key), str)]
    return _one_line(named[0]) if named else ""


def server(
    name: str,
    text: str,
    said: list[str],
    clients: Mapping[str, "UserFile"] = {},
    elsewhere: Collection[str] = (),
    *,
    commented_out: bool | None = None,
) -> ImportedInterface:
    """Read the file of a server. `clients`: files of its users, by public key. Raise `UnreadableError`.

    `elsewhere`: public keys of peers that are read from a database too. `commented_out`: whether peers that somebody
    commented out come in too, disabled, behind all others (None: nobody can choose that); else `said` names them.
    A peer that is malformed is left out, and `said` gets why.
    """
    try:
        parts = sections(text)
    except UnreadableError as error:
        raise UnreadableError(Reason("{name}: {error}", name=name, error=words_of(error))) from None
    own = [part for part in parts if part.kind == "interface"]
    if len(own) != 1:
        raise UnreadableError(
            Reason("{name}: has {count} sections [Interface] in place of one", name=name, count=len(own))
        )
    head = own[0]
    try:
        private = clamped(head.one("privatekey") or "", "PrivateKey")
        addresses = tuple(interface_address(each) for each in head.many("address"))
    except (FieldError, ValueError) as error:
        raise UnreadableError(Reason("{item}: {error}", item=_place(head, name), error=why(error))) from None
    wanted = [part for part in parts if part.kind == "peer"]
    without = [part for part in parts if part.kind == COMMENTED_OUT and part.one("publickey") not in elsewhere]
    if commented_out:
        wanted += without  # the last, so that keys, names and addresses stay with those that are let in
    else:
        said += _left_out(name, [_called(part, name) for part in without], may_come=commented_out is not None)
    peers = peers_of(
        wanted,
        lambda part: _peer(part, addresses, name),
        lambda part: _called(part, name),
        said,
        lambda part: part.one("publickey") in elsewhere,
    )
    place = _place(head, name)
    port, mtu = port_of(head.one("listenport"), "ListenPort", place, said), mtu_of(head.one("mtu"), "MTU", place, said)
    said += _not_taken(head, place)
    kept_open = sum(bool(part.number("persistentkeepalive")) for part in parts if part.kind == "peer")
    if kept_open:
        said.append(
            Reason(
                "{name}: {peers} a keepalive of the server: nodes send none, as devices keep their own ways open",
                name=name,
                peers=Reason("1 peer has") if kept_open == 1 else Reason("{number} peers have", number=kept_open),
            )
        )
    public = public_of(private)
    return ImportedInterface(
        name=name,
        private_key=private,
        public_key=public,
        listen_port=port,
        addresses=addresses,
        mtu=mtu,
        hooks=tuple(f"{each}: {command}" for each in HOOKS for command in head.settings.get(each, ()) if command),
        peers=tuple(with_client(peer, clients.get(peer.public_key), public, said) for peer in peers),
        endpoint=most_used(clients.values(), public),
    )


def _not_taken(head: FileSection, place: str) -> list[str]:
    """Say which settings of a server have no like here."""
    said: list[str] = []
    for name in head.settings:
        value = head.one(name)
        if value is None or name in _TAKEN:
            continue
        values = {"place": place, "value": value[:MAX_NAME]}
        if name == "table":
            text = Reason("{place}: Table = {value!r} is not taken over: nodes have routes of their own", **values)
        elif name == "fwmark":
            text = Reason("{place}: FwMark = {value!r} is not taken over: nodes have marks of their own", **values)
        elif name == "dns":
            text = Reason(
                "{place}: DNS = {value!r} is the server's own, and not taken over; that of users is in their files",
                **values,
            )
        else:
            text = Reason(
                "{place}: {name} = {value!r} is no setting of WireGuard, and not taken over", name=name, **values
            )
        said.append(text)
    return said


def _left_out(name: str, items: list[str], *, may_come: bool) -> list[str]:
    """Say which peers are commented out: the first of them by name."""
    said: list[str] = [
        Reason("{item} is commented out, and is not imported; it can come in as a disabled one", item=item)
        if may_come
        else Reason("{item} is commented out, and is not imported", item=item)
        for item in items[:NAMED]
    ]
    if more := len(items[NAMED:]):
        said.append(Reason("{name}: {more} more peers are commented out, and are not imported", name=name, more=more))
    return said


def _peer(section: FileSection, addresses: tuple[str, ...], file: str) -> ImportedPeer:
    key = public_key(section.one("publickey") or "", "PublicKey")
    try:
        own, behind = divided(section.many("allowedips"), addresses)
    except ValueError as error:
        raise FieldError("AllowedIPs", why(error)) from None
    name, notes = name_of(section)
    return ImportedPeer(
        public_key=key,
        name=name,
        preshared_key=preshared(section.one("presharedkey"), "PresharedKey"),
        addresses=own,
        networks=behind,
        enabled=not section.disabled,
        notes=notes,
        place=str(_place(section, file)),
    )


def _place(section: FileSection, file: str) -> Reason:
    return Reason("{file}: line {line}", file=file, line=section.line)


def _called(section: FileSection, file: str) -> str:
    name, _ = name_of(section)
    return Reason("{place}, peer {name}", place=_place(section, file), name=name) if name else _place(section, file)


@dataclass(frozen=True)
class UserFile:
    """What the file of a user says."""

    name: str
    private_key: str
    server_key: str
    addresses: tuple[str, ...]
    client_allowed_ips: tuple[str, ...]
    dns: tuple[str, ...]
    mtu: str | None
    keepalive: str | None
    endpoint: str | None


def client(name: str, text: str) -> tuple[str, UserFile] | None:
    """Read the file of a user: its public key, and what it says. None where it is no such file."""
    parts = sections(text)
    own = [part for part in parts if part.kind == "interface"]
    peers = [part for part in parts if part.kind == "peer"]
    if len(own) != 1 or len(peers) != 1 or not peers[0].one("endpoint"):
        return None
    try:
        private = clamped(own[0].one("privatekey") or "", name)
        allowed = networks(peers[0].many("allowedips"))
        said = UserFile(
            name=name,
            private_key=private,
            server_key=public_key(peers[0].one("publickey") or "", name),
            addresses=tuple(interface_address(each).partition("/")[0] for each in own[0].many("address")),
            client_allowed_ips=allowed,
            dns=own[0].many("dns"),
            mtu=own[0].one("mtu"),
            keepalive=peers[0].one("persistentkeepalive"),
            endpoint=peers[0].one("endpoint"),
        )
    except (FieldError, ValueError):
        return None
    return public_of(private), said


def with_client(peer: ImportedPeer, said: UserFile | None, server_key: str, warnings: list[str]) -> ImportedPeer:
    """Return a peer with what its user's file says; a file for another server says nothing."""
    if said is None or said.server_key != server_key:
        return peer
    values = {
        **{name: getattr(peer, name) for name in peer.__struct_fields__},
        "name": peer.name or said.name,
        "private_key": said.private_key,
        "client_allowed_ips": said.client_allowed_ips,
        "dns": said.dns,
        "mtu": mtu_of(said.mtu, "MTU", peer.name or said.name, warnings),
        "keepalive": keepalive_of(said.keepalive, peer.name or said.name, warnings) or 0,
        "endpoint": said.endpoint,
    }
    return ImportedPeer(**values)


def most_used(clients: Iterable[UserFile], server_key: str) -> str | None:
    """Return the endpoint that most files of a server's users say, None where there are none."""
    said = [each.endpoint for each in clients if each.server_key == server_key and each.endpoint]
    return max(sorted(set(said)), key=said.count) if said else None
