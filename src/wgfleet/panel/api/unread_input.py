"""Input that a call would not read is refused: who misplaced `force` or `relay_s` must not think that it was heard.

Nor who filters by what there is no filter for: a list of all peers, or all of their files, is no answer to `?tags=`.
"""

from urllib.parse import unquote_to_bytes

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from wgfleet.panel.api.succession import READS
from wgfleet.panel.errors import Invalid
from wgfleet.protocol.reasons import Reason

_NOTHING = {b"", b"{}", b"null"}
_OF_PAGES = {"after", "limit"}  # programs ask all lists by pages, also those that come whole


async def refuse_unread_input(request: Request) -> None:
    """Refuse a call with a parameter that it does not have, and a change with a body where it takes none."""
    route = request.scope["route"]
    if not isinstance(route, APIRoute) or not route.path.startswith("/api/"):
        return  # /healthz and the like: what asks there may add something of its own
    refuse_other_encodings(request)
    known = _parameters(route)
    for name in request.query_params:
        if name not in known and not (request.method in READS and name in _OF_PAGES):
            raise Invalid(
                Reason("the call has no such parameter; it has {known}", known=", ".join(known) or "none"), field=name
            )
    if request.method not in READS and route.body_field is None and (await request.body()).strip() not in _NOTHING:
        has = Reason("; parameters of its address are {known}", known=", ".join(known)) if known else ""
        raise Invalid(Reason("the call takes no body{has}", has=has), field="body")


def refuse_other_encodings(request: Request) -> None:
    """Refuse a parameter that is no UTF-8: what is looked for instead would be found nowhere."""
    query: bytes = request.scope["query_string"]
    if query.isascii() and b"%" not in query:
        return
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        try:
            unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            raise Invalid(Reason("is not UTF-8"), field=unquote_to_bytes(name).decode(errors="replace")) from None


def _parameters(route: APIRoute) -> tuple[str, ...]:
    """Return the parameters that a call takes in its address, sorted."""
    return tuple(sorted(_of(route.dependant)))


def _of(dependant: Dependant) -> set[str]:
    found = {field.alias for field in dependant.query_params}
    return found.union(*(_of(each) for each in dependant.dependencies))
