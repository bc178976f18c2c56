"""Addresses, networks and endpoints, parsed at the edge and kept as the text that `wg` and the kernel print.

The canonical text of an address is what inet_ntop(3) prints, since that is what observed state is compared with.
"""

import ipaddress
import re
import socket

from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason, template

LAST_PORT = 65535
_TOO_MUCH = (
    (
        re.compile(r"\[([^\]]*)\]"),
        template("{text!r} is not an IPv4 or IPv6 address; give it without brackets: {address}"),
    ),
    (
        re.compile(r"\[([^\]]*)\]:\d+"),
        template("{text!r} is not an IPv4 or IPv6 address; give it without port: {address}"),
    ),
    (re.compile(r"([^:]*):\d+"), template("{text!r} is not an IPv4 or IPv6 address; give it without port: {address}")),
    (
        re.compile(r"([^/]*)/\d+"),
        template("{text!r} is not an IPv4 or IPv6 address; give it without prefix length: {address}"),
    ),
)
_HOST_PREFIXES = {"32": socket.AF_INET, "128": socket.AF_INET6}


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - 4 is IPv4
    return socket.inet_ntop(family, address.packed)


def parse_address(text: str, field: str) -> str:
    """Parse an IPv4 or IPv6 address without prefix or zone; return its canonical text."""
    text = pasted(text)
    if _is_canonical(socket.AF_INET6 if ":" in text else socket.AF_INET, text):
        return text
    _refuse_zone(text, field)
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise FieldError(field, _no_address(text)) from None
    return _text(address)


def pasted(text: str) -> str:
    """Return what was copied without what comes along: space at its ends, and the mark that some files begin with."""
    return text.strip().removeprefix("\ufeff").strip()


def _no_address(text: str) -> Reason:
    """Say what an address has too much, where the rest is one."""
    for pattern, what in _TOO_MUCH:
        found = pattern.fullmatch(text)
        if found is not None and _is_canonical(socket.AF_INET6 if ":" in found[1] else socket.AF_INET, found[1]):
            return Reason(what, text=text, address=found[1])
    return Reason("{text!r} is not an IPv4 or IPv6 address", text=text)


def _refuse_zone(text: str, field: str) -> None:
    """Refuse a zone (RFC 4007): it names an interface of one machine, and ipaddress drops it silently from a prefix."""
    if "%" in text:
        raise FieldError(field, Reason("{text!r} has a zone; give the address without it", text=text))


def parse_network(text: str, field: str) -> str:
    """Parse a network such as `10.8.0.0/24`; host bits are refused, since they are usually a mistake."""
    text = pasted(text)
    if _is_canonical_host(text):
        return text
    _refuse_zone(text, field)
    try:
        network = ipaddress.ip_network(text, strict=True)
    except ValueError:
        try:
            right = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise FieldError(
                field, Reason("{text!r} is not a network such as 10.8.0.0/24 or fd00::/64", text=text)
            ) from None
        raise FieldError(
            field, Reason("{text!r} has host bits set; the network is {right}", text=text, right=str(right))
        ) from None
    return f"{_text(network.network_address)}/{network.prefixlen}"


def _is_canonical_host(text: str) -> bool:
    address, _, prefix = text.partition("/")
    family = _HOST_PREFIXES.get(prefix)
    return family is not None and _is_canonical(family, address)


def _is_canonical(family: socket.AddressFamily, address: str) -> bool:
    """Whether text is an address in canonical form: nearly all that are reported are, so this is the fast path."""
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, address)) == address
    except (OSError, ValueError):
        return False


def host_network(address: str) -> str:
    """Return the network of one address: /32 or /128."""
    return f"{address}/128" if ":" in address else f"{address}/32"


def parse_interface_address(text: str, field: str) -> str:
    """Parse an address with its prefix length, such as `10.8.0.1/24`; return its canonical text."""
    _refuse_zone(text, field)
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise FieldError(
            field, Reason("{text!r} is not an address with a prefix such as 10.8.0.1/24", text=text)
        ) from None
    if "/" not in text:
        prefix = 64 if ":" in text else 24
        raise FieldError(
            field, Reason("{text!r} has no prefix length; write for example {text}/{prefix}", text=text, prefix=prefix)
        )
    return f"{_text(interface.ip)}/{interface.network.prefixlen}"


def parse_port(value: int, field: str) -> int:
    """Check a UDP or TCP port."""
    if not 1 <= value <= LAST_PORT:
        raise FieldError(field, Reason("must be a port from 1 to {most}, not {value}", most=LAST_PORT, value=value))
    return value


def split_endpoint(text: str, field: str = "endpoint") -> tuple[str, int]:
    """Parse `192.0.2.1:51820` or `[2001:db8::1]:51820` into address and port; names are refused."""
    host, colon, port = text.rpartition(":")
    if (
        text != "".join(text.split())
        or not colon
        or not port.isascii()
        or not port.isdigit()
        or len(port) > len(str(LAST_PORT))
    ):
        raise FieldError(field, Reason("{text!r} is not ADDRESS:PORT or [IPV6]:PORT", text=text))
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise FieldError(field, Reason("{text!r}: an IPv6 address goes in brackets, [ADDRESS]:PORT", text=text))
    return parse_address(host, field), parse_port(int(port), field)


def join_endpoint(address: str, port: int) -> str:
    """Form `ADDRESS:PORT`, with brackets around IPv6, as `wg` prints and reads it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def address_of(endpoint: str) -> str:
    """Return the address of an endpoint that was parsed before: to parse it again takes ten times as long."""
    return endpoint.rpartition(":")[0].strip("[]")


def parse_endpoint(text: str, field: str = "endpoint") -> str:
    """Parse an endpoint and return its canonical text."""
    return join_endpoint(*split_endpoint(text, field))


def is_loopback(host: str) -> bool:
    """Say whether a host, an address or a name, is the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
