"""The scheme that a client used: https, or in the clear, as the first of several proxies says in `X-Forwarded-Proto`.

The server behind understands one word in small letters. Proxies in a row make a list of it, in one header or in
several, whose first word is about the client, and some use capitals. Who came by https would get cookies that browsers
send in the clear too.
"""

from starlette.types import Scope

_SCHEMES = {"http", "https"}


def with_forwarded_scheme(scope: Scope) -> Scope:
    """Return the scope of a request through a trusted proxy with the scheme that its client used."""
    said = b",".join(value for name, value in scope.get("headers", ()) if name == b"x-forwarded-proto")
    first = said.decode("latin-1").partition(",")[0].strip().lower()
    return {**scope, "scheme": first} if scope["type"] == "http" and first in _SCHEMES else scope
