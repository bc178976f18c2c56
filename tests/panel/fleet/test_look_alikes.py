"""Names that differ in nothing that can be seen are one name; those that look different stay two."""

import unicodedata
from typing import Any, Literal

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.panel.conftest import made, one_database
from wgfleet.imports.fleet import ImportedInterface, ImportedPeer
from wgfleet.panel.domain.fields import one_spelling
from wgfleet.panel.domain.imports import planned
from wgfleet.panel.domain.look_alikes import folded, seen
from wgfleet.panel.keypairs import new_key_pair

MARKS = (
    "\u200e", "\u200f", "\u061c", "\u00ad", "\u200b", "\u2060", "\ufeff", "\u034f", "\u180e", "\u3164", "\ufe0f",
    "\U000e0101", "\U000e0041", "\u200c", "\u200d", "\u2063",
)  # fmt: skip
FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
ALIKE = [(f"an{mark}na", "anna") for mark in MARKS] + [
    ("anna\u200e", "anna"),
    ("\u200f\u05d3\u05e0\u05d4", "\u05d3\u05e0\u05d4"),
    ("\u0639\u0644\u06cc\u200e", "\u0639\u0644\u06cc"),
    ("\u06a9\u0627\u0631\u200c\u0647\u0627", "\u06a9\u0627\u0631\u0647\u0627"),  # after a letter that joins nothing
    ("a\u00a0b", "a b"),
]
DIFFERENT = [
    ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u062e\u0648\u0627\u0647\u0645"),  # می‌خواهم
    ("\U0001f468\u200d\U0001f467", "\U0001f468\U0001f467"),
    ("\u260e\ufe0f", "\u260e"),
    ("\u0915\u094d\u200d\u0937", "\u0915\u094d\u0937"),
    ("\U0001f3f4\U000e0067\U000e0062\U000e007f", "\U0001f3f4\U000e0067\U000e0064\U000e007f"),
    ("Anna", "anna"),
    ("a b", "ab"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_what_shows_nothing_tells_no_names_apart(one: str, other: str) -> None:
    assert seen(one_spelling(one)) == seen(one_spelling(other))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_is_seen_does(one: str, other: str) -> None:
    assert seen(one) != seen(other)


@given(st.text(max_size=20))
def test_what_is_seen_is_seen_the_same_once_more(text: str) -> None:
    assert seen(seen(text)) == seen(text)
    assert folded(text) or not text


def is_capitalized_alone(name: str) -> bool:
    """Say whether capital letters leave the order of what stands above and below: a mark below becomes a letter."""
    return "\u0345" not in unicodedata.normalize("NFD", name)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(is_capitalized_alone))
@example("\u0390")
@example("\u03b0\u1fb7\u1fc7")
@example("\u017f\u0323\u0307")
@example("\u1e9bx")
@example("\u0131s\u0131\u0130")
@example("stra\xdfe \ufb03 \u01f0")
def test_a_name_is_compared_the_same_however_it_is_typed(name: str) -> None:
    wanted = folded(one_spelling(name))
    for typed in (name, name.upper(), name.lower(), name.casefold()):
        for form in FORMS:
            assert folded(unicodedata.normalize(form, typed)) == wanted, ascii(typed)
    assert folded(wanted) == wanted


@pytest.mark.parametrize("name", ["\u1f82", "\u1fb3\u03c9", "\u1fbc"])
def test_a_letter_with_a_mark_below_is_that_of_capital_letters(name: str) -> None:
    assert folded(name) == folded(name.upper()) == folded(name.lower())


@one_database
@pytest.mark.usefixtures("wg0")
@pytest.mark.parametrize("name", ["\u0390\u03c9", "x\u017f\u0323\u0307", "\u0131s\u0131", "Stra\xdfe"])
def test_a_peer_is_found_however_its_name_is_typed(client: httpx.Client, name: str) -> None:
    made(client, "/api/configs/wg0/peers", name=name)
    for typed in (name, name.upper(), name.lower()):
        for form in FORMS:
            params = {"search": unicodedata.normalize(form, typed)}
            assert len(client.get("/api/configs/wg0/peers", params=params).json()["items"]) == 1
            assert client.get("/api/configs/wg0/peers/csv", params=params).text.count("\n") == 2


@pytest.mark.parametrize("mark", ["\u200e", "\u200f", "\u00ad"])
def test_a_second_peer_that_looks_the_same_is_refused_however_it_comes(client: httpx.Client, mark: str) -> None:
    made(client, "/api/configs", name="wg0", pools=["10.8.0.0/24"])
    peers = "/api/configs/wg0/peers"
    first = made(client, peers, name=f"an{mark}na")
    assert first["name"] == f"an{mark}na", "it is kept as it was given"

    def refused(answer: httpx.Response) -> None:
        assert answer.status_code == 409, answer.text
        assert "looks the same" in answer.json()["detail"]
        assert answer.json()["errors"][0]["field"].endswith("name")

    refused(client.post(peers, json={"name": "anna"}))
    refused(client.post(peers, json={"name": f"anna{mark}"}))
    refused(client.post(f"{peers}/batch", json={"peers": [{"name": "bert"}, {"name": f"bert{mark}"}]}))
    refused(client.post(f"{peers}/batch", json={"peers": [{"name": "cleo"}, {"name": "anna"}]}))
    other = made(client, peers, name="other")
    refused(client.patch(f"/api/peers/{other['id']}", json={"name": "anna"}))
    assert client.patch(f"/api/peers/{first['id']}", json={"name": "anna"}).json()["name"] == "anna"
    assert [each["name"] for each in client.get(f"{peers}?search=an{mark}n").json()["items"]] == ["anna"]
    made(client, "/api/configs", name="wg1", pools=["10.9.0.0/24"])
    made(client, "/api/configs/wg1/peers", name=f"anna{mark}")


@one_database
@pytest.mark.parametrize(("path", "rest"), [("/api/tags", {}), ("/api/rule-sets", {})])
def test_a_second_word_that_looks_the_same_is_refused(client: httpx.Client, path: str, rest: dict[str, Any]) -> None:
    first = made(client, path, name="office\u200e", **rest)
    answer = client.post(path, json={"name": "office", **rest})
    assert (answer.status_code, "looks the same" in answer.json()["detail"]) == (409, True)
    other = made(client, path, name="other", **rest)
    assert client.patch(f"{path}/{other['id']}", json={"name": "office"}).status_code == 409
    assert client.patch(f"{path}/{first['id']}", json={"name": "office"}).status_code == 200


def test_an_import_gives_another_name_to_who_would_look_the_same() -> None:
    peers = tuple(
        ImportedPeer(public_key=new_key_pair()[1], name=name) for name in ("an\u200ena", "anna", "bert\u200e")
    )
    found = planned(ImportedInterface(name="wg0", peers=peers), {"10.8.0.0/24": "10.8.0.1"}, {"a key": "bert"}, {})
    assert found[0].name == "an\u200ena"
    assert [each.name.startswith(("anna-", "bert\u200e-")) for each in found] == [False, True, True]
    assert all("is taken" in str(each.remarks) for each in found[1:])
