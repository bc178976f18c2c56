"""Input that a call would not read is refused: who misplaced `force` or `relay_s` must not think that it was heard."""

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from wgfleet.panel.api.succession import READS
from wgfleet.panel.errors import Invalid
from wgfleet.protocol.reasons import Reason

_NOTHING = {b"", b"{}", b"null"}


async def refuse_unread_input(request: Request) -> None:
    """Refuse a change with a parameter that it does not have, or with a body where it takes none."""
    route = request.scope["route"]
    if request.method in READS or not isinstance(route, APIRoute):
        return
    known = _parameters(route)
    for name in request.query_params:
        if name not in known:
            raise Invalid(
                Reason("the call has no such parameter; it has {known}", known=", ".join(known) or "none"), field=name
            )
    if route.body_field is None and (await request.body()).strip() not in _NOTHING:
        has = Reason("; parameters of its address are {known}", known=", ".join(known)) if known else ""
        raise Invalid(Reason("the call takes no body{has}", has=has), field="body")


def _parameters(route: APIRoute) -> tuple[str, ...]:
    """Return the parameters that a call takes in its address, sorted."""
    return tuple(sorted(_of(route.dependant)))


def _of(dependant: Dependant) -> set[str]:
    found = {field.alias for field in dependant.query_params}
    return found.union(*(_of(each) for each in dependant.dependencies))
