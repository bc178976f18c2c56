"""Chunks of a body: whole however they are cut, and refused where they are odd."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgfleet.panel.agents.chunks import LONGEST_LINE, ChunkError, Chunks


def chunked(pieces: list[bytes], size: str = "%x") -> bytes:
    return b"".join(size.encode() % len(piece) + b"\r\n" + piece + b"\r\n" for piece in pieces)


def fed(*parts: bytes) -> tuple[bytes, bool]:
    chunks = Chunks()
    return b"".join(b"".join(chunks.feed(part)) for part in parts), chunks.ended


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    st.lists(st.integers(1, 30), min_size=1, max_size=20),
    st.sampled_from(["%x", "%X", "%04x", "%x ;a=b", "%x;a", "%x\t"]),
    st.booleans(),
)
def test_a_body_is_the_same_however_it_arrives(pieces: list[bytes], cuts: list[int], size: str, ends: bool) -> None:
    said = chunked(pieces, size) + (b"0\r\n\r\nwhat follows" if ends else b"")
    parts: list[bytes] = []
    at = 0
    while at < len(said):
        parts.append(said[at : at + cuts[len(parts) % len(cuts)]])
        at += len(parts[-1])
    assert fed(*parts) == (b"".join(pieces), ends)


def test_what_is_there_is_given_before_its_chunk_is_whole() -> None:
    assert Chunks().feed(b"ffffffff\r\nabc") == [b"abc"]


@pytest.mark.parametrize(
    "odd",
    [
        b"\r\n",
        b"+3\r\nabc",
        b"0x3\r\nabc",
        b"1_0\r\n",
        b" 3\r\nabc",
        b"3\nabc",
        b"g\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n",
        b"3\r\nabc\rX",
        b"3 x\r\nabc",
        b"123456789\r\n",
        b"3;" + b"x" * LONGEST_LINE + b"\r\n",
        b"3" * LONGEST_LINE,
        b"3" + b" " * 9 + b"\r\n",
        b"3;a\rb\r\n",
    ],
    ids=repr,
)
@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_no_chunk_is_refused(odd: bytes, at_once: bool) -> None:
    with pytest.raises(ChunkError):
        fed(*([odd] if at_once else (odd[at : at + 1] for at in range(len(odd)))))
