"""What is sealed opens with the right key in the right place only."""

import base64
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.vault import Vault, VaultError, key_id, load_vault

OLD, NEW = bytes(range(32)), bytes(range(1, 33))


@given(st.text(), st.text())
def test_what_is_sealed_opens_in_its_own_place(plain: str, context: str) -> None:
    vault = Vault([OLD])
    sealed = vault.seal(plain, context)
    assert vault.open(sealed, context) == plain
    with pytest.raises(VaultError):
        vault.open(sealed, context + "x")


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_changed_byte_anywhere_is_noticed(position: int, flip: int) -> None:
    vault = Vault([OLD])
    sealed = bytearray(vault.seal("secret of a peer", "peers.private_key:1"))
    sealed[position % len(sealed)] ^= flip
    with pytest.raises(VaultError):
        vault.open(bytes(sealed), "peers.private_key:1")


def test_a_value_cut_short_anywhere_is_noticed() -> None:
    vault = Vault([OLD])
    sealed = vault.seal("x", "c")
    for length in range(len(sealed)):
        with pytest.raises(VaultError):
            vault.open(sealed[:length], "c")


def test_the_same_text_is_never_sealed_the_same_way_twice() -> None:
    vault = Vault([OLD])
    assert vault.seal("x", "c") != vault.seal("x", "c")


def test_a_rotated_vault_seals_with_the_new_key_and_opens_what_the_old_one_sealed() -> None:
    sealed = Vault([OLD]).seal("x", "c")
    rotated = Vault([NEW, OLD])
    assert rotated.open(sealed, "c") == "x"
    assert Vault([NEW]).open(rotated.seal("y", "c"), "c") == "y"


def test_a_wrong_key_is_named_with_the_way_out_and_no_secret_is_told() -> None:
    sealed = Vault([OLD]).seal("the secret", "authority.key")
    with pytest.raises(VaultError) as caught:
        Vault([NEW]).open(sealed, "authority.key")
    text = str(caught.value)
    assert key_id(OLD).hex() in text
    assert "WGFLEET_MASTER_KEY" in text
    assert "the secret" not in text
    assert base64.b64encode(OLD).decode() not in text


def test_opening_ten_thousand_keys_takes_little_of_a_processor() -> None:
    vault = Vault([OLD])
    sealed = [(vault.seal("k" * 44, f"peers.private_key:{i}"), f"peers.private_key:{i}") for i in range(10_000)]
    start = time.thread_time()  # what others take of the processor meanwhile does not count
    for value, context in sealed:
        vault.open(value, context)
    seconds = time.thread_time() - start
    assert seconds < 0.5, "it takes some 20 ms"


def test_the_first_start_makes_a_private_key_file_and_the_next_one_reads_it(tmp_path: Path) -> None:
    sealed = load_vault(tmp_path, {}).seal("x", "c")
    path = tmp_path / "master.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_vault(tmp_path, {}).open(sealed, "c") == "x"
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_file_that_others_may_read_is_refused_with_the_way_out(tmp_path: Path) -> None:
    load_vault(tmp_path, {})
    path = tmp_path / "master.key"
    path.chmod(0o640)
    with pytest.raises(VaultError, match=f"chmod 600 {path}"):
        load_vault(tmp_path, {})


@pytest.mark.parametrize("text", ["", "short", base64.b64encode(bytes(31)).decode(), "*" * 44])
def test_an_unusable_key_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(VaultError) as caught:
        load_vault(tmp_path, {"WGFLEET_MASTER_KEY": text})
    assert not text or text not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_environment_wins_over_the_file_and_may_hold_several_keys(tmp_path: Path) -> None:
    keys = ",".join(base64.b64encode(key).decode() for key in (NEW, OLD))
    vault = load_vault(tmp_path, {"WGFLEET_MASTER_KEY": keys})
    assert vault.open(Vault([OLD]).seal("x", "c"), "c") == "x"
    assert not list(tmp_path.iterdir())


@given(st.text(), st.text())
def test_an_alias_is_the_same_each_time_and_another_with_another_key_text_or_place(text: str, place: str) -> None:
    [alias] = Vault([OLD]).aliases(text, place)
    assert Vault([OLD]).aliases(text, place) == (alias,)
    assert alias.key_id == key_id(OLD).hex()
    others = [Vault([NEW]).aliases(text, place), Vault([OLD]).aliases(text + "x", place)]
    others.append(Vault([OLD]).aliases(text, place + "x"))
    assert alias.digest not in {other.digest for [other] in others}


def test_during_a_rotation_the_alias_of_the_new_key_comes_first() -> None:
    aliases = Vault([NEW, OLD]).aliases("text", "place")
    assert aliases == (*Vault([NEW]).aliases("text", "place"), *Vault([OLD]).aliases("text", "place"))
