"""The router of pages: what each request for one asks before it is answered.

The routes are complete as they are made: a router that is included in another has each worked out once more.
"""

from fastapi import APIRouter, Depends, Request

from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.succession import refuse_where_superseded
from wgfleet.panel.api.unread_input import refuse_other_encodings
from wgfleet.panel.web.forms import TheForm

# What a panel that decides nothing does all the same; a test holds every other change to be refused there.
STILL_TAKEN = {
    "/login",
    "/login/code",
    "/login/forwarded",
    "/login/passkey",
    "/login/passkey/begin",
    "/logout",
    "/preferences",
}


def page_router() -> APIRouter:
    """Return a router for pages, which are none of the API's calls."""
    return APIRouter(include_in_schema=False, dependencies=[Depends(_may_be_answered), Depends(_checked)])


async def _may_be_answered(panel: ThePanel, request: Request) -> None:
    refuse_other_encodings(request)
    if request.scope["route"].path not in STILL_TAKEN:
        await refuse_where_superseded(panel, request)


async def _checked(_form: TheForm) -> None:
    """Read the form of every change, so that none is taken that was not checked."""
