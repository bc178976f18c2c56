"""The router of a subject: what each call of the API asks before it is answered, and what generated clients call it.

The routes are complete as they are made: a router that is included in another has each worked out once more, which
took a fifth of a panel's start.
"""

import operator

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute

from wgfleet.panel.api.large_bodies import CarefulJson
from wgfleet.panel.api.succession import refuse_where_superseded
from wgfleet.panel.api.unread_input import refuse_unread_input


def subject_router(subject: str, route_class: type[APIRoute] = CarefulJson) -> APIRouter:
    """Return a router for the calls of `subject`, under which OpenAPI lists them."""
    return APIRouter(
        tags=[subject],
        route_class=route_class,
        dependencies=[Depends(refuse_where_superseded), Depends(refuse_unread_input)],
        generate_unique_id_function=operator.attrgetter("name"),  # what generated clients call their functions
    )
