"""Addresses of lists: a path with what is chosen in it."""

from collections.abc import Mapping
from urllib.parse import urlencode


def with_query(path: str, chosen: Mapping[str, object]) -> str:
    """Return a path with a query of what is chosen; what is empty is left out."""
    query = urlencode({name: value for name, value in chosen.items() if value not in {None, ""}})
    return f"{path}?{query}" if query else path
