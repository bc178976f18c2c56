"""Files of wg-quick: where names hide, what is disabled, what scripts put beside them."""

from pathlib import Path

import msgspec
import pytest

from tests.imports.samples import Keys
from wgfleet.imports import server_folders, sources, wg_quick
from wgfleet.imports.fleet import UnreadableError
from wgfleet.panel.api.imports import InterfaceToImport


@pytest.fixture
def keys() -> Keys:
    return Keys()


def head(keys: Keys, more: str = "") -> str:
    return f"[Interface]\nPrivateKey = {keys.private('server')}\nListenPort = 51820\nAddress = 10.8.0.1/24\n{more}\n"


@pytest.mark.parametrize(
    ("before", "inside", "name"),
    [
        ("", "# friendly_name = Anna, phone\n", "Anna, phone"),
        ("", '# friendly_json = {"n": "Anna"}\n', "Anna"),
        ("", "# Name = Anna\n", "Anna"),
        ("", "#Name# = Anna\n", "Anna"),
        ("# ID:           abc\n# Name:         Anna\n# Email:        a@example.org\n", "", "Anna"),
        ("", "# peer_anna\n", "peer_anna"),
        ("### Client anna\n", "", "anna"),
        ("# Client: anna (5b0e0d3c-1f5d-4c52-9ab8-7a1f9b8a2c11)\n", "", "anna"),
        ("# BEGIN_PEER anna\n", "", "anna"),
        ("### begin anna ###\n", "", "anna"),
        ("# of bert\n", "# of anna\n", "of anna"),
        ("# -WGP- Display name: Anna\n", "", "Anna"),
        ("", "", ""),
        ("# " + "x" * 70 + "\n", "", ""),
        ("# آنا موبایل\n", "", "آنا موبایل"),
    ],
)
def test_names_are_found_where_people_and_programs_write_them(keys: Keys, before: str, inside: str, name: str) -> None:
    text = (
        head(keys)
        + f"# first\n[Peer]\nPublicKey = {keys.public('first')}\nAllowedIPs = 10.8.0.2/32\n# END_PEER first\n\n"
        + f"{before}[Peer]\n{inside}PublicKey = {keys.public('anna')}\nAllowedIPs = 10.8.0.3/32\n### end anna ###\n"
    )
    first, found = wg_quick.server("wg0", text, []).peers
    assert (first.name, found.name) == ("first", name)
    assert found.addresses == ("10.8.0.3",)


def test_the_syntax_is_read_as_wg_quick_reads_it(keys: Keys) -> None:
    text = (
        f"\ufeff[interface] # wg0\r\nPRIVATEKEY={keys.private('server')}  # secret\r\nlistenport = 51820\r\n"
        "Address = 10.8.0.1/24\r\nAddress = fd00::1/64, 10.9.0.1/24\r\nPostUp = iptables -A FORWARD -i %i -j ACCEPT\r\n"
        f"[PEER] # anna\r\npublickey = {keys.public('anna')}\r\nPresharedKey = {keys.psk('anna')}\r\n"
        "allowedips = 10.8.0.2, 192.168.7.9/24\r\nAllowedIPs=fd00::2/128\r\n"
        f"#[disabled] [Peer]\r\n#[disabled] PublicKey = {keys.public('emil')}\r\n"
        "#[disabled] AllowedIPs = 10.8.0.4/32\r\n"
    )
    found = wg_quick.server("wg0", text, [])
    assert found.addresses == ("10.8.0.1/24", "fd00::1/64", "10.9.0.1/24")
    assert found.public_key == keys.public("server")
    assert found.hooks == ("postup: iptables -A FORWARD -i %i -j ACCEPT",)
    anna, emil = found.peers
    assert (anna.name, anna.addresses, anna.networks) == ("anna", ("10.8.0.2", "fd00::2"), ("192.168.7.0/24",))
    assert anna.preshared_key == keys.psk("anna")
    assert (emil.enabled, emil.public_key) == (False, keys.public("emil"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "in place of one"),
        ("[Interface]\nnonsense\n", "line 2"),
        ("[Interface]\nPrivateKey = short\n", "PrivateKey"),
        ("[Interface]\nPrivateKey = {key}\nAddress = 10.8.0.0.1/24\n", "10.8.0.0.1/24"),
    ],
)
def test_a_broken_file_is_refused_with_its_place_and_without_secrets(keys: Keys, text: str, word: str) -> None:
    with pytest.raises(UnreadableError, match=word) as refused:
        wg_quick.server("wg0", text.format(key=keys.private("server")), [])
    assert keys.private("server") not in str(refused.value)
    assert str(refused.value).startswith("wg0: ") or "line 2" in str(refused.value)


