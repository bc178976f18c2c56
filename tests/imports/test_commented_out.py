"""Peers that somebody commented out in a file of wg-quick: each is named, and comes in as a disabled one on demand."""

from pathlib import Path

import pytest

from tests.imports.samples import Keys
from wgfleet.imports import sources, wg_quick
from wgfleet.imports.sent_files import SentFile
from wgfleet.imports.sent_files import read as read_sent


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def text(keys: Keys) -> str:
    return "\r\n".join(
        [
            "\ufeff[Interface]",
            f"PrivateKey = {keys.private('server')}",
            "Address = 10.8.0.1/24",
            "ListenPort = 51820",
            "#[Peer] # old phone of anna",
            f"#PublicKey = {keys.public('anna')}",
            "#AllowedIPs = 10.8.0.9/32",
            "",
            "### Client anna",
            "[Peer]",
            f"PublicKey = {keys.public('anna')}",
            "AllowedIPs = 10.8.0.2/32",
            "",
            "# BEGIN_PEER برنا",
            "# [Peer]",
            f"# PublicKey = {keys.public('bert')}",
            f"# PresharedKey = {keys.psk('bert')}",
            "# AllowedIPs = 10.8.0.2/32, 192.168.4.0/24",
            "# END_PEER برنا",
            "",
            "# # carl",
            "#   [peer]",
            f"#   publickey={keys.public('carl')}",
            "# AllowedIPs = 10.8.0.4",
            "[Peer]",
            "# dora",
            f"PublicKey = {keys.public('dora')}",
            "AllowedIPs = 10.8.0.5/32",
            "# how to add one: # [Peer] and so on",
            "# [Peer]",
            "# ask the admin",
        ]
    )


def test_they_are_named_and_nobody_else_gets_their_lines(keys: Keys, text: str) -> None:
    said: list[str] = []
    found = wg_quick.server("wg0", text, said, commented_out=False)
    assert [(peer.name, peer.addresses, peer.enabled) for peer in found.peers] == [
        ("anna", ("10.8.0.2",), True),
        ("dora", ("10.8.0.5",), True),
    ]
    ending = "is commented out, and is not imported; it can come in as a disabled one"
    assert said == [
        f"wg0: line 5, peer old phone of anna {ending}",
        f"wg0: line 15, peer برنا {ending}",
        f"wg0: line 22, peer carl {ending}",
    ]
    assert not any(keys.psk("bert") in peer.notes for peer in found.peers)


def test_those_who_ask_get_them_as_disabled_ones_behind_all_others(keys: Keys, text: str) -> None:
    said: list[str] = []
    found = wg_quick.server("wg0", text, said, commented_out=True)
    assert [(peer.name, peer.public_key, peer.addresses, peer.networks, peer.enabled) for peer in found.peers] == [
        ("anna", keys.public("anna"), ("10.8.0.2",), (), True),
        ("dora", keys.public("dora"), ("10.8.0.5",), (), True),
        ("old phone of anna", keys.public("anna"), ("10.8.0.9",), (), False),
        ("برنا", keys.public("bert"), ("10.8.0.2",), ("192.168.4.0/24",), False),
        ("carl", keys.public("carl"), ("10.8.0.4",), (), False),
    ]
    assert found.peers[3].preshared_key == keys.psk("bert")
    assert said == []


def test_a_file_that_is_read_or_sent_is_asked_for_them_alike(tmp_path: Path, text: str) -> None:
    (tmp_path / "wg0.conf").write_text(text, encoding="utf-8")
    sent = [SentFile("wg0.conf", text.encode())]
    for wanted, count in ((False, 2), (True, 5)):
        of_file = sources.read("wg-quick", tmp_path, commented_out=wanted)
        assert len(of_file.interfaces[0].peers) == count
        assert of_file == read_sent("wg-quick", sent, commented_out=wanted)


def test_of_very_many_the_first_are_named(keys: Keys) -> None:
    peers = "".join(f"# [Peer]\n# PublicKey = x{n}\n" for n in range(100))
    said: list[str] = []
    wg_quick.server("wg0", f"[Interface]\nPrivateKey = {keys.private('server')}\n{peers}", said, commented_out=False)
    assert (len(said), said[-1]) == (21, "wg0: 80 more peers are commented out, and are not imported")
