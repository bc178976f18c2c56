"""Values as people read them: sizes in binary units, rates, shares and times, in the language of the page."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from babel.dates import format_timedelta
from babel.numbers import format_decimal, format_percent
from markupsafe import Markup

from wgfleet.panel.web import languages
from wgfleet.panel.web.detail_names import name_of
from wgfleet.panel.web.detail_values import value_of
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.reasons import Translate, in_words
from wgfleet.protocol.quantities import size_text, speed_text
from wgfleet.protocol.reasons import Reason

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
STEP = 1024
YES, NO, NONE = marked("yes"), marked("no"), marked("none")
SHORT = 100  # from here on a size has no decimals
_SYNTAX = re.compile(r"[\^$.*+?()[\]{}|/\\]")


def size(language: str, count: float) -> str:
    """Return a number of bytes, such as `1.4 GiB`."""
    value, unit = float(count), UNITS[0]
    for unit in UNITS:  # noqa: B007 - the unit that was reached is what counts
        if abs(value) < STEP:
            break
        value /= STEP
    shown = "#,##0" if unit == UNITS[0] or abs(value) >= SHORT else "#,##0.#"
    return _with_unit(language, format_decimal(value, shown, locale=language), unit)


def amount(language: str, count: int) -> str:
    """Return a number of bytes as somebody gave it, such as `50 MB`, where it is a round one in some unit."""
    number, _, unit = size_text(count).partition(" ")
    if unit == UNITS[0]:
        return size(language, count)
    return _with_unit(language, format_decimal(float(number), "#,##0.##", locale=language), unit)


def rate(language: str, bits: float) -> str:
    """Return a number of bits a second, such as `12.3 Mbit/s`; lines are measured in powers of ten."""
    value, unit = float(bits), "bit/s"
    for unit in ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"):  # noqa: B007 - as above
        if abs(value) < 1000:  # noqa: PLR2004 - what the units are apart
            break
        value /= 1000
    return _with_unit(language, format_decimal(value, "#,##0.#", locale=language), unit)


def _with_unit(language: str, number: str, unit: str) -> str:
    """Return a number with its unit behind it, also where people read from right to left: units are Latin there too."""
    found = f"{number}\u00a0{unit}"
    return found if languages.direction(language) == "ltr" else f"\u2066{found}\u2069"


def literal_pattern(text: str) -> str:
    """Return the pattern of a field that takes this text alone, as browsers read patterns (with the flag v)."""
    return _SYNTAX.sub(r"\\\g<0>", text)


def speed_field(bits: int | None) -> str:
    """Return a speed as a field of a form has it, and takes it."""
    return "" if bits is None else speed_text(bits) if bits else "0"


def number(language: str, value: float) -> str:
    """Return a number, grouped as the language does."""
    return str(format_decimal(value, locale=language))


def share(language: str, value: float) -> str:
    """Return a share of 1 in percent."""
    return str(format_percent(value, "#,##0%", locale=language))


def span(language: str, seconds: int) -> str:
    """Return for how long something lasted, in the largest unit that fits."""
    return format_timedelta(seconds, locale=language)


def exact(at: datetime | float) -> str:
    """Return a time to the second, the same in all languages, for logs to be compared with."""
    when = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def moment(at: datetime | float) -> Markup:
    """Return a time that scripts show as how long ago it was; without them, and as its title, it is exact."""
    when = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return Markup('<relative-time datetime="{}" title="{}" dir="auto">{}</relative-time>').format(
        when.astimezone(UTC).isoformat(), exact(when), exact(when)
    )


def details(values: Mapping[str, Any], translate: Translate = str) -> str:
    """Return the details of an entry as one line, in the reader's language as far as they are words of ours."""
    return "; ".join(
        f"{in_words(translate, name_of(name))}: {detail(value, name, translate)}" for name, value in values.items()
    )


def detail(value: Any, name: str = "", translate: Translate = str) -> str:
    """Return one detail. `name`: as the entry has it; some have words of the panel's own, where somebody translates."""
    if translate is not str and (known := value_of(name, value)) is not None:
        return translate(known)
    if isinstance(value, datetime):
        return exact(value)
    if isinstance(value, Mapping):
        pairs = ((in_words(translate, name_of(each)), detail(of, each, translate)) for each, of in value.items())
        return "{" + ", ".join(f"{called} {said}" for called, said in pairs) + "}"
    if isinstance(value, list | tuple):
        return ", ".join(detail(each, name, translate) for each in value) or translate(NONE)
    if isinstance(value, bool):
        return translate(YES if value else NO)
    return translate(NONE) if value is None else in_words(translate, value) if isinstance(value, Reason) else str(value)
