"""The wg-quick form: what is written is read again, and what is wrong is named."""

import msgspec
import pytest

from tests.agent.test_journal import KEYS, SETTINGS, state
from wgfleet.agent.server import wg_quick
from wgfleet.protocol.desired import DesiredPeer
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import PresharedKey

FULL = msgspec.structs.replace(
    state(3, {1}),
    settings=msgspec.structs.replace(
        SETTINGS, addresses=("10.8.0.1/24", "fd00::1/64"), mtu=1400, routes=("10.9.0.0/16",), masquerade=True
    ),
    peers={
        KEYS[1]: DesiredPeer(("10.8.0.2/32", "fd00::2/128"), PresharedKey(KEYS[5]), 25),
        KEYS[2]: DesiredPeer(()),
    },
)


def test_what_is_written_is_read_again() -> None:
    assert wg_quick.parse(wg_quick.render(FULL), FULL) == FULL


@pytest.mark.parametrize(
    ("line", "place", "says"),
    [
        ("AllowedIPs = 10.8.0.0/33", "AllowedIPs", "not a network"),
        ("PresharedKey = abc", "PresharedKey", "32 bytes"),
        ("PersistentKeepalive = often", "PersistentKeepalive", "must be a number"),
        ("PersistentKeepalive = 70000", "PersistentKeepalive", "at most"),
        ("Endpoint = 192.0.2.1:1", "Endpoint", "live session"),
        ("Color = red", "Color", "not a field"),
        (f"PublicKey = {KEYS[4]}", "PublicKey", "twice"),
        ("nonsense", "", "NAME = VALUE"),
        ("[Other]", "", "[Interface] or [Peer]"),
    ],
)
def test_a_wrong_line_is_named(line: str, place: str, says: str) -> None:
    text = wg_quick.render(state(1, set())) + f"[Peer]\nPublicKey = {KEYS[3]}\n{line}\n"
    with pytest.raises(FieldError) as caught:
        wg_quick.parse(text, FULL)
    number = len(text.splitlines())
    assert caught.value.field == (f"line {number}, {place}" if place else f"line {number}")
    assert says in caught.value.detail


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1"),
        ("[Interface]\nListenPort = 1\n", "line 1"),
        (wg_quick.render(FULL).replace("MTU = 1400", "MTU = 14"), "line 6, MTU"),
        (wg_quick.render(FULL).replace("MTU = 1400", "PostUp = reboot"), "line 6, PostUp"),
        (wg_quick.render(FULL) + f"[Peer]\nPublicKey = {KEYS[1]}\n", "line 17, PublicKey"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(FieldError) as caught:
        wg_quick.parse(text, FULL)
    assert caught.value.field == place
