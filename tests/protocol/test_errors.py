"""Words of errors: names in them are spelled as they are, whatever Python's repr makes of them."""

import pytest

from wgfleet.panel.errors import Conflict
from wgfleet.protocol.errors import FieldError, readable

ALI_REZA = "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627"
FAMILY = "\U0001f468\u200d\U0001f467"


@pytest.mark.parametrize("name", [ALI_REZA, FAMILY, "anna", "a\\b"])
def test_a_quoted_name_is_readable(name: str) -> None:
    words = name.replace("\\", "\\\\")
    assert readable(f"there is a peer {name!r}") == f"there is a peer '{words}'"
    assert FieldError("name", f"{name!r} is taken").detail == f"'{words}' is taken"
    assert str(Conflict(f"{name!r} is taken")) == f"'{words}' is taken"


@pytest.mark.parametrize("text", ["\\u200c", "\\\\u200d"])
def test_an_escape_that_somebody_typed_stays(text: str) -> None:
    assert readable(repr(text)) == repr(text)


def test_what_cannot_be_seen_and_spells_nothing_stays_an_escape() -> None:
    assert readable(repr("\u202eevil")) == repr("\u202eevil")
