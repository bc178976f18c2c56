"""A real OpenLDAP server with people and groups, on ports of the loopback, in clear with StartTLS and over TLS."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldap3 import Connection, Server
from ldap3.core.exceptions import LDAPException

from tests.markers import require
from tests.panel.identity.certificates import self_signed
from tests.providers.knot import free_port
from tests.waiting import eventually

BASE = "dc=example,dc=com"
ADMIN, PASSWORD = f"cn=admin,{BASE}", "the-password-of-the-directory"
WORDS = "a password in the directory"

_CONF = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {place}/pid
TLSCertificateFile {place}/certificate.pem
TLSCertificateKeyFile {place}/key.pem
disallow bind_anon
database mdb
suffix "{base}"
rootdn "{admin}"
rootpw {password}
directory {place}/data
sizelimit 500
"""


@dataclass
class Directory:
    """A server that runs. `ca`: what clients have to trust."""

    ldap_port: int
    ldaps_port: int
    ca: str
    process: subprocess.Popen[bytes]
    people: list[str] = field(default_factory=list)

    def options(self, **more: Any) -> dict[str, Any]:
        """Return what an administrator enters."""
        given = {
            "url": f"ldaps://localhost:{self.ldaps_port}",
            "base": f"ou=people,{BASE}",
            "group_base": f"ou=groups,{BASE}",
            "bind_dn": ADMIN,
            "ca": self.ca,
        }
        return given | more

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        connection = Connection(Server("127.0.0.1", self.ldap_port), ADMIN, PASSWORD)
        try:
            assert connection.bind(), connection.result
            yield connection
        finally:
            connection.unbind()
            if connection.socket is not None:
                connection.socket.close()

    def add(self, name: str, *groups: str, password: str = WORDS) -> None:
        """Have somebody in the directory, in groups that are there."""
        dn = f"cn={name},ou=people,{BASE}"
        with self.connection() as connection:
            values = {"uid": name, "sn": name, "userPassword": password}
            assert connection.add(dn, ["inetOrgPerson"], values), connection.result
            for group in groups:
                changes = {"member": [("MODIFY_ADD", [dn])]}
                assert connection.modify(f"cn={group},ou=groups,{BASE}", changes), connection.result
        self.people.append(dn)

    def remove(self, name: str) -> None:
        """Have somebody leave."""
        with self.connection() as connection:
            assert connection.delete(f"cn={name},ou=people,{BASE}"), connection.result

    def leave_group(self, name: str, group: str) -> None:
        changes = {"member": [("MODIFY_DELETE", [f"cn={name},ou=people,{BASE}"])]}
        with self.connection() as connection:
            assert connection.modify(f"cn={group},ou=groups,{BASE}", changes), connection.result

    def clear(self) -> None:
        """Have nobody in it."""
        with self.connection() as connection:
            for dn in self.people:
                connection.delete(dn)
            for group in ("vpn", "vpn-admins"):
                connection.modify(f"cn={group},ou=groups,{BASE}", {"member": [("MODIFY_REPLACE", [ADMIN])]})
        self.people.clear()


@contextmanager
def slapd() -> Iterator[Directory]:
    """Run a directory for the time of the context."""
    require("servers")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "data").mkdir()
        certificate, key = self_signed("localhost")
        (place / "certificate.pem").write_text(certificate)
        (place / "key.pem").write_text(key)
        conf = place / "slapd.conf"
        conf.write_text(_CONF.format(place=place, base=BASE, admin=ADMIN, password=PASSWORD))
        ldap, ldaps = free_port(), free_port()
        urls = f"ldap://127.0.0.1:{ldap} ldaps://127.0.0.1:{ldaps}"
        command = ["/usr/sbin/slapd", "-f", str(conf), "-h", urls, "-d", "0"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            directory = Directory(ldap, ldaps, certificate, process)
            try:
                eventually(lambda: _answers(directory))
                _fill(directory)
                yield directory
            finally:
                process.terminate()


def _answers(directory: Directory) -> bool:
    assert directory.process.poll() is None, "slapd ended"
    try:
        with directory.connection():
            return True
    except LDAPException:
        return False


def _fill(directory: Directory) -> None:
    with directory.connection() as connection:
        assert connection.add(BASE, ["domain"], {"dc": "example"}), connection.result
        for unit in ("people", "groups"):
            assert connection.add(f"ou={unit},{BASE}", ["organizationalUnit"]), connection.result
        for group in ("vpn", "vpn-admins"):
            values = {"member": [ADMIN]}
            assert connection.add(f"cn={group},ou=groups,{BASE}", ["groupOfNames"], values), connection.result
