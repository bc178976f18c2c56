"""Rules for names, numbers and lists of addresses that several subjects share. Pure."""

import re
from collections.abc import Sequence
from ipaddress import ip_address

from wgfleet.panel.errors import Invalid
from wgfleet.protocol.addresses import parse_address, parse_domain, parse_network
from wgfleet.protocol.errors import FieldError

MAX_LIST = 64
MAX_NAME = 63
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_ID = re.compile(r"[0-9a-f]{32}")


def parse_name(text: str, field: str = "name") -> str:
    """Check the name of a node, group or key: what a host name may look like, and never what an id looks like."""
    if not _NAME.fullmatch(text) or _ID.fullmatch(text):
        raise Invalid(
            f"must be 1 to {MAX_NAME} characters of a-z A-Z 0-9 . _ - that start and end with a letter or digit, "
            "and not 32 hexadecimal digits, which is what ids look like",
            field=field,
        )
    return text


def may_be_id(text: str) -> bool:
    """Say whether a text looks like an id, which no name does."""
    return _ID.fullmatch(text) is not None


def check_range(value: float, low: float, high: float, field: str, unit: str = "") -> None:
    """Raise `Invalid` unless low <= value <= high."""
    if not low <= value <= high:
        raise Invalid(f"must be {low} to {high}{' ' * bool(unit)}{unit}, not {value}", field=field)


def check_list(items: Sequence[str], field: str) -> None:
    """Raise `Invalid` where a list is longer than any sensible one."""
    if len(items) > MAX_LIST:
        raise Invalid(f"must have at most {MAX_LIST} entries, not {len(items)}", field=field)


def parse_networks(texts: Sequence[str], field: str) -> list[str]:
    """Parse networks, dropping repetitions."""
    check_list(texts, field)
    return list(dict.fromkeys(parse_network(text, f"{field}[{i}]") for i, text in enumerate(texts)))


def parse_dns(texts: Sequence[str], field: str = "dns") -> list[str]:
    """Parse what wg-quick(8) takes after `DNS =`: addresses of servers and names of search domains."""
    check_list(texts, field)
    return list(dict.fromkeys(parse_host(text, f"{field}[{i}]") for i, text in enumerate(texts)))


def is_address(host: str) -> bool:
    """Tell whether a host is an address, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def parse_host(text: str, field: str) -> str:
    """Parse an address or a DNS name."""
    if is_address(text):
        return parse_address(text, field)
    try:
        return parse_domain(text, field)
    except FieldError:
        raise FieldError(
            field, f"{text!r} is neither an IPv4 or IPv6 address nor a domain name such as vpn.example.com"
        ) from None
