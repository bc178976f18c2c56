"""Reasons that services give, as pages say them: in the reader's language where a catalog has the template."""

from collections.abc import Callable
from typing import Any

from markupsafe import Markup, escape

from wgfleet.panel.web.isolation import isolated
from wgfleet.panel.web.languages import marked
from wgfleet.protocol.quotes import filled_in
from wgfleet.protocol.reasons import Reason, readable

NOTHING = "\N{EN DASH}"
_CUT = marked("{start}... ({length:,} characters)")  # as `wgfleet.protocol.quotes` has it
Translate = Callable[[str], str]


def in_words(translate: Translate, text: str) -> str:
    """Return a text in the reader's language; one that no catalog knows stays English."""
    if not text:
        return ""  # of which catalogs have their headers
    if not isinstance(text, Reason):
        return translate(text)
    values = {name: _value(translate, value) for name, value in text.values.items()}
    return readable(filled_in(isolated(translate(text.template)), values, translate(_CUT)))


def said(translate: Translate, text: str | None, nothing: str = NOTHING, *, direction: str = "auto") -> Markup:
    """Return a text as a part of a page, marked as English where it is not in the reader's language.

    `direction`: of that language. Browsers would take it from the first letter, which may be that of a name.
    """
    if not text:
        return escape(nothing)
    words = in_words(translate, text)
    if words != str(text):
        return Markup('<span dir="{}">{}</span>').format(direction, words)
    return Markup('<span lang="en" dir="{}">{}</span>').format("ltr" if isinstance(text, Reason) else "auto", words)


def _value(translate: Translate, value: Any) -> Any:
    return in_words(translate, value) if isinstance(value, Reason) else value
