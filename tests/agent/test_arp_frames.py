"""Frames as the standards lay them out, byte by byte."""

import asyncio
import socket
import struct
import time

from hypothesis import given
from hypothesis import strategies as st

from wgfleet.agent.kernel import announce, arp_frames

MAC, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
FOUR, SIX = "192.0.2.7", "2001:db8::12:3456"


def test_an_arp_announcement_says_the_address_twice_to_everybody() -> None:
    assert arp_frames.announcement(FOUR, MAC) == bytes.fromhex(
        "ffffffffffff 020000000001 0806 0001080006040001 020000000001 c0000207 000000000000 c0000207"
    )


def test_an_arp_probe_says_nothing_of_who_asks() -> None:
    assert arp_frames.question(FOUR, MAC) == bytes.fromhex(
        "ffffffffffff 020000000001 0806 0001080006040001 020000000001 00000000 000000000000 c0000207"
    )


def test_a_neighbour_advertisement_overrides_and_goes_to_all_nodes() -> None:
    frame = arp_frames.announcement(SIX, MAC)
    assert frame[:14] == bytes.fromhex("33330000000102000000000186dd")
    assert frame[14:22] == bytes.fromhex("6000000000203aff")
    assert frame[22:38] == socket.inet_pton(socket.AF_INET6, SIX)
    assert frame[38:54] == socket.inet_pton(socket.AF_INET6, "ff02::1")
    message = frame[54:]
    assert message[:2] + message[4:8] == bytes.fromhex("880020000000")
    assert message[8:] == socket.inet_pton(socket.AF_INET6, SIX) + b"\x02\x01" + MAC
    assert checksum_is_right(frame)
    assert arp_frames.advertised(message) == SIX


def test_a_solicitation_for_detection_comes_from_nobody_and_goes_to_the_addresss_own_group() -> None:
    frame = arp_frames.question(SIX, MAC)
    assert frame[:6] == bytes.fromhex("3333ff123456")
    assert frame[22:38] == bytes(16)
    assert frame[38:54] == socket.inet_pton(socket.AF_INET6, "ff02::1:ff12:3456")
    assert frame[54] == arp_frames.NEIGHBOR_SOLICITATION
    assert len(frame) == 54 + 24  # without an option, as RFC 4861, section 4.3, wants it from nobody
    assert checksum_is_right(frame)


def checksum_is_right(frame: bytes) -> bool:
    message = frame[54:]
    data = frame[22:54] + struct.pack("!II", len(message), 58) + message
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


def test_who_has_an_address_or_is_about_to_take_it_claims_it() -> None:
    assert arp_frames.claimant(arp_frames.announcement(FOUR, OTHER), FOUR, MAC) == "02:00:00:00:00:02"
    assert arp_frames.claimant(arp_frames.question(FOUR, OTHER), FOUR, MAC) == "02:00:00:00:00:02"
    assert arp_frames.claimant(arp_frames.announcement(FOUR, MAC), FOUR, MAC) is None
    assert arp_frames.claimant(arp_frames.announcement("192.0.2.8", OTHER), FOUR, MAC) is None


@given(st.binary(max_size=200))
def test_no_frame_of_others_breaks_anything(frame: bytes) -> None:
    arp_frames.claimant(frame, FOUR, MAC)
    arp_frames.advertised(frame)


def test_who_says_to_have_an_address_of_ours_is_a_rival_and_who_asks_for_it_is_not() -> None:
    ours, theirs = bytes(6), bytes.fromhex("020000000001")
    assert arp_frames.rival(arp_frames.announcement("203.0.113.1", theirs), "203.0.113.1", ours) == "02:00:00:00:00:01"
    assert arp_frames.rival(arp_frames.announcement("203.0.113.1", ours), "203.0.113.1", ours) is None
    assert arp_frames.rival(arp_frames.announcement("203.0.113.2", theirs), "203.0.113.1", ours) is None
    assert arp_frames.rival(arp_frames.question("203.0.113.1", theirs), "203.0.113.1", ours) is None
    assert arp_frames.rival(b"short", "203.0.113.1", ours) is None
    advertisement = arp_frames.announcement("2001:db8::1", theirs)[54:]
    assert arp_frames.advertiser(advertisement, ours) == "02:00:00:00:00:01"
    assert arp_frames.advertiser(advertisement, theirs) is None
    assert arp_frames.advertiser(advertisement[:24], ours) is None


def test_an_answer_that_came_in_time_counts_however_late_it_is_read() -> None:
    """On a busy machine the end of the wait and the answer may be seen in the same moment."""

    async def asked() -> str | None:
        ours, line = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        answers, neighbor = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

        def busy() -> None:
            neighbor.send(arp_frames.announcement(FOUR, OTHER))
            time.sleep(0.1)

        with ours, line, answers, neighbor:
            for each in (ours, answers):
                each.setblocking(False)
            asyncio.get_running_loop().call_soon(busy)
            return await announce._ask(ours, answers, FOUR, MAC, (0.0, 0.05))  # noqa: SLF001 - the wait itself

    assert asyncio.run(asked()) == OTHER.hex(":")
