"""Answers of providers as they may be shown: short, printable, and without the credential that they were sent."""

import base64
import html
import json
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus

SHOWN = 300  # characters
READ = 20_000  # characters of an answer that are looked at; the rest is not shown
PART = 8  # characters of a secret that tell too much
HIDDEN = "its answer repeats a part of the settings and is not shown"


def shown_answer(text: str, settings: Mapping[str, str]) -> str:
    """Return the beginning of an answer without the values of the settings, in whatever usual form they are in it.

    Where a part of one is left, as of a token that the service has cut off, nothing of the answer is shown.
    """
    text = text[:READ]
    forms = {form for value in settings.values() if value for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "...")
    text = one_line(text)
    low = text.lower()
    if any(part in low for key, value in settings.items() if _is_secret(key) for part in _parts(value)):
        return HIDDEN
    return text[:SHOWN]


def one_line(text: str) -> str:
    """Return a text with a space for each run of spaces, line ends and characters that are not printable."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _is_secret(key: str) -> bool:
    """Tell whether a part of a setting must not be shown; of a server or an address that are parts of names."""
    return not any(word in key.lower() for word in ("server", "host", "url", "endpoint", "domain", "zone"))


def _forms(value: str) -> Iterator[str]:
    """Yield the forms in which a text comes back: as it is, or encoded for URLs, JSON, HTML or a header."""
    yield value
    yield quote(value, safe="")
    yield quote_plus(value)
    yield json.dumps(value)[1:-1]
    yield html.escape(value)
    yield value.encode().hex()
    yield from _base64_forms(value)


def _base64_forms(value: str) -> Iterator[str]:
    """Yield what of a base64 text comes from the value alone, wherever it begins in what was encoded."""
    data = value.encode()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode().rstrip("=")
        # The first characters hold bits of what is before, the last one bits of what comes after.
        inner = encoded[(0, 2, 3)[before] : len(encoded) - (1 if (before + len(data)) % 3 else 0)]
        if len(inner) >= PART:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")


def _parts(value: str) -> Iterator[str]:
    for form in _forms(value):
        low = form.lower()
        yield from (low[start : start + PART] for start in range(len(low) - PART + 1))
