"""Samples of what other programs keep, written for the tests, with keys made anew for each."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from wgfleet.panel.keypairs import new_key_pair, new_preshared_key


class Keys:
    """Key pairs by name, made when they are first asked for."""

    def __init__(self) -> None:
        self._pairs: dict[str, tuple[str, str]] = {}
        self._shared: dict[str, str] = {}

    def private(self, name: str) -> str:
        return self._pair(name)[0]

    def public(self, name: str) -> str:
        return self._pair(name)[1]

    def psk(self, name: str) -> str:
        return self._shared.setdefault(name, new_preshared_key())

    def _pair(self, name: str) -> tuple[str, str]:
        return self._pairs.setdefault(name, new_key_pair())


def table(place: Path, name: str, rows: list[dict[str, Any]], wal: bool = False) -> None:
    """Write a table of an SQLite file, its columns as the rows have them."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    quoted = ", ".join(f'"{column}"' for column in columns)
    with closing(sqlite3.connect(place)) as connection:
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f'CREATE TABLE "{name}" ({quoted})')
        for row in rows:
            marks = ", ".join("?" for _ in columns)
            connection.execute(f'INSERT INTO "{name}" VALUES ({marks})', [row.get(column) for column in columns])  # noqa: S608 - our own name
        connection.commit()


def wgdashboard(folder: Path, keys: Keys) -> None:
    """Write databases and the file of one interface, as WGDashboard 4 keeps them."""
    (folder / "office.conf").write_text(
        f"[Interface]\nAddress = 10.9.0.1/24\nSaveConfig = true\nListenPort = 51833\n"
        f"PrivateKey = {keys.private('server')}\nPostUp = iptables -t nat -A POSTROUTING -j MASQUERADE\n\n"
        f"[Peer]\nPublicKey = {keys.public('anna')}\nAllowedIPs = 10.9.0.7/32\n"
    )
    row = {
        "id": keys.public("anna"),
        "private_key": keys.private("anna"),
        "DNS": "9.9.9.9",
        "endpoint_allowed_ip": "10.0.0.0/8",
        "name": "Anna's laptop",
        "total_receive": 0.25,
        "cumu_receive": 1.0,
        "total_sent": 0.5,
        "cumu_sent": 2.0,
        "total_data": 0.75,
        "cumu_data": 3.0,
        "allowed_ip": "10.9.0.7/32",
        "mtu": 1420,
        "keepalive": 21,
        "notes": "floor 2",
        "preshared_key": "",
    }
    main = folder / "wgdashboard.db"
    table(main, "office", [row], wal=True)
    bob = {
        **row,
        "id": keys.public("bob"),
        "private_key": "",
        "name": "",
        "allowed_ip": "10.9.0.8",
        "mtu": 0,
        "DNS": "{{ x }}",
    }
    table(main, "office_restrict_access", [bob])
    table(main, "office_transfer", [{"id": keys.public("anna")}])
    info = {
        "Description": "HQ",
        "OverridePeerSettings": {"DNS": "", "MTU": "", "ListenPort": 443, "PeerRemoteEndpoint": "vpn.example.org"},
        "PeerGroups": {"g1": {"GroupName": "sales", "BackgroundColor": "#339", "Peers": [keys.public("anna")]}},
    }
    table(main, "ConfigurationsInfo", [{"ID": "office", "Info": json.dumps(info)}])
    job = {
        "Configuration": "office",
        "Peer": keys.public("anna"),
        "Field": "total_data",
        "Operator": "lgt",
        "Value": "20",
    }
    ended = {**job, "Value": "1", "Action": "delete", "ExpireDate": "2026-01-01 00:00:00"}
    total = {**job, "Action": "restrict", "ExpireDate": None}
    date = {**total, "Field": "date", "Value": "2027-03-31 18:30:00", "Action": "restrict"}
    table(folder / "wgdashboard_job.db", "PeerJobs", [total, ended, date, {**date, "Value": "soon"}])


