"""The lab's name server: Knot in the router, authoritative for `lab.test`, changed with the lab's key.

Owns the server's settings, its process and its key. Must not know what is published, nor who publishes it.
"""

import base64
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

from wgfleet.lab.hosts import Host
from wgfleet.lab.topology import PANEL_SEGMENT, SEGMENTS
from wgfleet.lab.waiting import wait_for

ZONE = "lab.test"
ENDPOINT = f"vpn.{ZONE}"  # the name of the config's endpoint
KEY = "lab"
ADDRESS = PANEL_SEGMENT.gateway  # where the panel and the machine itself reach it; others ask their own gateway
PORT = 53
PROGRAM = "knotd"
_START_S = 30.0
_TRY_S = 0.1

_SETTINGS = """
server:
    rundir: "{folder}"
    listen: [{listen}]
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    answer-rotation: on
database:
    storage: "{folder}"
log:
  - target: stderr
    any: info
key:
{keys}
acl:
  - id: update
    key: {key}
    action: [update, transfer]
zone:
  - domain: {zone}
    storage: "{folder}"
    file: zone
    acl: update
    journal-content: none
    zonefile-sync: -1
"""
_KEY = """  - id: {key}
    algorithm: hmac-sha256
    secret: {secret}"""
_RECORDS = """
@   60 SOA ns hostmaster 1 3600 600 86400 1
@   60 NS  ns
ns  60 A   {address}
"""


def new_secret() -> str:
    """Make the secret of a TSIG key."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def settings(
    folder: Path, listen: Iterable[str], secret: str, *, zone: str = ZONE, key: str = KEY, powerless: Iterable[str] = ()
) -> str:
    """Return the text of knot.conf for a server whose zone is the file `zone` in a folder and changes in memory.

    `listen`: `address@port` each. `key` may change and transfer the zone; those `powerless`, of the same secret, not.
    """
    keys = "\n".join(_KEY.format(key=name, secret=secret) for name in (key, *powerless))
    return _SETTINGS.format(folder=folder, listen=", ".join(listen), keys=keys, key=key, zone=zone)


def start(router: Host) -> dict[str, Any]:
    """Start the server in the router with an empty zone; return the DNS provider's options for it."""
    folder = router.directory / "knot"
    folder.mkdir(mode=0o700)
    secret = new_secret()
    (folder / "zone").write_text(_RECORDS.format(address=ADDRESS), encoding="ascii")
    file = folder / "knot.conf"
    file.touch(mode=0o600)
    file.write_text(settings(folder, [f"{segment.gateway}@{PORT}" for segment in SEGMENTS], secret), encoding="ascii")
    log = router.start([PROGRAM, "--config", str(file)], "knot")
    wait_for(
        lambda: ask(f"ns.{ZONE}"),
        lambda: f"{PROGRAM} does not answer ({log.read_text(encoding='utf-8', errors='replace')[-500:]})",
        within_s=_START_S,
        every_s=_TRY_S / 10,
    )
    return {"server": ADDRESS, "port": PORT, "key_name": KEY, "key_secret": secret}


@dataclass(frozen=True, slots=True)
class LookupAnswer:
    """The server's answer for a name: its addresses of one kind, and the time of the answer in s since the epoch."""

    addresses: frozenset[str]
    at: float


def ask(name: str, *, ipv6: bool = False) -> LookupAnswer | None:
    """Ask the server itself for the A or the AAAA records of a name; None where it does not answer in time."""
    kind = dns.rdatatype.AAAA if ipv6 else dns.rdatatype.A
    question = dns.message.make_query(name, kind, use_edns=0)
    try:
        answer = dns.query.udp(question, ADDRESS, _TRY_S, PORT, raise_on_truncation=True)
    except (OSError, dns.exception.DNSException):
        return None
    return LookupAnswer(frozenset(rdata.address for rrset in answer.answer for rdata in rrset), time.time())
