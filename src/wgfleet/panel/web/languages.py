"""Languages of the pages: which there are, which one a visitor gets, and their catalogs.

The texts in templates and modules are English. A catalog is a folder with a file a subject, so that people who work on
different pages do not meet in one: `locale/de/peers.po` has what `templates/peers/` and `pages/peers.py` say.
"""

import gettext
import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LOCALE = Path(__file__).parent / "locale"
ENGLISH = "en"
NAMES = {ENGLISH: "English", "de": "Deutsch", "fa": "فارسی"}
"""Each language under its own name. Pages are tried in `fa` as the language that is written from right to left."""
COMPLETE = ("de",)


def marked(text: str) -> str:
    """Mark a text of a module for translation; the template that shows it translates it."""
    return text


def catalogs(language: str) -> Iterator[tuple[str, Catalog]]:
    """Yield the catalogs of a language, each with its subject."""
    for path in sorted((LOCALE / language).glob("*.po")):
        with path.open("rb") as file:
            yield path.stem, read_po(file, locale=language)


@cache
def translations(language: str) -> gettext.NullTranslations:
    """Return all texts of a language; what has none stays English."""
    if language == ENGLISH:
        return gettext.NullTranslations()
    whole = Catalog(locale=language)
    for _, part in catalogs(language):
        for message in part:
            if message.id and message.string and all(_forms(message.string)):
                whole.add(message.id, message.string, context=message.context)
    compiled = io.BytesIO()
    write_mo(compiled, whole)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _forms(string: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return (string,) if isinstance(string, str) else tuple(string)


def direction(language: str) -> str:
    """Return `rtl` for a language that is written from right to left."""
    return Locale.parse(language).text_direction


def chosen(kept: str | None, accepted: str) -> str:
    """Return the language that a visitor has chosen, else the one that the browser likes best, else English."""
    if kept in NAMES:
        return str(kept)
    wanted: list[tuple[float, str]] = []
    for part in accepted.split(",")[:20]:
        name, _, quality = part.strip().partition(";q=")
        try:
            wanted.append((-float(quality or 1), name.partition("-")[0].lower()))
        except ValueError:
            continue
    return next((name for _, name in sorted(wanted, key=lambda each: each[0]) if name in NAMES), ENGLISH)
