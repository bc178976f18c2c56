"""Fields that options of plugins share: addresses of APIs, and what a cloud calls each node's machine.

Each refusal says what is wrong and what would do.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from wgfleet.protocol.addresses import parse_address
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.reasons import Reason

_BLANK = re.compile(r"[\x00-\x20\x7f]")
_LARGEST_ID = 2**63 - 1


def checked_api_url(value: str) -> str:
    """Return the address of an API; raise `ValueError` for what is none, and for what would not be sent on."""
    import httpx  # noqa: PLC0415 - 10 MB that only those need who have such providers

    if not value:
        raise ValueError(Reason("is empty; give a value, or leave it out"))
    if _BLANK.search(value):
        raise ValueError(Reason("has a space or a control character: give the address alone"))
    if not value.lower().startswith(("https://", "http://")):
        raise ValueError(Reason("must begin with https:// or http://"))
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
        httpx.URL(value)
    except (ValueError, httpx.InvalidURL):
        raise ValueError(
            Reason("is no URL: give https://HOST or https://HOST:PORT, an IPv6 address in [brackets]")
        ) from None
    if not host or port == 0:
        raise ValueError(Reason("names no host, or port 0: give https://HOST or https://HOST:PORT"))
    if parts.username is not None or parts.password is not None:
        raise ValueError(Reason("must be without a user and a password before the host: the token says who calls"))
    if "?" in value or "#" in value:
        raise ValueError(Reason("must be without ? and #: the calls' own paths are put behind it"))
    return value


def of_form(pattern: str, what: str) -> Callable[[str], str]:
    """Return a check that a text is of a form, which says `what` it must be. Letters may be of either case."""
    form = re.compile(pattern, re.ASCII)

    def checked(value: str) -> str:
        if not form.fullmatch(value):
            raise ValueError(what)
        return value

    return checked


def each_its_own(value: dict[str, Any]) -> dict[str, Any]:
    """Return what is given by the nodes' names; raise `ValueError` where two have the same."""
    names: dict[object, str] = {}
    for name, given in value.items():
        if given in names:
            raise ValueError(
                Reason(
                    "nodes {one!r} and {other!r} have the same id: give each its own machine's",
                    one=names[given],
                    other=name,
                )
            )
        names[given] = name
    return value


def ipv4_address(value: str) -> str:
    """Return an IPv4 address in canonical form."""
    try:
        address = parse_address(value, "")
    except FieldError as error:
        raise ValueError(error.said or error.detail) from None
    if ":" in address:
        raise ValueError(Reason("is no IPv4 address, and this provider translates only to those"))
    return address


ApiUrl = Annotated[str, AfterValidator(checked_api_url)]
IPv4Address = Annotated[str, AfterValidator(ipv4_address)]
NumbersOfMachines = Annotated[
    dict[str, Annotated[int, Field(gt=0, le=_LARGEST_ID)]], Field(max_length=300), AfterValidator(each_its_own)
]
"""By the node's name, the number that the cloud has for its machine: positive, of 64 bits."""
