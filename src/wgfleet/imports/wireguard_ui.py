"""Reader of wireguard-ui: folders of JSON files, in which some numbers are texts."""

import json
from pathlib import Path
from typing import Any

from wgfleet.imports.addresses import divided, interface_address, listed, networks
from wgfleet.imports.fleet import (
    MALFORMED,
    ImportedFleet,
    ImportedInterface,
    ImportedPeer,
    UnreadableError,
    clamped,
    keys_of,
    peers_of,
    preshared,
    public_of,
    why,
)
from wgfleet.imports.numbers import common_keepalive_of, mtu_of, port_of, time_of
from wgfleet.imports.server_folders import MAX_FILES, text_of
from wgfleet.imports.wg_easy import endpoint_of
from wgfleet.protocol.reasons import Reason

_HOOKS = ("pre_up", "post_up", "pre_down", "post_down")


def read(path: Path) -> ImportedFleet:
    """Read the folder `db`, or the one that has it. Raise `UnreadableError`."""
    folder = path / "db" if (path / "db").is_dir() else path
    if not (folder / "server" / "interfaces.json").is_file():
        raise UnreadableError(
            Reason("{path}: has no server/interfaces.json; give the folder `db` of wireguard-ui", path=path)
        )
    interfaces = _object(folder / "server" / "interfaces.json")
    keys = _object(folder / "server" / "keypair.json")
    settings = _object(folder / "server" / "global_settings.json")
    said: list[str] = []
    try:
        private = clamped(str(keys["private_key"]), "server/keypair.json: private_key")
        addresses = tuple(interface_address(each) for each in interfaces["addresses"])
    except MALFORMED as error:
        raise UnreadableError(
            Reason("{folder}: is not as wireguard-ui keeps it: {error}", folder=folder, error=why(error))
        ) from None
    port = port_of(interfaces.get("listen_port"), "listen_port", "server/interfaces.json", said)
    files = sorted((folder / "clients").glob("*.json"))[:MAX_FILES]
    peers = peers_of(
        files, lambda file: _peer(_object(file), addresses, file.name, said), lambda file: f"clients/{file.name}", said
    )
    interface = ImportedInterface(
        name=Path(str(settings.get("config_file_path") or "wg0.conf")).stem,
        private_key=private,
        public_key=public_of(private),
        listen_port=port,
        addresses=addresses,
        mtu=mtu_of(settings.get("mtu"), "mtu", "server/global_settings.json", said),
        dns=tuple(str(each) for each in settings.get("dns_servers") or ()),
        keepalive=common_keepalive_of(
            settings.get("persistent_keepalive"), "persistent_keepalive", "server/global_settings.json", said
        ),
        endpoint=endpoint_of(settings.get("endpoint_address"), port),
        hooks=tuple(f"{each}: {interfaces[each]}" for each in _HOOKS if interfaces.get(each)),
        peers=peers,
    )
    return ImportedFleet(source="wireguard-ui", interfaces=(interface,), warnings=tuple(said))


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text_of(path))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(Reason("{path}: is no JSON: {error}", path=path, error=why(error))) from None
    if not isinstance(found, dict):
        raise UnreadableError(Reason("{path}: has no object", path=path))
    return found


def _peer(client: dict[str, Any], interface: tuple[str, ...], place: str, said: list[str]) -> ImportedPeer:
    public, private = keys_of(client.get("private_key"), client.get("public_key"), place, said)
    sent_to = [*(client.get("allocated_ips") or ()), *(client.get("extra_allowed_ips") or ())]
    own, behind = divided([each for text in sent_to for each in listed(text)], interface)
    return ImportedPeer(
        public_key=public,
        name=" ".join(str(client.get("name") or "").split()),
        private_key=private,
        preshared_key=preshared(client.get("preshared_key"), place),
        addresses=own,
        networks=behind,
        enabled=client.get("enabled") is not False,
        client_allowed_ips=networks(client.get("allowed_ips") or ()) or None,
        dns=() if client.get("use_server_dns") is False else None,
        notes=str(client.get("additional_notes") or ""),
        owner=client.get("email") or None,
        endpoint=None,
        created_at=time_of(client.get("created_at")),
        place=str(place),
    )
