"""The address of a panel, as somebody typed it."""

from urllib.parse import SplitResult, urlsplit

import httpx


def panel_url(url: str) -> SplitResult | None:
    """Return the parts of a panel's address, which have a host; None for what is no address, or has an odd port."""
    try:
        httpx.URL(url)  # finds what `urlsplit` passes over, such as line breaks
        parts = urlsplit(url)
        has_port = parts.port != 0
    except (ValueError, httpx.InvalidURL):
        return None
    return parts if parts.scheme in {"http", "https"} and parts.hostname and has_port else None
