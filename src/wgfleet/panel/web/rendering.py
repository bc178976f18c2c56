"""Templates made into answers: whole pages, or one block of a page as a fragment for what asked for it.

A block is named after the id of the element that it fills: a request whose target is `#results` gets the block
`results`. So page and fragment are one template.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2_fragments import render_block
from starlette.responses import Response

import wgfleet
from wgfleet.panel.errors import PanelError
from wgfleet.panel.web import assets, detail_names, event_words, formats, hints, languages, reasons, words
from wgfleet.panel.web.form_summaries import summarized
from wgfleet.panel.web.forms import SubmittedForm
from wgfleet.panel.web.isolation import isolated
from wgfleet.panel.web.navigation import Section
from wgfleet.panel.web.visitors import VISITOR, Visitor

TEMPLATES = Path(__file__).parent / "templates"
DIALOG = "dialog"
"""The block of a page that is shown as a dialog where scripts run."""
sections: list[Section] = []
"""The navigation, which `site` fills with what the pages bring."""


def _choices(translate: Callable[[str], str], marked: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return choices of a field, of which a module has marked the texts."""
    return [(key, translate(text)) for key, text in marked]


def _install_texts(made: Environment, language: str) -> None:
    """Give templates the texts of a language."""
    texts = languages.translations(language)
    made.install_gettext_callables(  # type: ignore[attr-defined]
        lambda text: isolated(texts.gettext(text)),
        lambda one, many, number: isolated(texts.ngettext(one, many, number)),
        newstyle=True,
    )


@cache
def environment(language: str) -> Environment:
    """Return the templates in a language."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        auto_reload=False,
    )
    _install_texts(made, language)
    for name in ("size", "amount", "rate", "number", "share", "span"):
        made.filters[name] = partial(getattr(formats, name), language)
    # For texts that are not in a template: `_()` takes its text for markup, which one with a name in it must never be.
    translate = languages.translations(language).gettext
    made.filters["translated"] = partial(reasons.in_words, translate)
    made.filters["said"] = partial(reasons.said, translate, direction=languages.direction(language))
    made.filters["translated_choices"] = partial(_choices, translate)
    made.filters.update(
        moment=formats.moment,
        literal_pattern=formats.literal_pattern,
        speed_field=formats.speed_field,
        exact=formats.exact,
        details=partial(formats.details, translate=translate),
        detail=partial(formats.detail, translate=translate),
        detail_name=lambda name: reasons.in_words(translate, detail_names.name_of(name)),
    )
    made.filters.update(state=words.state, way_out=hints.way_out)
    made.filters.update(operation_words=words.operation_words, event_words=event_words.words)
    made.globals.update(
        version=wgfleet.__version__,
        language=language,
        direction=languages.direction(language),
        languages=languages.NAMES,
        assets=assets.names(),
    )
    return made


def visitor_of(request: Request) -> Visitor:
    """Return who looks."""
    found: Visitor = getattr(request.state, VISITOR)
    return found


def page(
    request: Request,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    blocks: Collection[str] = (),
    status: int = HTTPStatus.OK,
    language: str | None = None,
) -> HTMLResponse:
    """Answer with a page, or with that one of its `blocks` which the request wants as a fragment.

    One with what was refused, an `error` or that of a `form`, says when to try again, where that is known.
    """
    visitor = visitor_of(request)
    made = environment(language or visitor.language)
    if isinstance(form := (context or {}).get("form"), SubmittedForm):
        form.say_all()
    values = {
        "visitor": visitor,
        "url": visitor.url,
        "sections": [each for each in sections if each.is_for(visitor.caller)],
        **(context or {}),
    }
    headers = {"Vary": "HX-Request, HX-Target, Cookie, Accept-Language"}
    for refused in (values.get("error"), getattr(values.get("form"), "error", None)):
        headers |= refused.retry_headers if isinstance(refused, PanelError) else {}
    target = _target(request)
    if target is not None and target in {*blocks, DIALOG} and target in made.get_template(template).blocks:
        text = render_block(made, template, target, **values)
    else:
        text = made.get_template(template).render(values)
    return HTMLResponse(summarized(made, text, values), status, headers)


def _target(request: Request) -> str | None:
    """Return the id of the element that is to be filled, as a name of a block; None: a whole page is wanted."""
    if request.headers.get("hx-request") != "true" or request.headers.get("hx-request-type") == "full":
        return None
    return request.headers.get("hx-target", "").rpartition("#")[2].replace("-", "_")


def gone_on(request: Request, path: str) -> Response:
    """Answer a form that was carried out: the browser goes on to one of our pages."""
    address = visitor_of(request).url(path)
    if request.headers.get("hx-request") == "true":
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"HX-Redirect": address})
    return RedirectResponse(address, HTTPStatus.SEE_OTHER)
