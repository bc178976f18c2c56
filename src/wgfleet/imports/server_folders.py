"""Readers of folders that installation scripts keep: a server's file of wg-quick, and what they put beside it.

PiVPN, the scripts of angristan and Nyr, linuxserver's container, Algo, and files written by hand. Shell variables are
read as text, never by a shell.
"""

import codecs
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from wgfleet.imports import wg_quick
from wgfleet.imports.addresses import listed
from wgfleet.imports.file_sections import sections
from wgfleet.imports.fleet import ImportedFleet, ImportedInterface, ImportedPeer, UnreadableError
from wgfleet.imports.given_files import bytes_of
from wgfleet.imports.numbers import common_keepalive_of, number, whole_number
from wgfleet.imports.wg_quick import UserFile
from wgfleet.protocol.reasons import Reason

MAX_FILES = 20_000
MAX_ENTRIES, MAX_DEPTH = 100_000, 4  # that are looked at below a folder; Algo's are three folders deep
LAST_ADDRESS = 2**32
NAME, KEY, CREATED, ADDRESS = range(4)  # columns of PiVPN's list
_ASSIGNMENT = re.compile(r"""^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(?:"([^"]*)"|'([^']*)'|([^\s#]*))""")
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ENDPOINT = re.compile(r"(?m)^#\s*ENDPOINT\s+(\S+)\s*$")
_CLIENT_FOLDERS = ("configs", "wireguard", "clients")


def read(path: Path, *, commented_out: bool = False) -> ImportedFleet:
    """Read a server's file, or all servers' files in a folder, with the files of users below it.

    A user's file is matched by the public key of its private key, never by its name. `commented_out`: so are peers that
    somebody commented out, as disabled ones. Raise `UnreadableError`.
    """
    folder = path if path.is_dir() else path.parent
    clients = dict(_clients(path, folder))
    files = sorted(_below(path, ".conf")) if path.is_dir() else [path]
    interfaces: list[ImportedInterface] = []
    warnings: list[str] = []
    texts = {}
    for file in files[:MAX_FILES]:
        try:
            texts[file] = rough_text_of(file)
        except UnreadableError as error:  # beside the server's there may be anything
            if not path.is_dir():
                raise
            warnings.append(Reason("left out: {error}", error=error))
    servers = [file for file, text in texts.items() if not path.is_dir() or _is_server(text.replace("\0", ""))]
    if not servers:
        raise UnreadableError(
            Reason("{path}: no file of a server in it: one with [Interface], ListenPort and PrivateKey", path=path)
        )
    for file in servers:
        text = text_of(file)
        _check_not_of_user(file, text)
        found = wg_quick.server(_words(file.stem), text, warnings, clients, commented_out=commented_out)
        variables = _variables(folder, file)
        interfaces.append(_completed(found, text, folder, variables, warnings))
        warnings += _warnings(file, text, interfaces[-1], variables)
    return ImportedFleet(source="wg-quick", interfaces=tuple(interfaces), warnings=tuple(warnings))


def _check_not_of_user(path: Path, text: str) -> None:
    """Refuse the file of a user: it listens nowhere, and its one peer is the server."""
    try:
        parts = sections(text)
    except UnreadableError:
        return  # said by its reader
    peers = [part for part in parts if part.kind == "peer"]
    listens = any(part.one("listenport") for part in parts if part.kind == "interface")
    if len(peers) == 1 and peers[0].one("endpoint") and not listens:
        raise UnreadableError(Reason("{path}: is the file of a user; give that of the server", path=path))


def text_of(path: Path) -> str:
    """Return the text of a file, in UTF-8 or, as some Windows programs write it, UTF-16. Raise `UnreadableError`."""
    raw = bytes_of(path)
    wrong = raw.find(b"\0") if not raw.startswith(_WIDE) else -1  # as UTF-16 without its mark has them
    if wrong < 0:
        try:
            return _decoded(raw, "strict")
        except UnicodeDecodeError as error:
            wrong = error.start
    raise UnreadableError(
        Reason(
            "{path}: line {line}: is not in UTF-8, so names in it would be spoilt; save it in UTF-8, such as with "
            "`iconv -f WINDOWS-1252 -t UTF-8` (Persian and Arabic: WINDOWS-1256), and give that",
            path=path,
            line=raw.count(b"\n", 0, wrong) + 1,
        )
    )


def rough_text_of(path: Path) -> str:
    """Return the text of a file with a sign in place of what is in another encoding. Raise `UnreadableError`.

    For what people gave no names to, and for files that may be anything.
    """
    return _decoded(bytes_of(path), "replace")


def _decoded(raw: bytes, errors: str) -> str:
    return raw.decode("utf-16" if raw.startswith(_WIDE) else "utf-8-sig", errors)


def _words(name: str) -> str:
    """Return the name of a file as text, whatever its bytes are."""
    return os.fsencode(name).decode(errors="replace")


def _is_server(text: str) -> bool:
    try:
        head = next((part for part in sections(text) if part.kind == "interface"), None)
        peers = [part for part in sections(text) if part.kind == "peer"]
    except UnreadableError:
        return False
    if head is None or head.one("privatekey") is None or head.one("listenport") is None:
        return False
    return not (len(peers) == 1 and peers[0].one("endpoint"))  # linuxserver gives users' files a port too


