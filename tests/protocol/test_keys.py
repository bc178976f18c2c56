import base64
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.protocol.strategies import clamp, raw_keys, text
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import parse_peer_key, parse_preshared_key, parse_private_key, parse_public_key, raw_to_text

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@given(raw_keys)
def test_a_canonical_key_is_kept_as_it_is(raw: bytes) -> None:
    assert parse_public_key(text(raw)) == text(raw) == raw_to_text(raw)


@given(st.binary(max_size=64))
def test_a_key_of_another_length_than_32_bytes_is_refused(raw: bytes) -> None:
    assume(len(raw) != 32)
    with pytest.raises(FieldError, match=r"^public_key: must be a key of 32 bytes"):
        parse_public_key(text(raw))


@given(raw_keys, st.integers(1, 3))
def test_stray_bits_in_the_last_character_are_refused(raw: bytes, bits: int) -> None:
    good = text(raw)
    bad = good[:42] + ALPHABET[ALPHABET.index(good[42]) | bits] + "="
    assume(bad != good)
    assert base64.b64decode(bad) == raw
    with pytest.raises(FieldError, match=r"^peers\[3\]: is not a canonical base64 key"):
        parse_public_key(bad, "peers[3]")


@given(st.text(max_size=60))
def test_any_other_text_is_refused_and_never_crashes(junk: str) -> None:
    with pytest.raises(FieldError):
        parse_public_key(junk)


@pytest.mark.parametrize("wrap", ["{} ", " {}", "{}\n", "{}=", "\0{}"])
def test_space_and_other_characters_around_a_key_are_refused(wrap: str) -> None:
    with pytest.raises(FieldError):
        parse_public_key(wrap.format(text(bytes(32))))


@given(raw_keys)
def test_a_private_key_must_be_clamped_since_wireguard_would_show_it_clamped(raw: bytes) -> None:
    assert parse_private_key(text(clamp(raw))) == text(clamp(raw))
    assume(clamp(raw) != raw)
    with pytest.raises(FieldError, match=r"^private_key: is not a clamped"):
        parse_private_key(text(raw))


def test_a_key_of_wg_genkey_is_a_private_key() -> None:
    key = subprocess.run(["wg", "genkey"], check=True, capture_output=True, text=True).stdout.strip()
    assert parse_private_key(key) == key


def test_a_preshared_key_of_zeros_is_refused_since_it_means_none() -> None:
    with pytest.raises(FieldError, match=r"^preshared_key: is all zeros"):
        parse_preshared_key(text(bytes(32)))


@given(raw_keys, st.sampled_from([parse_private_key, parse_preshared_key]))
def test_the_error_of_a_secret_key_does_not_carry_it(raw: bytes, parse: object) -> None:
    assert callable(parse)
    secret = text(raw)[:43]
    with pytest.raises(FieldError) as caught:
        parse(secret)
    assert secret not in str(caught.value)
    assert secret[:12] not in repr(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ec" + "ff" * 30 + "7f",
    ],
)
def test_a_key_with_which_no_handshake_succeeds_is_no_devices(raw: str) -> None:
    low = bytes.fromhex(raw)
    with pytest.raises(ValueError, match="shared key"):
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(low))
    for key in (low, low[:-1] + bytes([low[-1] | 0x80])):
        with pytest.raises(FieldError, match="no device can have"):
            parse_peer_key(raw_to_text(key), "f")


def test_a_devices_key_may_have_been_copied_with_what_stands_around_it() -> None:
    key = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
    assert parse_peer_key(f"\ufeff {key}\r\n", "f") == key
    with pytest.raises(FieldError, match="as `wg genkey` prints it"):
        parse_peer_key(f"PublicKey = {key}", "f")
