"""Rules for names, numbers and lists of addresses that several subjects share. Pure."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Network, ip_address, ip_network

from wgfleet.panel.domain.tunnel_networks import is_of_the_internet, private_range, special_range
from wgfleet.panel.errors import Invalid
from wgfleet.protocol.addresses import parse_address, parse_network, pasted
from wgfleet.protocol.domains import parse_domain, refuse_number
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason, joined

MAX_LIST = 64
MAX_NETWORKS = 512  # calculators that leave some ranges out of everything give a few hundred
MAX_NAME = 63
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
# Controls and line breaks, which would end a comment in a file; halves of surrogates, which are in no text at all.
_NEVER_IN_TEXT = frozenset({"Cc", "Cs", "Zl", "Zp"})
_NO_CLIENT = Reason("no client reaches it")
_NO_SERVER = Reason("no name server is")
_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Me", "Mn", "Zl", "Zp", "Zs"})  # marks: with nothing below them
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # letters and a symbol, by category, that show nothing
_TURNING = frozenset(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # what comes after, and others' text with it
_ID = re.compile(r"[0-9a-f]{32}")
_MAPPED = IPv6Network("::ffff:0:0/96")


def parse_name(text: str, field: str = "name") -> str:
    """Check the name of a node, group or key: what a host name may look like, and never what an id looks like."""
    if not _NAME.fullmatch(text) or _ID.fullmatch(text):
        raise Invalid(
            Reason(
                "must be 1 to {most} characters of a-z A-Z 0-9 . _ - that start and end with a letter or digit, and "
                "not 32 hexadecimal digits, which is what ids look like",
                most=MAX_NAME,
            ),
            field=field,
        )
    return text


def one_spelling(title: str) -> str:
    """Return what people call something in NFC, in which two ways to type the same letters are one."""
    return unicodedata.normalize("NFC", title)


def parse_title(text: str, limit: int, field: str = "name") -> str:
    """Check what people call their devices: any text of one line and `limit` characters; return its one spelling."""
    title = one_spelling(text)
    if len(title) > limit:
        raise Invalid(
            Reason("must be 1 to {most} characters, not {length}", most=limit, length=len(title)), field=field
        )
    if not _TURNING.isdisjoint(title):
        raise Invalid(
            Reason(
                "must be without characters that turn the direction of the text (U+202A to U+202E, U+2066 to U+2069)"
            ),
            field=field,
        )
    categories = {unicodedata.category(character) for character in title}
    if categories & _NEVER_IN_TEXT:
        raise Invalid(Reason("must be one line, without control characters"), field=field)
    if {unicodedata.category(character) for character in {*title} - _BLANK} <= _UNSEEN or title != title.strip():
        raise Invalid(Reason("must have characters that can be seen, and no spaces at its ends"), field=field)
    return title


def parse_word(text: str, limit: int, field: str = "name") -> str:
    """Check what people call a thing by which calls and pages have it in their path: a title, but no id and no dots."""
    word = parse_title(text, limit, field)
    if may_be_id(word):
        raise Invalid(Reason("32 hexadecimal digits are what ids look like; choose another name"), field=field)
    if word in {".", ".."}:
        raise Invalid(Reason("must not be . or .., which have a meaning of their own in a path"), field=field)
    return word


def may_be_id(text: str) -> bool:
    """Say whether a text looks like an id, which no name does."""
    return _ID.fullmatch(text) is not None


def check_range(value: float, low: float, high: float, field: str, unit: str = "") -> None:
    """Raise `Invalid` unless low <= value <= high."""
    if not low <= value <= high:
        raise Invalid(_out_of_range(value, low, high, unit), field=field)


def _out_of_range(value: float, low: float, high: float, unit: str) -> Reason:
    if not unit:
        return Reason("must be {low} to {high}, not {value}", low=low, high=high, value=value)
    return Reason("must be {low} to {high} {unit}, not {value}", low=low, high=high, unit=unit, value=value)


def check_list(items: Sequence[str], field: str, limit: int = MAX_LIST) -> None:
    """Raise `Invalid` where a list is longer than any sensible one."""
    if len(items) > limit:
        raise Invalid(
            Reason("must have at most {most} entries, not {count}", most=limit, count=len(items)), field=field
        )


def parse_networks(texts: Sequence[str], field: str) -> list[str]:
    """Parse networks, dropping repetitions."""
    check_list(texts, field, MAX_NETWORKS)
    found = [parse_network(text, f"{field}[{i}]") for i, text in enumerate(texts)]
    for i, network in enumerate(map(ip_network, found)):
        if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
            plain = f"{network.network_address.ipv4_mapped}/{network.prefixlen - _MAPPED.prefixlen}"
            raise Invalid(
                Reason(
                    "{network} is IPv4 in IPv6 form, which no packet has; give {plain}", network=network, plain=plain
                ),
                field=f"{field}[{i}]",
            )
    return list(dict.fromkeys(found))


def parse_dns(texts: Sequence[str], field: str = "dns") -> list[str]:
    """Parse what wg-quick(8) takes after `DNS =`: addresses of servers and names of search domains."""
    check_list(texts, field)
    found = [parse_host(text, f"{field}[{i}]") for i, text in enumerate(texts)]
    for i, host in enumerate(found):
        # A resolver of the device itself, on loopback, is all right.
        if is_address(host) and not ip_address(host).is_loopback:
            parse_public_address(host, f"{field}[{i}]", what=_NO_SERVER)
    return list(dict.fromkeys(found))


def dns_warning(entries: Sequence[str]) -> str | None:
    """Say of parsed entries that they name no server, so that devices have no more than search domains."""
    if not entries or any(map(is_address, entries)):
        return None
    return Reason(
        "{names} is taken for a search domain, and no name server is given: add its address", names=", ".join(entries)
    )


def pools_warning(pools: Sequence[str]) -> str | None:
    """Say which pools are networks of the internet, where others may have machines."""
    public = [pool for pool in pools if is_of_the_internet(ip_network(pool))]
    if not public:
        return None
    return Reason(
        "{networks}: addresses of the internet; unless they are yours, devices no longer reach who has them. "
        "Networks of one's own are in 10.0.0.0/8 and fd00::/8",
        networks=", ".join(public),
    )


@lru_cache(4096)  # a list of nodes asks for each of their addresses
def _private(address: str) -> str | None:
    return private_range(ip_network(address))


def private_warning(addresses: Sequence[str]) -> str | None:
    """Say which addresses of a node clients reach from within its own network only."""
    found = {each: private for each in addresses if (private := _private(each)) is not None}
    if not found:
        return None
    said = joined((Reason("{address} is in {words}", address=each, words=what) for each, what in found.items()), ", ")
    return Reason(
        "{said}: clients elsewhere do not reach the node there. All right in an intranet; else give the address that "
        "the router has on the internet, and have it forward the port (docs/production.md)",
        said=said,
    )


@lru_cache(4096)
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
    refuse_number(pasted(text), field)
    try:
        return parse_domain(text, field)
    except FieldError:
        raise FieldError(
            field,
            Reason("{text!r} is neither an IPv4 or IPv6 address nor a domain name such as vpn.example.com", text=text),
        ) from None


def parse_public_address(text: str, field: str, what: str = _NO_CLIENT) -> str:
    """Parse an address at which clients reach a host: any but those of special ranges. `what` is not there."""
    address = parse_address(text, field)
    if (special := special_range(ip_network(address))) is not None:
        raise Invalid(
            Reason(
                "{address} is in {special}, where {what}; give the address that clients use",
                address=address,
                special=special,
                what=what,
            ),
            field=field,
        )
    return address


def parse_agent_host(text: str, field: str) -> str:
    """Parse an address or name at which the panel calls an agent: on its own machine that is loopback."""
    host = parse_host(text, field)
    return host if not is_address(host) or ip_address(host).is_loopback else parse_public_address(host, field)
