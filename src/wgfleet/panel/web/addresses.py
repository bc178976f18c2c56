"""Addresses: of lists, with what is chosen in them, and of pages as others reach them."""

from collections.abc import Mapping
from urllib.parse import urlencode

from fastapi import Request

from wgfleet.panel.api.panel import Panel
from wgfleet.panel.web.rendering import visitor_of


def with_query(path: str, chosen: Mapping[str, object]) -> str:
    """Return a path with a query of what is chosen; what is empty is left out."""
    query = urlencode({name: value for name, value in chosen.items() if value not in {None, ""}})
    return f"{path}?{query}" if query else path


def from_outside(request: Request, panel: Panel, path: str) -> str:
    """Return the whole address of a page: below that under which the panel is known, or else was asked at."""
    here = f"{request.url.scheme}://{request.url.netloc}{visitor_of(request).base}"
    return f"{panel.address(here)}{path}"
