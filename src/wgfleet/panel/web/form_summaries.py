"""Summaries of forms: what is wrong is said once, beside its field where the page has that, and else above all fields.

Which fields a page has is known once it is made: so it is made first, and what belongs above is put in then.
"""

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from wgfleet.panel.web.forms import SubmittedForm


def summarized(made: Environment, text: str, values: Mapping[str, Any]) -> str:
    """Return a page with what is wrong with its forms in its place."""
    for form in values.values():
        if isinstance(form, SubmittedForm) and form.place and form.place in text:
            places = {name: text.find(f'id="{name}-wrong"') for name in form.wrong}
            beside = [
                (name, _label(text, name)) for name in sorted(places, key=places.__getitem__) if places[name] >= 0
            ]
            elsewhere = form.wrong.keys() - dict(beside).keys()
            module = made.get_template("kit/forms.html").make_module(dict(values))
            summary = module.summary(form, beside, sorted(elsewhere))  # type: ignore[attr-defined]
            text = text.replace(form.place, summary)
    return text


def _label(text: str, name: str) -> str:
    """Return what a page calls a field: its label, or the legend or the words of what the error stands in."""
    found = re.search(rf'<label for="{re.escape(name)}">(.*?)</label>', text, re.DOTALL)
    if found is None:
        before = text[: text.index(f'id="{name}-wrong"')]
        found = next(
            reversed([*re.finditer(r"<legend>(.*?)</legend>|<label\b[^>]*>(.*?)</label>", before, re.DOTALL)]), None
        )
    words = "" if found is None else next(filter(None, found.groups()), "")
    return Markup(words).striptags() or name  # noqa: S704 - of our own page
