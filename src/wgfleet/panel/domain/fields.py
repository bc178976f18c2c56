"""Rules for names, numbers and lists of addresses that several subjects share. Pure."""

import re
from collections.abc import Sequence

from wgfleet.panel.errors import Invalid
from wgfleet.protocol.addresses import parse_address, parse_domain, parse_network

MAX_LIST = 64
MAX_NAME = 63
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_ID = re.compile(r"[0-9a-f]{32}")
_NUMBERS = re.compile(r"[0-9.]+")


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
    found = []
    for i, text in enumerate(texts):
        found.append((parse_address if is_address(text) else parse_domain)(text, f"{field}[{i}]"))
    return list(dict.fromkeys(found))


def is_address(text: str) -> bool:
    """Tell whether a text is an address, or a wrong one, rather than a name."""
    return ":" in text or _NUMBERS.fullmatch(text) is not None


def parse_host(text: str, field: str) -> str:
    """Parse an address or a DNS name."""
    return (parse_address if is_address(text) else parse_domain)(text, field)