@pytest.mark.parametrize(
    ("peer", "said"),
    [
        ("PublicKey = xyz\nAllowedIPs = 10.8.0.2/32", "wg0: line 7, peer bert is left out: PublicKey: must be"),
        ("AllowedIPs = 10.8.0.2/32", "wg0: line 7, peer bert is left out: PublicKey: must be"),
        ("PublicKey = {key}\nAllowedIPs = foo", "wg0: line 7, peer bert is left out: AllowedIPs: 'foo'"),
        ("PublicKey = {key}\nPresharedKey = short", "wg0: line 7, peer bert is left out: PresharedKey: must be"),
    ],
)
def test_a_peer_that_cannot_be_read_is_left_out_and_named_and_the_others_are_not(
    keys: Keys, peer: str, said: str
) -> None:
    def good(name: str, number: int) -> str:
        return f"[Peer]\nPublicKey = {keys.public(name)}\nAllowedIPs = 10.8.0.{number}/32\n"

    bad = f"[Peer]\n# Name = bert\n{peer.format(key=keys.public('bert'))}\n"
    text = f"[Interface]\nPrivateKey = {keys.private('server')}\n\n{good('anna', 3)}{bad}{good('emil', 4)}"
    told = list[str]()
    found = wg_quick.server("wg0", text, told)
    assert [each.public_key for each in found.peers] == [keys.public("anna"), keys.public("emil")]
    (one,) = told
    assert one.startswith(said)


def test_users_files_are_matched_by_their_keys_and_say_the_endpoint(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "wg0.conf").write_text(
        head(keys)
        + f"[Peer]\nPublicKey = {keys.public('anna')}\nAllowedIPs = 10.8.0.2/32\n"
        + f"[Peer]\nPublicKey = {keys.public('bert')}\nAllowedIPs = 10.8.0.3/32\n"
    )
    (tmp_path / "wg0-client-anna_phone.conf").write_text(
        f"[Interface]\nPrivateKey = {keys.private('anna')}\nAddress = 10.8.0.2/24\n"
        "DNS = 1.1.1.1, corp.example\nMTU = 1400\n"
        f"[Peer]\nPublicKey = {keys.public('server')}\nAllowedIPs = 0.0.0.0/0\nEndpoint = vpn.example.org:443\n"
        "PersistentKeepalive = 25\n"
    )
    (tmp_path / "of-another-server.conf").write_text(
        f"[Interface]\nPrivateKey = {keys.private('bert')}\n[Peer]\nPublicKey = {keys.public('other')}\n"
        "AllowedIPs = 0.0.0.0/0\nEndpoint = other.example.org:1\n"
    )
    fleet = server_folders.read(tmp_path)
    (interface,) = fleet.interfaces
    assert interface.endpoint == "vpn.example.org:443"
    anna, bert = interface.peers
    assert (anna.name, anna.private_key, anna.dns) == ("anna_phone", keys.private("anna"), ("1.1.1.1", "corp.example"))
    assert (anna.mtu, anna.keepalive, anna.client_allowed_ips) == (1400, 25, ("0.0.0.0/0",))
    assert bert.private_key is None


