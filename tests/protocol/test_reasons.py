"""Reasons that were kept: they come back as they were, and a text that somebody else has written does no more."""

import json

import pytest

from wgfleet.protocol.reasons import Reason, restored

STOLEN = "{a.__reduce__.__globals__[json].codecs.sys.modules[os].environ}"


def _kept(template: object, **values: object) -> str:
    return f"in English\x1f{json.dumps([template, values])}"


def _nested(depth: int, template: str = "{a}") -> str:
    made: object = "x"
    for _ in range(depth):
        made = [template, {"a": made}]
    return f"in English\x1f{json.dumps(made)}"


@pytest.mark.parametrize(
    "text",
    [
        _kept(STOLEN, a=["x", {}]),
        _kept("{a.template}", a=["x", {}]),
        _kept("{a[0]}", a="x"),
        _kept("{a!r}", a="x"),
        _kept("{a:>999999999}", a="x"),
        _kept("{a:{b}}", a="x", b=">999999999"),
        _kept("{b}", b=[STOLEN, {"a": ["x", {}]}]),
        _kept("{}", a="x"),
        _kept("{0}", a="x"),
        _kept("{", a="x"),
        _kept("{missing}", a="x"),
        _kept(5, a="x"),
        _kept(None),
        _kept("{a}", a={"b": "x"}),
        _kept("{a}", a=["x"]),
        _kept("{a}", a=["x", ["y"]]),
        _kept("{a}", a="\ud800"),
        _kept("something else"),
        'in English\x1f["{template}",{"template":"x"}]',
        _nested(9),
        _nested(8, "{a}" * 30),
        f"in English\x1f{'[' * 100_000}",
        f"in English\x1f{'[' * 19_000}",
        f'in English\x1f["in English",{"{"}"a":{"[" * 5000}',
        f"in English\x1f{'9' * 5000}",
        "in English\x1f",
        "in English\x1f{}",
        "in English\x1f[]\x1f[]",
    ],
    ids=lambda text: text[:40].encode("unicode_escape").decode(),
)
def test_what_cannot_be_restored_is_its_english_text(text: str) -> None:
    found = Reason.restored(text)
    assert type(found) is str
    assert found == text.partition("\x1f")[0]


def test_reasons_in_lists_and_in_tuples_are_restored() -> None:
    reason = Reason("no answer to {what}", what=1)
    for found in (restored({"all": [reason.kept()]}), restored({"all": (reason.kept(),)})):
        (text,) = found["all"]
        assert isinstance(text, Reason)
        assert text == "no answer to 1"


def test_a_value_is_no_template() -> None:
    reason = Reason("{what}; {why}", what=Reason("no answer to {x}", x=STOLEN), why="{{0}} {a!r} \x1f[]")
    found = Reason.restored(reason.kept())
    assert isinstance(found, Reason)
    assert found == reason == f"no answer to {STOLEN}; {{{{0}}}} {{a!r}} \x1f[]"
    assert found.values["what"].values == {"x": STOLEN}


def test_a_long_value_is_cut_where_it_is_quoted_and_nowhere_else() -> None:
    long, names = "x" * 10_000, "anna, " * 100
    made = Reason("there is no peer {peer!r}; cut off: {names}", peer=long, names=names)
    assert made == f"there is no peer '{'x' * 60}'... (10,000 characters); cut off: {names}"
    assert Reason.restored(made.kept()) == made
