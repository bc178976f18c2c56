"""The address of a panel, as somebody typed it."""

import re
from urllib.parse import SplitResult, urlsplit

import httpx

_NAME = re.compile(r"//[^/]*@")


def panel_url(url: str) -> SplitResult | None:
    """Return the parts of a panel's address, which have a host; None for what is no address, or has an odd port.

    Nor may it have a name and a password, which are sent in place of a key, and stand in logs.
    """
    try:
        httpx.URL(url)  # finds what `urlsplit` passes over, such as line breaks
        parts = urlsplit(url)
        has_port, has_name = parts.port != 0, "@" in parts.netloc
    except (ValueError, httpx.InvalidURL):
        return None
    return parts if parts.scheme in {"http", "https"} and parts.hostname and has_port and not has_name else None


def without_name(url: str) -> str:
    """Return an address as messages have it, without a name and a password in it."""
    return _NAME.sub("//...@", url)