def test_pivpn_keeps_names_times_and_who_is_disabled(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/clients.txt").write_text(
        f"dora {keys.public('dora')} 1717000000 177573122\nemil {keys.public('emil')}\n"
    )
    (tmp_path / "setupVars.conf").write_text("pivpnHOST=vpn.example.org\npivpnPORT=51899\npivpnDNS1='9.9.9.9'\n")
    (tmp_path / "wg0.conf").write_text(
        head(keys)
        + f"### begin dora ###\n[Peer]\nPublicKey = {keys.public('dora')}\nAllowedIPs = 10.149.141.2/32\n"
        + "### end dora ###\n"
        + "#[disabled] ### begin emil ###\n#[disabled] [Peer]\n"
        + f"#[disabled] PublicKey = {keys.public('emil')}\n#[disabled] AllowedIPs = 10.8.0.9/32\n"
        + "#[disabled] ### end emil ###\n"
    )
    (interface,) = server_folders.read(tmp_path / "wg0.conf").interfaces
    assert (interface.endpoint, interface.dns) == ("vpn.example.org:51899", ("9.9.9.9",))
    dora, emil = interface.peers
    assert (dora.name, dora.created_at, dora.enabled) == ("dora", 1717000000.0, True)
    assert "10.149.141.2" in dora.addresses
    assert (emil.name, emil.enabled) == ("emil", False)


def test_scripts_say_the_endpoint_beside_the_file(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "params").write_text("SERVER_PUB_IP=2001:db8::9\nSERVER_PORT=51820\nCLIENT_DNS_1=1.1.1.1 # $(reboot)\n")
    (tmp_path / "wg0.conf").write_text(head(keys))
    (interface,) = server_folders.read(tmp_path).interfaces
    assert (interface.endpoint, interface.dns) == ("[2001:db8::9]:51820", ("1.1.1.1",))
    (tmp_path / "params").unlink()
    (tmp_path / "wg0.conf").write_text("# ENDPOINT vpn.example.org\n\n" + head(keys, "SaveConfig = true"))
    fleet = server_folders.read(tmp_path)
    assert fleet.interfaces[0].endpoint == "vpn.example.org:51820"
    assert any("wg-quick writes it" in warning for warning in fleet.warnings)


def test_a_folder_without_a_server_is_refused_with_words(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="no file of a server"):
        server_folders.read(tmp_path)
    with pytest.raises(UnreadableError, match="No such file"):
        server_folders.read(tmp_path / "wg0.conf")


def test_numbers_that_are_none_are_said(keys: Keys) -> None:
    said: list[str] = []
    text = head(keys, "MTU = -5").replace("51820", "0xCA6C")
    assert wg_quick.server("wg0", text, said).listen_port is None
    assert [str(each) for each in said] == [
        "wg0: line 1: ListenPort '0xCA6C' is no number from 1 to 65535, so it is left out; check it",
        "wg0: line 1: MTU '-5' is no number from 576 to 65455, so it is left out; check it",
    ]
    said.clear()
    assert wg_quick.server("wg0", head(keys, "MTU = off").replace("51820", "0"), said).listen_port is None
    assert said == []


def test_a_name_in_json_that_nobody_can_read_is_none(keys: Keys) -> None:
    comment = "# friendly_json = " + '{"n": ' * 100_000
    text = head(keys) + f"[Peer]\n{comment}\nPublicKey = {keys.public('anna')}\nAllowedIPs = 10.8.0.3/32\n"
    [peer] = wg_quick.server("wg0", text, []).peers
    assert peer.name == ""


def test_texts_longer_than_the_panel_takes_are_cut_off(keys: Keys, tmp_path: Path) -> None:
    text = (
        head(keys, "PostUp = " + "x" * 5000 + "\n" + "PostUp = y\n" * 120)
        + f"[Peer]\n# Name = {'n' * 300}\nPublicKey = {keys.public('anna')}\nAllowedIPs = 10.8.0.3/32\n"
        + f"[Peer]\n# {'z' * 5000}\nPublicKey = {keys.public('bert')}\nAllowedIPs = 10.8.0.4/32\n"
    )
    (tmp_path / "wg0.conf").write_text(text)
    fleet = sources.read("wg-quick", tmp_path / "wg0.conf")
    [interface] = fleet.interfaces
    InterfaceToImport.model_validate(msgspec.to_builtins(interface), strict=False)
    assert len(interface.hooks) == 100
    assert [str(each) for each in fleet.warnings if "more hooks" in str(each) or "cut off" in str(each)] == [
        "wg0: 21 more hooks are not listed",
        "wg0: line 131: the notes are cut off after 4000 characters",
    ]
