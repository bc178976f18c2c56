"""Names of files for users: every system can make them, and no two are one."""

import pytest

from wgfleet.panel.domain.file_names import MAX_BYTES, file_stem


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
