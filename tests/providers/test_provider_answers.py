"""What a service says is shown, short and without the secrets that it was sent."""

import base64
import html
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.provider_answers import HIDDEN, PART, SHOWN, shown_answer

SENT = 'pä"ss <w>ord/+ of & 2026'
SETTINGS = {"auth_username": "anna", "auth_password": SENT, "pdns_server": "https://dns.example.com"}
ENCODED = [
    SENT,
    quote(SENT, safe=""),
    json.dumps(SENT),
    html.escape(SENT),
    SENT.encode().hex(),
    *(base64.b64encode(f"{name}:{SENT}".encode()).decode() for name in ("a", "ab", "abc")),
]


@pytest.mark.parametrize("form", ENCODED)
def test_a_secret_is_shown_in_no_form(form: str) -> None:
    said = shown_answer(f"bad request: token {form} is not known", SETTINGS)
    for start in range(len(form) - PART):
        assert (
            form[start : start + PART] not in said or form[start : start + PART] in "bad request: token  is not known"
        )


@pytest.mark.parametrize("part", [SENT[:12], SENT[5:15], SENT[:12].upper()])
def test_of_an_answer_with_a_part_of_a_secret_nothing_is_shown(part: str) -> None:
    assert shown_answer(f"token {part}*** is not known", SETTINGS) == HIDDEN


def test_what_is_no_secret_is_shown_short_and_on_one_line() -> None:
    said = shown_answer("zone dns.example.com\n\x1b[31mis not\u202e here\r\n" + "x" * 1000, SETTINGS)
    assert said.startswith("zone dns.example.com [31mis not here xxx")
    assert len(said) == SHOWN


@given(st.text(min_size=PART, max_size=40), st.text(max_size=60), st.text(max_size=400))
def test_no_answer_shows_a_whole_secret(secret: str, before: str, after: str) -> None:
    said = shown_answer(before + secret + after, {"auth_token": secret})
    assert said == HIDDEN or secret not in said
