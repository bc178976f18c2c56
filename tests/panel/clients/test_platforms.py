"""Files for platforms: each as the platform's own parser reads it, whatever is in a name."""

import configparser
import io
import plistlib
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.panel.conftest import made, one_database
from wgfleet.panel.domain import platform_files
from wgfleet.panel.domain.rendering import ClientValues, client_file
from wgfleet.panel.errors import Conflict
from wgfleet.panel.services.clients import platforms
from wgfleet.panel.services.clients.files import ClientFile
from wgfleet.panel.services.clients.platforms import Platform
from wgfleet.protocol.addresses import host_network

TEXTS = {Platform.CONF, Platform.NETWORK_MANAGER, Platform.MIKROTIK, Platform.OPENWRT}
PERSIAN = "\u0633\u0627\u0631\u0627"
NAMES = ["anna", f'{PERSIAN}\'s "phone"', "$(reboot) `id` \\n %s ;#", "a]]><b>&amp;\ufffe", " = [x] ", "{interface}"]


def values(title: str = "anna", **changes: Any) -> ClientValues:
    given: dict[str, Any] = {
        "title": title,
        "private_key": "qEU0pdIdiGiSm1rlCVTr2MwqF8yRvyaKWLDpBXcmsk8=",
        "addresses": ("10.8.0.2", "fd00::2"),
        "dns": ("10.8.0.1", "fd00::1", "lan.example"),
        "mtu": 1380,
        "server_public_key": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
        "preshared_key": "FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE=",
        "allowed_ips": ("0.0.0.0/0", "::/0"),
        "endpoint": "vpn.example.com:51820",
        "keepalive": 25,
    }
    return ClientValues(**(given | changes))


SPLIT = {
    "allowed_ips": ("10.0.0.0/9", "fd00::/8"), "endpoint": "[2001:db8::1]:443",
    "dns": (), "mtu": None, "keepalive": 0, "preshared_key": None,
}  # fmt: skip
V4 = {"addresses": ("10.8.0.2",), "allowed_ips": ("10.8.0.0/24",), "dns": ("lan",)}
KINDS = pytest.mark.parametrize("changes", [{}, SPLIT, V4], ids=["full", "split", "v4"])
TITLES = pytest.mark.parametrize("title", NAMES)


@KINDS
@TITLES
def test_a_keyfile_is_read_back(title: str, changes: dict[str, Any]) -> None:
    wanted = values(title, **changes)
    parser = configparser.RawConfigParser(delimiters="=", comment_prefixes="#", strict=True)
    parser.read_string(platform_files.network_manager(wanted, "wg0"))
    peer = parser[f"wireguard-peer.{wanted.server_public_key}"]
    read = parser["connection"]["id"].replace("\\s", " ").replace("\\\\", "\\")
    assert read.strip() == title.strip()
    assert parser["wireguard"]["private-key"] == wanted.private_key
    assert peer["allowed-ips"].rstrip(";").split(";") == list(wanted.allowed_ips)
    assert peer["endpoint"] == wanted.endpoint
    found = [value for of in ("ipv4", "ipv6") for name, value in parser[of].items() if name.startswith("address")]
    assert found == [host_network(each) for each in wanted.addresses]
    assert parser["ipv6"]["method"] == ("manual" if len(wanted.addresses) > 1 else "disabled")