def wg_easy_14(folder: Path, keys: Keys) -> None:
    """Write `wg0.json` as wg-easy 14 keeps it, and a file of docker compose."""
    client = {
        "name": "phone",
        "address": "10.8.0.2",
        "privateKey": keys.private("phone"),
        "publicKey": keys.public("phone"),
        "preSharedKey": keys.psk("phone"),
        "createdAt": "2024-03-01T10:00:00.000Z",
        "enabled": False,
    }
    without = {"name": "old", "address": "10.8.0.3", "publicKey": keys.public("old"), "enabled": True}
    server = {"privateKey": keys.private("server"), "publicKey": keys.public("server"), "address": "10.8.0.1"}
    kept = {"server": server, "clients": {"5b0e": client, "77aa": without}}
    (folder / "wg0.json").write_text(json.dumps(kept))
    (folder / "compose.yml").write_text(
        "services:\n  wg-easy:\n    environment:\n      - WG_HOST=vpn.example.org\n      - WG_PORT=51820\n"
        "      - WG_CONFIG_PORT=443\n      WG_MTU: '1380' # comment\n"
    )


def wg_easy_15(folder: Path, keys: Keys, firewall: tuple[str, ...] | None = None) -> None:
    """Write `wg-easy.db` as wg-easy 15 keeps it. `firewall`: it is on, and has this list for the client."""
    place = folder / "wg-easy.db"
    interface = {
        "name": "wg0",
        "device": "eth0",
        "port": 51820,
        "private_key": keys.private("server"),
        "public_key": keys.public("server"),
        "ipv4_cidr": "10.8.0.0/24",
        "ipv6_cidr": "fdcc:ad94:bacf:61a4::cafe:0/112",
        "mtu": 1420,
        "enabled": 1,
        "j_c": 7,
        "firewall_enabled": firewall is not None,
    }
    table(place, "interfaces_table", [interface], wal=True)
    values = {
        "id": "wg0",
        "default_mtu": 1420,
        "default_persistent_keepalive": 0,
        "default_dns": '["1.1.1.1"]',
        "default_allowed_ips": '["0.0.0.0/0","::/0"]',
        "host": "vpn.example.org",
        "port": 51820,
    }
    table(place, "user_configs_table", [values])
    client = {
        "id": 4,
        "user_id": 1,
        "interface_id": "wg0",
        "name": "tablet",
        "ipv4_address": "10.8.0.5",
        "ipv6_address": "fdcc:ad94:bacf:61a4::cafe:5",
        "private_key": keys.private("tablet"),
        "public_key": keys.public("tablet"),
        "pre_shared_key": keys.psk("tablet"),
        "allowed_ips": None,
        "server_allowed_ips": '["192.168.7.0/24"]',
        "dns": '["9.9.9.9"]',
        "mtu": 1280,
        "persistent_keepalive": 25,
        "enabled": 0,
        "firewall_ips": None if firewall is None else json.dumps(firewall),
        "post_up": "echo {{ipv4Cidr}}",
        "created_at": "2026-01-02 03:04:05",
        "expires_at": "2027-01-31T00:00:00.000Z",
    }
    table(place, "clients_table", [client])
    table(place, "users_table", [{"id": 1, "username": "gerda", "password": "x"}])
    table(place, "hooks_table", [{"id": "wg0", "post_up": "iptables -A FORWARD -i wg0 -j ACCEPT", "pre_up": ""}])


def wireguard_ui(folder: Path, keys: Keys) -> None:
    """Write the folders of wireguard-ui."""
    for name in ("clients", "server"):
        (folder / "db" / name).mkdir(parents=True)
    (folder / "db/server/interfaces.json").write_text(
        json.dumps({"addresses": ["10.252.1.1/24"], "listen_port": "51820", "post_up": ""})
    )
    (folder / "db/server/keypair.json").write_text(json.dumps({"private_key": keys.private("server")}))
    settings = {
        "endpoint_address": "2001:db8::7",
        "dns_servers": ["1.1.1.1"],
        "mtu": "1450",
        "persistent_keepalive": "15",
        "config_file_path": "/etc/wireguard/wg1.conf",
    }
    (folder / "db/server/global_settings.json").write_text(json.dumps(settings))
    client = {
        "private_key": keys.private("hugo"),
        "public_key": keys.public("hugo"),
        "preshared_key": keys.psk("hugo"),
        "name": "Hugo\nphone",
        "email": "hugo@example.org",
        "allocated_ips": ["10.252.1.2/32"],
        "allowed_ips": ["0.0.0.0/0"],
        "extra_allowed_ips": ["192.168.9.0/24"],
        "additional_notes": "n",
        "use_server_dns": True,
        "enabled": True,
        "created_at": "2023-12-01T10:00:00Z",
    }
    (folder / "db/clients/a.json").write_text(json.dumps(client))
    (folder / "db/clients/b.json").write_text("{}")


