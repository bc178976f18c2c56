"""The initiator's half of WireGuard's handshake, against a responder of the test's own."""

import struct

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol import responder as peer
from tests.protocol.responder import Responder
from tests.protocol.strategies import clamp, text
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.handshake import (
    Answer,
    Ephemeral,
    EphemeralUsedError,
    Initiation,
    Pairing,
    initiate,
    pair,
    read_answer,
    receiver,
    tai64n,
)
from wgfleet.protocol.keys import PrivateKey, PublicKey

PRIVATE = clamp(bytes(range(32)))
OURS = X25519PrivateKey.from_private_bytes(PRIVATE)
SENDER = 0x8001_02FF
NOW_NS = 1_790_000_000_123_456_789


@pytest.fixture
def responder() -> Responder:
    return Responder()


@pytest.fixture
def pairing(responder: Responder) -> Pairing:
    return pair(PrivateKey(text(PRIVATE)), PublicKey(text(responder.public)))


@pytest.fixture
def initiation(pairing: Pairing) -> Initiation:
    return initiate(pairing, Ephemeral(), tai64n(NOW_NS), SENDER)


def test_the_responder_reads_who_calls_and_when(responder: Responder, initiation: Initiation) -> None:
    opened = responder.open(initiation.packet)
    assert opened.sender == SENDER
    assert opened.initiator == OURS.public_key().public_bytes_raw()
    assert opened.timestamp == tai64n(NOW_NS)


def test_another_responder_cannot_open_it(initiation: Initiation) -> None:
    other = Responder()
    body = initiation.packet[:116]
    with pytest.raises(InvalidTag):
        other.open(peer.seal(body, other.public))


def test_a_response_and_a_cookie_reply_are_answers(
    responder: Responder, pairing: Pairing, initiation: Initiation
) -> None:
    response, cookie = responder.respond(initiation.packet), responder.cookie(initiation.packet)
    assert (len(response), len(cookie)) == (92, 64)
    assert receiver(response) == receiver(cookie) == SENDER
    assert read_answer(pairing, initiation, response) is Answer.RESPONSE
    assert read_answer(pairing, initiation, cookie) is Answer.COOKIE


@given(place=st.integers(0, 59), bits=st.integers(1, 255), kind=st.sampled_from(Answer))
def test_no_changed_bit_of_an_answer_is_accepted(place: int, bits: int, kind: Answer) -> None:
    responder = Responder(X25519PrivateKey.from_private_bytes(bytes(32)))
    pairing = pair(PrivateKey(text(PRIVATE)), PublicKey(text(responder.public)))
    initiation = initiate(pairing, Ephemeral(), tai64n(NOW_NS), SENDER)
    make = responder.respond if kind is Answer.RESPONSE else responder.cookie
    packet = bytearray(make(initiation.packet))
    packet[place] ^= bits
    # The responder's own index (bytes 4 to 7 of a response) is for the session that we do not start: mac1 covers it.
    assert read_answer(pairing, initiation, bytes(packet)) is None
    if kind is Answer.RESPONSE:
        # Whoever knows our public key can make mac1 right again; the ciphertext tells the rest.
        resealed = peer.seal(bytes(packet[:60]), OURS.public_key().public_bytes_raw())
        of_the_index = 4 <= place < 8
        assert (read_answer(pairing, initiation, resealed) is None) is not of_the_index


def test_a_wrong_mac1_is_not_accepted(responder: Responder, pairing: Pairing, initiation: Initiation) -> None:
    packet = responder.respond(initiation.packet)
    assert read_answer(pairing, initiation, packet[:60] + bytes(16) + packet[76:]) is None


def test_an_answer_to_another_initiation_is_not_accepted(
    responder: Responder, pairing: Pairing, initiation: Initiation
) -> None:
    later = initiate(pairing, Ephemeral(), tai64n(NOW_NS + 1), SENDER)
    assert read_answer(pairing, later, responder.respond(initiation.packet)) is None
    assert read_answer(pairing, later, responder.cookie(initiation.packet)) is None
    assert read_answer(pairing, initiation, responder.respond(initiation.packet, receiver=SENDER + 1)) is None
    assert read_answer(pairing, initiation, responder.cookie(initiation.packet, mac1=bytes(16))) is None


def test_an_ephemeral_key_of_low_order_is_not_accepted(pairing: Pairing, initiation: Initiation) -> None:
    body = struct.pack("<III", 2, 77, SENDER) + bytes(32) + bytes(16)
    assert read_answer(pairing, initiation, peer.seal(body, pairing.public)) is None


def test_a_responder_key_of_low_order_is_refused() -> None:
    with pytest.raises(FieldError, match="public_key: is a point of low order"):
        pair(PrivateKey(text(PRIVATE)), PublicKey(text(bytes(32))))


def test_an_ephemeral_key_serves_many_responders_and_each_of_them_once() -> None:
    ephemeral, packets = Ephemeral(), []
    for _ in range(3):
        responder = Responder()
        pairing = pair(PrivateKey(text(PRIVATE)), PublicKey(text(responder.public)))
        initiation = initiate(pairing, ephemeral, tai64n(NOW_NS), SENDER)
        assert read_answer(pairing, initiation, responder.respond(initiation.packet)) is Answer.RESPONSE
        with pytest.raises(EphemeralUsedError):
            initiate(pairing, ephemeral, tai64n(NOW_NS + 1), SENDER)
        other_initiator = pair(PrivateKey(text(clamp(bytes(32)))), PublicKey(text(responder.public)))
        with pytest.raises(EphemeralUsedError):
            initiate(other_initiator, ephemeral, tai64n(NOW_NS + 1), SENDER)
        packets.append(initiation.packet)
    assert len({packet[8:40] for packet in packets}) == 1
    assert len({packet[40:88] for packet in packets}) == 3


def test_other_ways_to_write_a_responders_key_are_the_same_responder() -> None:
    responder, ephemeral = Responder(), Ephemeral()
    same = responder.public[:31] + bytes([responder.public[31] | 0x80])  # that bit is not looked at (RFC 7748, 5)
    initiate(pair(PrivateKey(text(PRIVATE)), PublicKey(text(responder.public))), ephemeral, tai64n(NOW_NS), SENDER)
    with pytest.raises(EphemeralUsedError):
        initiate(pair(PrivateKey(text(PRIVATE)), PublicKey(text(same))), ephemeral, tai64n(NOW_NS + 1), SENDER)


@given(st.binary(max_size=160))
def test_any_packet_can_be_looked_at(packet: bytes) -> None:
    assert receiver(packet) is None or packet[0] in {2, 3}


@given(st.integers(0, 2**63), st.integers(1, 2**40))
def test_a_later_label_compares_greater(first: int, more: int) -> None:
    assert tai64n(first) < tai64n(first + more)
    assert len(tai64n(first)) == 12


def test_a_label_is_as_wireguard_writes_it() -> None:
    assert tai64n(0).hex() == "400000000000000a00000000"
    assert tai64n(1_500_000_002).hex() == "400000000000000b1dcd6502"


def test_the_responder_of_the_tests_derives_subkeys_as_the_draft_does() -> None:
    """draft-irtf-cfrg-xchacha, section 2.2.1."""
    nonce = bytes.fromhex("000000090000004a0000000031415927")
    expected = "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    assert peer.hchacha20(bytes(range(32)), nonce).hex() == expected


def test_no_secret_is_printed(pairing: Pairing, initiation: Initiation) -> None:
    assert repr(pairing.shared) not in repr(pairing)
    assert repr(initiation.chaining_key) not in repr(initiation)
