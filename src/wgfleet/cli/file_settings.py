"""Options for the settings of users' files, which a peer, a tag or a config may have; and how one is given back."""

from typing import Annotated, Any

import typer

from wgfleet.cli.client import Document, given, items
from wgfleet.protocol.quotes import quoted

AllowedIps = Annotated[
    list[str] | None, typer.Option("--client-allowed-ip", help="Network that files route into the tunnel; repeatable.")
]
Excluded = Annotated[
    list[str] | None, typer.Option("--exclude", help="Network that files leave out; repeatable; '': none.")
]
Dns = Annotated[list[str] | None, typer.Option("--dns", help="DNS server or search domain; repeatable; '': none.")]
Mtu = Annotated[int | None, typer.Option(help="MTU in the file, in bytes.")]
Keepalive = Annotated[int | None, typer.Option(help="Keepalive in the file, in seconds; 0: off.")]
EndpointPort = Annotated[int | None, typer.Option(help="Port in the file, in place of the config's.")]
Inherit = Annotated[
    list[str] | None,
    typer.Option("--inherit", help="Leave a setting (mtu, dns, ...) to tags and config; repeatable."),
]
NAMES = {
    "client-allowed-ip": "client_allowed_ips",
    "exclude": "excluded_networks",
    "dns": "dns",
    "mtu": "mtu",
    "keepalive": "keepalive",
    "endpoint-port": "endpoint_port",
    "download": "download_speed",
    "upload": "upload_speed",
    "rule-set": "rule_set",
}


def body(
    allowed: list[str] | None,
    excluded: list[str] | None,
    dns: list[str] | None,
    **numbers: Any,
) -> Document:
    """Return the settings that were given, as the API has them."""
    return given(client_allowed_ips=allowed, excluded_networks=items(excluded), dns=items(dns), **numbers)


def inherited(options: list[str] | None) -> Document:
    """Return what is to be left to tags and config (settings, speeds, rules), by the names of options or fields."""
    found: Document = {}
    for option in options or ():
        name = option.removeprefix("--").replace("_", "-")
        field = NAMES.get(name, name.replace("-", "_"))
        if field not in NAMES.values():
            raise typer.BadParameter(f"{quoted(option)} is none of {', '.join(NAMES)}", param_hint="--inherit")
        found[field] = None
    return found
