"""Texts of the pages, by subject: found in templates and modules, and written into the catalogs (`script/strings`)."""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from re import DOTALL, compile, search, sub  # noqa: A004 - as in the module `re`

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_file
from babel.messages.pofile import write_po

from wgfleet.panel.web import languages
from wgfleet.panel.web.rendering import TEMPLATES

WEB = TEMPLATES.parent
LAYOUT = "layout"
"""The subject of what all pages share: its texts need no second translation elsewhere."""
REASONS = "reasons"
"""The subject of what services say, whichever page shows it."""
SPOKEN = {"alt", "aria-label", "placeholder", "title"}
NAME = "wgfleet"  # the same in every language
_CODE = compile(r"{#.*?#}|{%.*?%}|{{.*?}}", DOTALL)
_ATTRIBUTE = compile(r"^[a-z-]+=\"")  # made by a macro
_VARIABLE = compile(r"\b_\(\s*[^\"')\s]")
Text = str | tuple[str, ...]


def sources() -> Iterator[tuple[str, Path]]:
    """Yield templates and modules, each with its subject."""
    for path in sorted(TEMPLATES.rglob("*.html")):
        folder = path.relative_to(TEMPLATES).parts[0]
        yield LAYOUT if folder == "kit" or folder.endswith(".html") else folder, path
    for path in sorted(WEB.rglob("*.py")):
        yield path.stem if path.parent.name == "pages" and path.stem != "__init__" else LAYOUT, path


def texts() -> dict[str, set[Text]]:
    """Return the texts of each subject, without those that the layout has too."""
    found: dict[str, set[Text]] = {LAYOUT: set()}
    for subject, path in sources():
        method = "python" if path.suffix == ".py" else "jinja2.ext:babel_extract"
        keywords = {"marked": None} if path.suffix == ".py" else {"_": None, "ngettext": (1, 2)}
        for _, message, *_ in extract_from_file(method, path, keywords=keywords, options={"newstyle_gettext": "true"}):
            found.setdefault(subject, set()).add(message)
    for path in sorted(WEB.parents[1].rglob("*.py")):
        if WEB not in path.parents:
            made = extract_from_file("python", path, keywords={"Reason": None, "template": None})
            found.setdefault(REASONS, set()).update(message for _, message, *_ in made)
    return {
        subject: own if subject == LAYOUT else own - found[LAYOUT] for subject, own in found.items() if own or LAYOUT
    }


def forms(message: Message) -> tuple[str, ...]:
    """Return the translations of a text: one, or as many as the language has plurals."""
    return (message.string,) if isinstance(message.string, str) else tuple(message.string or ("",))


class _Spoken(HTMLParser):
    """Collects what a reader of the page sees or hears."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        self.found.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - HTMLParser's
        self.found += [value for name, value in attrs if name in SPOKEN and value]


def unmarked(template: str) -> list[str]:
    """Return the words of a template that no translation reaches, and what is translated without being a text."""
    parser = _Spoken()
    parser.feed(_CODE.sub("", template))
    words = [sub(r"\s+", " ", each).strip() for each in parser.found]
    said = [each for each in words if search(r"[^\W\d_]{2}", each.replace(NAME, "")) and not _ATTRIBUTE.search(each)]
    return said + [match[0] for match in _VARIABLE.finditer(template)]


def write() -> None:
    """Write the texts of all subjects into the catalogs, with the translations that there are."""
    for language in sorted(set(languages.NAMES) - {languages.ENGLISH}):
        folder = languages.LOCALE / language
        folder.mkdir(parents=True, exist_ok=True)
        known = {
            message.id: message.string for _, part in languages.catalogs(language) for message in part if message.id
        }
        for subject, own in texts().items():
            catalog = Catalog(locale=language, fuzzy=False)
            for text in own:
                key = text if isinstance(text, str) else tuple(text[:2])
                catalog.add(key, known.get(key, ""))
            path = folder / f"{subject}.po"
            if own:
                with path.open("wb") as file:
                    write_po(file, catalog, width=0, no_location=True, omit_header=True, sort_output=True)
            else:
                path.unlink(missing_ok=True)


if __name__ == "__main__":
    write()
