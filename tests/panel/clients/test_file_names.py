"""Names of files for users: every system can make them, and no two are one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.domain.file_names import MAX_BYTES, check_template, file_stem, filled_in, interface_stem, unused
from wgfleet.panel.errors import Invalid

INTERFACE = re.compile(r"[a-zA-Z0-9_=+.-]{1,15}")  # wg-quick(8)


@pytest.mark.parametrize(
    "title",
    ["CON", "con.txt", "nul", "COM1", "Lpt9.old", "COM\u00b9", "CONIN$", "CON ", "aux.tar.gz"],
)
def test_devices_of_windows_get_another_name(title: str) -> None:
    assert file_stem(title, "id", set()).startswith(("wg-", "CON_", "CONIN_"))


@pytest.mark.parametrize(
    "title", ["../etc", "..", ".", ".hidden", "a/b\\c:d", 'a"b|c?d*<e>', "name.", "x\ny", "\U0001f98a" * 9]
)
def test_a_name_leads_nowhere_else_and_has_no_character_that_a_system_refuses(title: str) -> None:
    stem = file_stem(title, "0" * 32, set())
    assert stem
    assert not set(stem) & set('/\\:*?"<>|\n\0')
    assert not stem.startswith(".")
    assert not stem.endswith((".", " "))


def test_a_long_name_is_cut_between_letters_and_one_that_is_taken_gets_the_id() -> None:
    assert len(file_stem("\U00020000" * 64, "id", set()).encode()) <= MAX_BYTES
    assert file_stem("A_b", "id", {"a_b"}) == "A_b-id"


@pytest.mark.parametrize(
    ("title", "stem"),
    [
        ("wg0", "wg0"),
        ("wg0-anna", "wg0-anna"),
        ("Anna phone", "Anna-phone"),
        ("Zo\u00eb", "Zoe"),
        ("wg0-\u0639\u0644\u06cc", "wg0-[0-9a-f]{4}"),
        ("\u0639\u0644\u06cc", "wg-[0-9a-f]{4}"),
        ("con", "wg-con"),
        ("../../x", "x"),
    ],
)
def test_a_name_by_a_template_is_one_of_an_interface(title: str, stem: str) -> None:
    assert re.fullmatch(stem, interface_stem(title))
    assert INTERFACE.fullmatch(interface_stem(title))


@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=40, unique=True))
def test_every_name_by_a_template_is_one_of_an_interface_and_no_two_are_one(titles: list[str]) -> None:
    taken = set[str]()
    for number, title in enumerate(titles):
        stem = unused(filled_in("{peer}", config="wg0", peer=title, node="ams1"), f"{number:032x}", taken)
        assert INTERFACE.fullmatch(stem), title
        assert stem.casefold() not in taken, title
        taken.add(stem.casefold())


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{owner}", "{owner} is none of {config}, {peer}, {node}"),
        ("{}", "{} is none of"),
        ("{peer", "ASCII letters"),
        ("a b", "ASCII letters"),
        ("\u0639{peer}", "ASCII letters"),
        ("../{peer}", "ASCII letters"),
        ("{peer}" * 11, "1 to 60"),
        ("", "1 to 60"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused_and_the_way_out_said(template: str, said: str) -> None:
    with pytest.raises(Invalid, match=re.escape(said)) as refused:
        check_template(template, "file_names")
    assert refused.value.field == "file_names"


def test_templates_of_two_names_that_begin_alike_give_two_files() -> None:
    stems = {
        filled_in("{config}-{peer}", config="wg0", peer=f"the-marketing-team-{number}", node="") for number in range(20)
    }
    assert len(stems) == 20
    assert filled_in("{node}.{peer}", config="wg0", peer="anna", node="ams1") == "ams1.anna"