def wg_portal(folder: Path, keys: Keys) -> None:
    """Write `sqlite.db` as wg-portal 2 keeps it."""
    place = folder / "sqlite.db"
    interface = {
        "identifier": "wg0",
        "private_key": keys.private("server"),
        "listen_port": 51820,
        "mtu": 1420,
        "type": "server",
        "backend": "local",
        "peer_def_endpoint": "vpn.example.org:51820",
        "peer_def_allowed_ips_str": "10.0.0.0/8",
        "peer_def_dns_str": "10.11.12.1",
        "peer_def_dns_search_str": "corp.example",
        "post_up": "",
    }
    upstream = {**interface, "identifier": "wg9", "type": "client"}
    table(place, "interfaces", [interface, upstream])
    carol = {
        "identifier": keys.public("carol"),
        "public_key": keys.public("carol"),
        "display_name": "Carol phone",
        "user_identifier": "carol@example.org",
        "interface_identifier": "wg0",
        "allowed_ips_str_v": "10.0.0.0/8",
        "extra_allowed_ips_str": "192.168.50.0/24",
        "private_key": "WG_ENC_9f00",
        "preshared_key": keys.psk("carol"),
        "persistent_keep_alive_v": 16,
        "disabled": None,
        "expires_at": "2027-01-31 00:00:00+00:00",
        "notes": "",
    }
    table(place, "peers", [carol, {**carol, "identifier": "x", "public_key": "no key", "display_name": "bad"}])
    table(place, "interface_addresses", [{"interface_identifier": "wg0", "cidr_cidr": "10.11.12.1/24"}])
    table(place, "peer_addresses", [{"peer_identifier": keys.public("carol"), "cidr_cidr": "10.11.12.5/32"}])
    table(place, "peer_statuses", [{"identifier": keys.public("carol"), "received": 123, "transmitted": 456}])


def opnsense(folder: Path, keys: Keys) -> None:
    """Write `config.xml` as OPNsense exports it."""
    (folder / "config.xml").write_text(
        "<opnsense><OPNsense><wireguard>"
        '<server><servers><server uuid="u-1"><enabled>1</enabled><name>road</name><instance>0</instance>'
        f"<privkey>{keys.private('server')}</privkey><port>51820</port><mtu/><dns/>"
        "<tunneladdress>10.20.0.1/24</tunneladdress><peers>u-7,u-8,u-9</peers></server></servers></server>"
        f'<client><clients><client uuid="u-7"><enabled>1</enabled><name>gina</name>'
        f"<pubkey>{keys.public('gina')}</pubkey>"
        "<psk/><tunneladdress>10.20.0.2/32,192.168.1.0/24</tunneladdress><serveraddress/><keepalive>25</keepalive></client>"
        f'<client uuid="u-8"><enabled>0</enabled><name>otto</name><pubkey>{keys.public("otto")}</pubkey>'
        "<tunneladdress>10.20.0.3/32</tunneladdress></client>"
        f'<client uuid="u-9"><enabled>1</enabled><name>site</name><pubkey>{keys.public("site")}</pubkey>'
        "<tunneladdress>10.30.0.0/16</tunneladdress><serveraddress>192.0.2.9</serveraddress></client>"
        "</clients></client></wireguard></OPNsense></opnsense>"
    )


def pfsense(folder: Path, keys: Keys) -> None:
    """Write `config.xml` as pfSense exports it."""
    (folder / "config.xml").write_text(
        "<pfsense><installedpackages><wireguard><tunnels><item><name>tun_wg0</name><enabled>yes</enabled>"
        f"<listenport>51820</listenport><privatekey>{keys.private('server')}</privatekey>"
        "<addresses><row><address>10.21.0.1</address><mask>24</mask></row></addresses></item></tunnels>"
        f"<peers><item><enabled>yes</enabled><tun>tun_wg0</tun><descr>ivan</descr><publickey>{keys.public('ivan')}</publickey>"
        f"<presharedkey>{keys.psk('ivan')}</presharedkey><allowedips><row><address>10.21.0.2</address><mask>32</mask></row>"
        "<row><address>192.168.4.0</address><mask>24</mask></row></allowedips></item></peers>"
        "</wireguard></installedpackages></pfsense>"
    )
