"""Guesses at passwords and codes: slowed from one address and from many, and nobody is kept out by strangers."""

import itertools
from contextlib import ExitStack

import httpx
import pytest

from tests.panel.access.people import WORDS, confirmed, new_user, refused, signed_in
from wgfleet.panel import origin, passwords
from wgfleet.panel.api import Panel, name_guesses
from wgfleet.panel.api import panel as panel_module
from wgfleet.panel.api.attempts import FAILURES, Attempts
from wgfleet.panel.errors import TooMany, Unauthorized
from wgfleet.panel.web import languages
from wgfleet.panel.web.reasons import in_words


def test_guesses_at_a_name_from_many_addresses_get_fewer_and_keep_nobody_out(
    client: httpx.Client, visitor: httpx.Client, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers have one try each, then one a network; the owner has them all where the owner is signed in."""
    monkeypatch.setattr(passwords, "matches", lambda password, _: password == WORDS)
    monkeypatch.setattr(name_guesses, "_WIDER", {4: 16, 6: 48})
    few, many, from_one = 5, 12, 3
    for tries, most in (("few", few), ("many", many), ("some", from_one)):
        monkeypatch.setattr(getattr(panel.name_guesses, f"_{tries}"), "_most", most)
    new_user(client)
    at = ["192.0.2.1"]
    monkeypatch.setattr(origin, "of", lambda _scope: at[0])
    monkeypatch.setattr(panel.sign_in_attempts, "_most", 1_000_000)

    def guess(address: str, words: str = "a guess") -> int:
        at[0] = address
        return visitor.post("/api/sign-in", json={"name": "anna", "password": words}).status_code

    home, elsewhere = "198.51.100.7", "203.0.113.9"
    assert guess(home, WORDS) == 201
    for number in range(few):
        assert guess(f"2001:db8:1:{number:x}::1") == 401
    assert guess(elsewhere, WORDS) == 201, "a stranger's try is one, and may be right"
    assert [guess("2001:db8:1:fff::1"), guess("2001:db8:1:fff::2")] == [401, 429], "a /64 is one address"
    with pytest.raises(TooMany) as refused_one, panel.name_guesses.guess("anna", at[0], bool, Unauthorized):
        pass
    assert refused_one.value.detail.startswith("too many refused passwords of anna from 2001:db8:1:fff::/64; try again")
    assert "; many guess at this name now: sign in with a passkey, or from " in refused_one.value.detail
    said = in_words(languages.translations("de").gettext, refused_one.value.said or "")
    assert said.startswith("zu viele abgelehnte Passwörter (anna von 2001:db8:1:fff::/64); versuchen Sie es in ")
    assert "; viele raten gerade bei diesem Namen: " in said
    for number in range(many - few - 1):
        assert guess(f"2001:db8:2:{number:x}::1") == 401
    assert [guess("2001:db8:3:1::1"), guess("2001:db8:3:2::1")] == [401, 429], "and now a /48 is"
    assert [guess("10.1.1.1"), guess("10.1.2.2"), guess("10.2.1.1", WORDS)] == [401, 429, 201]
    refused_now = visitor.post("/api/sign-in", json={"name": "anna", "password": WORDS}).status_code
    assert refused_now == 201, "it is known by now"
    assert [guess(home) for _ in range(from_one)] == [401] * from_one
    assert guess(home, WORDS) == 429, "one address, and the tries of one"
    assert guess(elsewhere, WORDS) == 201


def test_codes_are_guessed_as_often_from_many_addresses_as_from_one(
    client: httpx.Client, visitor: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gives one has the password: this keeps nobody out who is not robbed already."""
    monkeypatch.setattr(passwords, "matches", lambda password, _: password == WORDS)
    new_user(client)
    confirmed(visitor, signed_in(visitor))
    at = itertools.count(1)
    monkeypatch.setattr(origin, "of", lambda _scope: f"2001:db8:{next(at):x}::1")
    for _ in range(panel_module.GUESSES):
        refused(visitor, code="000000")
    answer = visitor.post("/api/sign-in", json={"name": "anna", "password": WORDS, "code": "000000"})
    assert answer.status_code == 429


def test_people_behind_one_address_who_are_asked_for_a_code_do_not_lock_each_other_out(
    client: httpx.Client, visitor: httpx.Client
) -> None:
    new_user(client)
    app, _ = confirmed(visitor, signed_in(visitor))
    for _ in range(FAILURES + 1):
        assert refused(visitor)["errors"][0]["field"] == "code"
    signed_in(visitor, code=app.now())


def test_guesses_at_once_are_as_few_as_those_one_after_another() -> None:
    attempts = Attempts("refused sign-ins")
    with ExitStack() as under_way:
        for _ in range(FAILURES):
            under_way.enter_context(attempts.guess("anna"))
        with pytest.raises(TooMany), attempts.guess("anna"):
            pytest.fail("one more than there may be")
    for _ in range(FAILURES):
        with pytest.raises(Unauthorized), attempts.guess("anna"):
            raise Unauthorized("wrong")
    with pytest.raises(TooMany):
        attempts.check("anna")
