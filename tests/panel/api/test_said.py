"""What views say in words keeps the template that it was said by, so that pages say it in the reader's language."""

import re

from wgfleet.panel import api
from wgfleet.panel.api.models import View

WORDS = re.compile(r"(^|_)(reason|because|error|summary|warning|trouble)s?$|(^|_)detail$")


def views(base: type[View]) -> set[type[View]]:
    """Return all kinds of answers, those of generic pages left out."""
    found = {each for each in base.__subclasses__() if "[" not in each.__name__}
    return found | {deeper for each in found for deeper in views(each)}


def test_words_of_views_keep_their_templates() -> None:
    assert api.__all__, "it imports all of them"
    seen, lost = 0, []
    for view in views(View):
        for name, field in view.model_fields.items():
            if WORDS.search(name):
                seen += 1
                if "SkipValidation" not in f"{field.annotation} {field.metadata}":
                    lost.append(f"{view.__name__}.{name}")
    assert seen > 30
    assert sorted(lost) == []
