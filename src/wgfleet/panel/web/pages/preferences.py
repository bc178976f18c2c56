"""Preferences of a browser: language, colors and density, kept in cookies, so that they need no sign-in."""

from fastapi import Request
from starlette.responses import Response

from wgfleet.panel.web import languages, visitors, ways_back
from wgfleet.panel.web.forms import TheForm
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import gone_on
from wgfleet.panel.web.visitors import DENSITIES, DENSITY, LANGUAGE, THEME, THEMES, TheVisitor

router = page_router()
_CHOICES = {LANGUAGE: tuple(languages.NAMES), THEME: THEMES, DENSITY: DENSITIES}


@router.post("/preferences")
def set_preferences(request: Request, visitor: TheVisitor, form: TheForm) -> Response:
    response = gone_on(request, ways_back.shown_path(request, form.get("next")))
    for cookie, choices in _CHOICES.items():
        if (value := form.get(cookie)) in choices:
            visitors.keep(response, cookie, value, secure=visitor.secure, lasts_s=visitors.YEAR_S)
    return response
