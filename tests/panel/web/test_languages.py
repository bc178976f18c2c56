"""Languages: every text of a page can be translated, and is in German; pages turn round where people read that way."""

import copy
import re
from pathlib import Path

import pytest

from tests.panel.web import strings
from tests.panel.web.conftest import Browser
from wgfleet.panel.web import formats, languages, reasons
from wgfleet.panel.web.rendering import TEMPLATES
from wgfleet.protocol.reasons import Reason

TEMPLATE_FILES = sorted(TEMPLATES.rglob("*.html"))
OTHERS = sorted(set(languages.NAMES) - {languages.ENGLISH})


@pytest.mark.parametrize("path", TEMPLATE_FILES, ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_every_text_of_a_template_is_marked(path: Path) -> None:
    assert strings.unmarked(path.read_text()) == []


@pytest.mark.parametrize(
    "template",
    ["<p>Hello</p>", '<a title="Hello">{{ _("x") }}</a>', "{{ _(error.detail) }}", '<i aria-label="Close it"></i>'],
)
def test_a_text_that_is_not_marked_is_found(template: str) -> None:
    assert strings.unmarked(template) != []


@pytest.mark.parametrize("language", OTHERS)
def test_catalogs_have_the_texts_of_their_subject_and_no_others(language: str) -> None:
    """`script/strings` writes them."""
    wanted = {
        subject: {text if isinstance(text, str) else tuple(text[:2]) for text in own}
        for subject, own in strings.texts().items()
        if own
    }
    assert wanted == {
        subject: {message.id for message in part if message.id} for subject, part in languages.catalogs(language)
    }


@pytest.mark.parametrize("language", languages.COMPLETE)
def test_a_complete_language_lacks_nothing(language: str) -> None:
    lacking = [
        message.id
        for _, part in languages.catalogs(language)
        for message in part
        if message.id and not all(strings.forms(message))
    ]
    assert lacking == []


def test_persian_pages_have_one_kind_of_digits() -> None:
    """That of the values, which are typed and pasted as they are."""
    found = [text for _, part in languages.catalogs("fa") for message in part for text in strings.forms(message)]
    assert [text for text in found if re.search("[\u06f0-\u06f9\u0660-\u0669]", text)] == []


@pytest.mark.parametrize("text", ["", Reason(""), Reason("{x}", x="")])
def test_no_text_is_none_in_every_language(text: str) -> None:
    """Catalogs have their headers there."""
    assert reasons.in_words(languages.translations("de").gettext, text) == ""


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_the_placeholders_of_its_text(language: str) -> None:
    for _, part in languages.catalogs(language):
        for message in part:
            for text in strings.forms(message):
                if message.id and text:
                    first = message.id if isinstance(message.id, str) else message.id[0]
                    assert re.findall(r"%\(\w+\)\w", text) == re.findall(r"%\(\w+\)\w", first), message.id
                    # Of a reason, whose values may stand in another order.
                    values = [sorted(re.findall(r"{\w[^}]*}", each)) for each in (text, first)]
                    assert values[0] == values[1], message.id


def test_a_reason_is_said_in_the_language_of_who_reads_it_with_its_values_as_they_are() -> None:
    inner = Reason("no answer to {failing} of {fresh} vantage points", failing=2, fresh=3)
    whole = Reason("{what}; {why}", what=inner, why="<b>{x} \\u200c")
    assert Reason.restored(whole.kept()) == whole == "no answer to 2 of 3 vantage points; <b>{x} \u200c"
    translate = languages.translations("de").gettext
    for each in (whole, Reason.restored(whole.kept())):
        assert reasons.in_words(translate, each) == "keine Antwort an 2 von 3 Beobachtern; <b>{x} \u200c"
    assert reasons.said(translate, inner) == '<span dir="auto">keine Antwort an 2 von 3 Beobachtern</span>'
    foreign = reasons.said(translate, Reason("what no catalog has: {x}", x="<b>"))
    assert foreign == '<span lang="en" dir="ltr">what no catalog has: &lt;b&gt;</span>'
    assert reasons.said(translate, "of a plugin") == '<span lang="en" dir="auto">of a plugin</span>'
    assert Reason.restored("kept by hand\x1f{") == "kept by hand"
    assert copy.deepcopy(whole).values == whole.values


@pytest.mark.parametrize(
    ("kept", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "fr;q=0.9, fa;q=0.5, en;q=0.1", "fa"),
        (None, "x" * 5000, "en"),
        (None, "de;q=high", "en"),
        ("en", "de", "en"),
        ("../de", "de", "de"),
    ],
)
def test_the_language_is_that_of_the_cookie_then_of_the_browser(kept: str | None, accepted: str, language: str) -> None:
    assert languages.chosen(kept, accepted) == language


@pytest.mark.parametrize(
    ("language", "direction", "heading"), [("de", "ltr", "Bei wgfleet anmelden"), ("fa", "rtl", "ورود به wgfleet")]
)
def test_a_page_comes_in_the_language_of_its_reader(
    browser: Browser, language: str, direction: str, heading: str
) -> None:
    page = browser(**{"Accept-Language": language}).get("/login").text
    assert f'<html lang="{language}" dir="{direction}"' in page
    assert f"<h1>{heading}</h1>" in page


@pytest.mark.parametrize(
    ("language", "size", "rate"), [("en", "1.4 GiB", "3.2 Mbit/s"), ("de", "1,4 GiB", "3,2 Mbit/s")]
)
def test_a_unit_stands_behind_its_number(language: str, size: str, rate: str) -> None:
    assert formats.size(language, 1.4 * 2**30) == size.replace(" ", "\u00a0")
    assert formats.rate(language, 3.2e6) == rate.replace(" ", "\u00a0")


def test_a_unit_stands_behind_its_number_from_right_to_left_too() -> None:
    """Without an isolate, `3 MiB` among Persian words is shown as `MiB 3`."""
    assert formats.size("fa", 3 * 2**20) == "\u20663\u00a0MiB\u2069"
    assert formats.rate("fa", 0) == "\u20660\u00a0bit/s\u2069"


@pytest.mark.parametrize("path", TEMPLATE_FILES, ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_a_mark_is_outside_of_text_that_finds_its_own_direction(path: Path) -> None:
    """English in a Persian page would take the mark of a state to the other end of its line."""
    assert re.findall(r'<\w+ class="state\b[^>]*\bdir="auto"[^>]*>', path.read_text()) == []