def _clients(path: Path, folder: Path) -> Iterator[tuple[str, UserFile]]:
    # A home folder, where some scripts put users' files, may have anything: only what is named like one is opened.
    places = sorted({*_below(folder, ".conf"), *folder.parent.glob("*-client-*.conf")} - {path})
    for file in places[:MAX_FILES]:
        try:
            found = wg_quick.client(_client_name(file), rough_text_of(file))
        except UnreadableError:
            continue
        if found is not None:
            yield found


def _below(folder: Path, ending: str) -> Iterator[Path]:
    """Yield the files below a folder whose names end so: not too deep, and of not too many, since it may be `/`."""
    left, top = MAX_ENTRIES, len(folder.parts)
    for place, folders, names in os.walk(folder):
        left -= len(folders) + len(names)
        if left < 0:
            return
        if len(Path(place).parts) - top >= MAX_DEPTH:
            folders.clear()
        folders.sort()
        yield from (Path(place, name) for name in sorted([*names, *folders]) if name.endswith(ending))


def _client_name(file: Path) -> str:
    """Return the name of a user's device by that of its file, as scripts name them."""
    stem = re.sub(r"^[a-zA-Z0-9_]+-client-", "", _words(file.stem))
    return re.sub(r"^peer_", "", stem)


def _variables(folder: Path, server: Path) -> Mapping[str, str]:
    """Return what scripts keep beside a server's file: assignments of a shell."""
    places = (
        *(folder / name for name in ("params", "setupVars.conf", ".donoteditthisfile", "wireguard/setupVars.conf")),
        *(server.parent.parent / name for name in (".donoteditthisfile", "setupVars.conf")),
        server.parent / "params",
    )
    found: dict[str, str] = {}
    for place in places:
        if place.is_file():
            for line in text_of(place).splitlines():
                if match := _ASSIGNMENT.match(line):
                    found.setdefault(match[1], next((part for part in match.groups()[1:] if part is not None), ""))
    return found


def _first(variables: Mapping[str, str], *names: str) -> str | None:
    return next((variables[name] for name in names if variables.get(name)), None)


def _completed(
    interface: ImportedInterface, text: str, folder: Path, variables: Mapping[str, str], said: list[str]
) -> ImportedInterface:
    """Return an interface with what the script knew beyond its file."""
    host = _first(variables, "pivpnHOST", "SERVER_PUB_IP", "ORIG_SERVERURL")
    if host is None and (match := _ENDPOINT.search(text)):
        host = match[1]
    if host == "auto":
        host = None
    port = _first(variables, "pivpnPORT", "SERVER_PORT", "ORIG_SERVERPORT") or str(interface.listen_port or "")
    endpoint = interface.endpoint
    if endpoint is None and host and number(port):
        endpoint = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    dns = [_first(variables, *names) for names in (("pivpnDNS1", "CLIENT_DNS_1"), ("pivpnDNS2", "CLIENT_DNS_2"))]
    dns.append(variables.get("ORIG_PEERDNS") if variables.get("ORIG_PEERDNS") != "auto" else None)
    peers = _pivpn_peers(interface.peers, folder)
    return msgspec.structs.replace(
        interface,
        endpoint=endpoint,
        dns=tuple(dict.fromkeys(each for text in dns for each in listed(text))),
        client_allowed_ips=listed(_first(variables, "ALLOWED_IPS", "ORIG_ALLOWEDIPS")),
        keepalive=common_keepalive_of(
            variables.get("pivpnPERSISTENTKEEPALIVE"), "pivpnPERSISTENTKEEPALIVE", interface.name, said
        ),
        peers=peers,
    )


def _pivpn_peers(peers: tuple[ImportedPeer, ...], folder: Path) -> tuple[ImportedPeer, ...]:
    """Return peers with what PiVPN's list has of them: name, key, time, and the IPv4 address as one number."""
    place = next(_below(folder, "clients.txt"), None)
    if place is None:
        return peers
    rows = [line.split() for line in text_of(place).splitlines() if line.strip()]
    known = {row[KEY]: row for row in rows if len(row) > KEY}
    found = []
    for peer in peers:
        row = known.get(peer.public_key)
        if row is None:
            found.append(peer)
            continue
        packed = number(row[ADDRESS]) if len(row) > ADDRESS else None
        address = (str(ipaddress.IPv4Address(packed)),) if packed is not None and packed < LAST_ADDRESS else ()
        created = whole_number(row[CREATED]) if len(row) > CREATED else None
        found.append(
            msgspec.structs.replace(
                peer, name=row[NAME], created_at=created, addresses=tuple(dict.fromkeys((*peer.addresses, *address)))
            )
        )
    return tuple(found)


def _warnings(file: Path, text: str, interface: ImportedInterface, variables: Mapping[str, str]) -> list[str]:
    said: list[str] = []
    inner = variables.get("ORIG_SERVERPORT")
    if inner and interface.listen_port and inner != str(interface.listen_port):
        said.append(
            Reason(
                "{name}: users' files say port {inner}, but the server listens on {listen_port}",
                name=file.name,
                inner=inner,
                listen_port=interface.listen_port,
            )
        )
    if any(address.partition("/")[2] in {"32", "128"} for address in interface.addresses):
        said.append(
            Reason("{name}: its address has no network; choose a pool that has all peers' addresses", name=file.name)
        )
    if re.search(r"(?im)^[ \t]*SaveConfig[ \t]*=[ \t]*true", text):
        said.append(
            Reason(
                "{name}: wg-quick writes it when the interface goes down; what was changed since is not in it",
                name=file.name,
            )
        )
    return said