@KINDS
@TITLES
def test_a_shell_gives_uci_each_value_whole(title: str, changes: dict[str, Any], tmp_path: Path) -> None:
    wanted = values(title, **changes)
    # What stands for uci and service writes its arguments down, each with a NUL after it.
    stub = (
        f'uci() {{ printf "%s\\0" "$@" >>"{tmp_path}/said"; printf "\\n" >>"{tmp_path}/said"; }}\nservice() {{ :; }}\n'
    )
    script = stub + platform_files.openwrt(wanted, "wg-home.1")
    done = subprocess.run(["sh", "-eu"], input=script, text=True, capture_output=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    calls = [line.split("\0")[:-1] for line in (tmp_path / "said").read_text().split("\n") if line]
    said: dict[str, list[str]] = {}
    for verb, pair in (call for call in calls if call[0] in {"set", "add_list"}):
        name, _, value = pair.partition("=")
        assert re.fullmatch(r"network\.[A-Za-z0-9_]+(\.[a-z_]+)?", name)
        assert verb == "add_list" or name not in said
        said.setdefault(name, []).append(value)
    own, peer = "network.wg_home_1", "network.wg_home_1_server"
    assert (said[own], said[peer], said[f"{peer}.description"]) == (["interface"], ["wireguard_wg_home_1"], [title])
    assert said[f"{peer}.allowed_ips"] == list(wanted.allowed_ips)
    assert said[f"{peer}.endpoint_host"] == [wanted.endpoint.rpartition(":")[0].strip("[]")]
    assert (f"{peer}.preshared_key" in said) == (wanted.preshared_key is not None)


WIREGUARD_LAN = {"network.lan": "interface", "network.lan.proto": "wireguard"}


@pytest.mark.parametrize(
    ("has", "changes"),
    [
        ({"network.lan": "interface", "network.lan.proto": "static"}, False),
        ({"network.lan": "globals"}, False),
        ({"network.lan_server": "interface", "network.lan_server.proto": "wireguard"}, False),
        (
            {
                "network.lan": "interface",
                "network.lan.proto": "wireguard",
                "network.lan_server": "wireguard_lan",
            },
            True,
        ),
        ({}, True),
        # Peers that were made in LuCI have no names: of another VPN, or beside our own.
        ({**WIREGUARD_LAN, "network.@wireguard_lan[0]": "wireguard_lan"}, False),
        (
            {
                **WIREGUARD_LAN,
                "network.lan_server": "wireguard_lan",
                "network.@wireguard_lan[0]": "wireguard_lan",
                "network.@wireguard_lan[1]": "wireguard_lan",
            },
            False,
        ),
        (
            {
                **WIREGUARD_LAN,
                "network.lan_server": "wireguard_lan",
                "network.@wireguard_lan[0]": "wireguard_lan",
            },
            True,
        ),
    ],
)
def test_a_script_for_openwrt_takes_nothing_of_the_router_away(has: dict[str, str], *, changes: bool) -> None:
    found = "".join(f'"-q get {name}") echo {value};;' for name, value in has.items())
    stub = f'uci() {{ case "$*" in {found} "-q get "*) return 1;; *) echo "uci $*";; esac; }}\nservice() {{ :; }}\n'
    script = stub + platform_files.openwrt(values(), "lan")
    done = subprocess.run(["sh"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode == 0, "uci " in done.stdout) == (changes, changes)
    assert ("nothing was changed" in done.stderr) != changes


def test_the_script_for_openwrt_passes_shellcheck() -> None:
    script = platform_files.openwrt(values(), "wg0")
    done = subprocess.run(["shellcheck", "-"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


STRING = r'"(?:[^"\\$\x00-\x1f\x7f-\xff]|\\[0-9A-F]{2})*"'
COMMAND = re.compile(rf"/[a-z0-9]+(?:/[a-z]+)+(?: [a-z0-9-]+=(?:{STRING}|[A-Za-z0-9.:/,-]+))+")


@KINDS
@TITLES
def test_routeros_reads_each_line_as_one_command(title: str, changes: dict[str, Any]) -> None:
    wanted = values(title, **changes)
    text = platform_files.routeros(wanted, "wg0")
    text.encode("ascii")
    commands = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(COMMAND.fullmatch(line) for line in commands), text
    comment = re.findall(rf"comment=({STRING})", commands[0])[0].strip('"')
    read = re.sub(rb"\\([0-9A-F]{2})", lambda found: bytes.fromhex(found[1].decode()), comment.encode()).decode()
    assert read == title
    assert f"allowed-address={','.join(wanted.allowed_ips)}" in commands[1]
    routes = [line for line in commands if "/route/add" in line]
    assert len(routes) == (0 if "0.0.0.0/0" in wanted.allowed_ips else len(wanted.allowed_ips))
    assert not any("dst-address=0.0.0.0/0" in line for line in text.splitlines())


@KINDS
@TITLES
@pytest.mark.parametrize("system", ["ios", "macos"])
def test_a_profile_has_the_stock_file_within(title: str, changes: dict[str, Any], system: Any) -> None:
    wanted = values(title, **changes)
    data = platform_files.mobileconfig(wanted, "wg0", system)
    profile = plistlib.loads(data)
    (vpn,) = profile["PayloadContent"]
    assert (profile["PayloadType"], vpn["PayloadType"]) == ("Configuration", "com.apple.vpn.managed")
    assert (vpn["VPNSubType"], vpn["UserDefinedName"]) == (f"com.wireguard.{system}", "wg0")
    assert vpn["VendorConfig"]["WgQuickConfig"] == client_file(wanted).replace("\ufffe", "\ufffd")
    assert vpn["VPN"]["RemoteAddress"] == platform_files.split_host(wanted.endpoint)[0]
    assert len({profile["PayloadUUID"], vpn["PayloadUUID"]}) == 2
    assert platform_files.mobileconfig(wanted, "wg0", system) == data


@pytest.mark.parametrize("platform", Platform)
def test_each_has_the_key_in_its_content_alone_and_is_the_same_again(platform: Platform) -> None:
    wanted = values()
    file = ClientFile(None, None, "wg0.conf", client_file(wanted), wanted)
    found = platforms.made(file, platform)
    assert found == platforms.made(file, platform)
    assert str(wanted.private_key) not in f"{found!r} {file!r} {found.name}"
    assert (platform in TEXTS) == (found.media_type == "text/plain")
    if found.media_type == "application/zip":
        with zipfile.ZipFile(io.BytesIO(found.content)) as packed:
            names = packed.namelist()
            assert packed.read("wg0/wg0.conf").decode() == file.text
            readme = packed.read("wg0/README.txt").decode()
        assert all(name.removeprefix("wg0/") in readme for name in names if "README" not in name)
        assert not re.search(r"[{}]", readme)
    keyless = ClientFile(None, None, "wg0.conf", client_file(values(private_key=None)), values(private_key=None))
    if platform in {Platform.CONF, Platform.LINUX} or found.media_type == "application/zip":
        assert platforms.made(keyless, platform).content
    else:
        with pytest.raises(Conflict):
            platforms.made(keyless, platform)


@one_database
@pytest.mark.parametrize("platform", Platform)
def test_the_api_gives_each_to_those_who_may_read_secrets(
    client: httpx.Client, wg0: dict[str, Any], platform: Platform
) -> None:
    made(client, f"/api/configs/{wg0['id']}/endpoint-group", domain="vpn.example.com")
    peer = made(client, f"/api/configs/{wg0['id']}/peers", name=NAMES[1])
    answer = client.get(f"/api/peers/{peer['id']}/file", params={"format": platform})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert re.fullmatch(r'attachment; filename="wg0[\w.-]+"', answer.headers["content-disposition"])
    weak = made(client, "/api/keys", name="ci", scopes=["read", "write"])["key"]
    refused = client.get(
        f"/api/peers/{peer['id']}/file", params={"format": platform}, headers={"Authorization": f"Bearer {weak}"}
    )
    assert refused.status_code == 403
    assert client.get(f"/api/peers/{peer['id']}/file?format=dos").status_code == 422
