"""Listeners: where the panel listens, and the rule that plain HTTP never leaves the machine."""

import ipaddress
from typing import NamedTuple

from wgfleet.protocol.addresses import LAST_PORT, join_endpoint, parse_address
from wgfleet.protocol.quotes import quoted

_LOCALHOST = "127.0.0.1"


class SocketAddress(NamedTuple):
    """An IP address and a TCP port."""

    host: str
    port: int


class Listener(NamedTuple):
    """One listening socket. `scheme` is `http` on loopback unless asked otherwise, else `https`. Port 0: any."""

    scheme: str
    host: str
    port: int

    @property
    def secure(self) -> bool:
        """Whether this listener speaks TLS."""
        return self.scheme == "https"

    def __str__(self) -> str:
        return f"{self.scheme}://{join_endpoint(self.host, self.port)}"


def parse_listener(value: object) -> Listener:
    """Parse `[http://|https://]ADDRESS:PORT`; raise ValueError with the way out."""
    if isinstance(value, Listener):
        return value
    text = str(value)
    scheme, separator, place = text.rpartition("://")
    if separator and scheme not in {"http", "https"}:
        raise ValueError(f"{quoted(text)}: the scheme must be http or https")
    host, port = _split(place.rstrip("/"), text)
    loopback = ipaddress.ip_address(host).is_loopback
    scheme = scheme or ("http" if loopback else "https")
    if scheme == "http" and not loopback:
        raise ValueError(f"{quoted(text)}: plain http is for loopback only; write https://{join_endpoint(host, port)}")
    return Listener(scheme, host, port)


def parse_plain_listener(value: object) -> Listener:
    """Parse `[http://]ADDRESS:PORT`, of a door that gives nothing away; raise ValueError with the way out."""
    if isinstance(value, Listener):
        return value
    text = str(value)
    place = text.removeprefix("http://")
    if "://" in place:
        raise ValueError(f"{quoted(text)}: here it is plain http, ADDRESS:PORT")
    return Listener("http", *_split(place.rstrip("/"), text))


def _split(place: str, text: str) -> SocketAddress:
    host, colon, port = place.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > LAST_PORT:
        raise ValueError(f"{quoted(text)} is not ADDRESS:PORT or [IPV6]:PORT with a port up to {LAST_PORT}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{quoted(text)}: an IPv6 address goes in brackets, [ADDRESS]:PORT")
    return SocketAddress(_LOCALHOST if host == "localhost" else parse_address(host, "address"), int(port))
