"""Directories (LDAP): whether a password is somebody's, in which groups they are, and who is still there.

Filters are made of escaped values alone. The user's own password is shown to the server in a bind of its own; an empty
one never is, since servers take a bind without a password for an anonymous one, which succeeds (RFC 4513, 5.1.2).
"""

import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from ldap3 import AUTO_BIND_NONE, NONE, SUBTREE, Connection, Server, Tls
from ldap3.core.exceptions import LDAPBindError, LDAPException
from ldap3.operation.search import parse_filter
from ldap3.utils.conv import escape_filter_chars

from wgfleet.panel.domain.identities import VouchedPerson
from wgfleet.panel.errors import TooMany, Unavailable
from wgfleet.panel.identity import IdentityRefused
from wgfleet.panel.provider_http import words
from wgfleet.protocol.reasons import Reason

_TIMEOUT_S = 5
_PAGE = 500
_INVALID_CREDENTIALS = 49
PRESENT = 8  # at a time; each has one of the threads that answer calls, and the others need some as well
Guessing = Callable[[str], AbstractContextManager[None]]
"""Limits how often a password of somebody may be guessed, and counts where it raises `IdentityRefused`."""
_present = threading.BoundedSemaphore(PRESENT)


class _VerifiedTls(Tls):  # type: ignore[misc]  # the library has no types
    """TLS whose certificates and host names the ssl module verifies, by its own defaults, and not the library."""

    def wrap_socket(self, connection: Connection, do_handshake: bool = True) -> None:  # noqa: ARG002 - the library's
        context = ssl.create_default_context(cadata=self.ca_certs_data)
        connection.socket = context.wrap_socket(connection.socket, server_hostname=connection.server.host)


@dataclass(frozen=True, slots=True)
class DirectoryOptions:
    """A server and how people and groups are found there. `ca`: PEM of the CAs that count, None: the system's.

    `user_filter` has `{name}` where the escaped name stands. `subject_attribute`: what never changes of an entry.
    """

    url: str
    base: str
    bind_dn: str = ""
    bind_password: str | None = field(default=None, repr=False)
    starttls: bool = False
    ca: str | None = None
    user_filter: str = "(&(objectClass=person)(uid={name}))"
    name_attribute: str = "uid"
    subject_attribute: str = "entryUUID"
    group_base: str = ""
    group_filter: str = "(&(objectClass=groupOfNames)(member={dn}))"
    group_attribute: str = "cn"


def is_filter(text: str) -> bool:
    """Say whether a filter can be read, with some person's name and DN in it."""
    filled = text.replace("{name}", "x").replace("{dn}", "cn=x")
    try:
        parse_filter(filled, None, auto_escape=True, auto_encode=True, validator=None, check_names=False)
    except LDAPException:
        return False
    return True


def authenticate(options: DirectoryOptions, name: str, password: str, guessing: Guessing) -> VouchedPerson:
    """Return who has that name and password; raise `IdentityRefused` otherwise, `Unavailable` where nobody says.

    A directory finds somebody by many spellings: `guessing` gets the one that it has itself.
    """
    with _room(options), _connected(options) as connection:
        found = _people(connection, options, name)
        if len(found) != 1 or not password:
            raise IdentityRefused(Reason("the name or the password is wrong"), "name" if not found else "password")
        (entry,) = found
        known_as = _first(entry, options.name_attribute)
        with guessing(known_as), _errors(options):
            if not connection.rebind(entry["dn"], password):
                if connection.result["result"] != _INVALID_CREDENTIALS:
                    raise Unavailable(
                        Reason(
                            "{url} lets nobody in: {said}",
                            url=options.url,
                            said=words(str(connection.result["description"])),
                        )
                    )
                raise IdentityRefused(Reason("the name or the password is wrong"), "password")
    with _connected(options) as connection:
        return _identity(connection, options, entry)


def everybody(options: DirectoryOptions) -> dict[str, VouchedPerson]:
    """Return all people of a directory, by their subjects."""
    with _connected(options) as connection:
        found = _people(connection, options, None)
        identities = [_identity(connection, options, entry) for entry in found]
        return {each.subject: each for each in identities}


def test(options: DirectoryOptions) -> str:
    """Return what a look at a directory finds; raises `Unavailable` where it cannot be used."""
    with _connected(options) as connection:
        count = len(_people(connection, options, None))
    return Reason("{url} answers, and has {count} people below {base}", url=options.url, count=count, base=options.base)


@contextmanager
def _room(options: DirectoryOptions) -> Iterator[None]:
    """Let few wait for a directory at a time: each holds one of the threads that answer all calls."""
    if not _present.acquire(blocking=False):
        raise TooMany(
            Reason("too many people wait for the directory {url}; try again soon", url=options.url), retry_after_s=2.0
        )
    try:
        yield
    finally:
        _present.release()


@contextmanager
def _errors(options: DirectoryOptions) -> Iterator[None]:
    try:
        yield
    except LDAPException as error:
        raise Unavailable(
            Reason("the directory {url} cannot be asked: {error}", url=options.url, error=words(str(error))),
            retry_after_s=5.0,
        ) from None


@contextmanager
def _connected(options: DirectoryOptions) -> Iterator[Connection]:
    """Give a connection with which people are looked up."""
    with _errors(options):
        tls = _VerifiedTls(ca_certs_data=options.ca)
        server = Server(options.url, connect_timeout=_TIMEOUT_S, get_info=NONE, tls=tls)
        connection = Connection(
            server,
            user=options.bind_dn or None,
            password=options.bind_password or None,
            auto_bind=AUTO_BIND_NONE,
            receive_timeout=_TIMEOUT_S,
            read_only=True,
            raise_exceptions=False,
        )
        try:
            connection.open()
            if options.starttls and not connection.start_tls():
                raise LDAPBindError("it does not speak TLS")
            if not connection.bind():
                said = words(str(connection.result["description"]))
                raise Unavailable(
                    Reason(
                        "the directory {url} does not take the panel's own name and password: {said}",
                        url=options.url,
                        said=said,
                    )
                )
            yield connection
        finally:
            connection.unbind()
            if connection.socket is not None:  # the library leaves one open that it could not connect
                connection.socket.close()


def _people(connection: Connection, options: DirectoryOptions, name: str | None) -> list[dict[str, Any]]:
    wanted = options.user_filter.replace("{name}", "*" if name is None else escape_filter_chars(name))
    return _search(connection, options, options.base, wanted, [options.name_attribute, options.subject_attribute])


def _search(
    connection: Connection, options: DirectoryOptions, base: str, wanted: str, attributes: Sequence[str]
) -> list[dict[str, Any]]:
    with _errors(options):
        found = connection.extend.standard.paged_search(
            base, wanted, SUBTREE, attributes=attributes, paged_size=_PAGE, generator=False
        )
        if connection.result["result"] not in {0, None}:
            raise Unavailable(
                Reason(
                    "the directory {url} does not search {base!r}: {said}",
                    url=options.url,
                    base=base,
                    said=words(str(connection.result["description"])),
                )
            )
        return [each for each in found if each["type"] == "searchResEntry"]


def _identity(connection: Connection, options: DirectoryOptions, entry: dict[str, Any]) -> VouchedPerson:
    wanted = options.group_filter.replace("{dn}", escape_filter_chars(entry["dn"]))
    wanted = wanted.replace("{name}", escape_filter_chars(_first(entry, options.name_attribute)))
    groups = _search(connection, options, options.group_base or options.base, wanted, [options.group_attribute])
    subject = _first(entry, options.subject_attribute)
    if not subject:
        raise Unavailable(
            Reason(
                "the directory {url} shows no {subject_attribute} of {dn!r}; choose an "
                "attribute that never changes, and that the panel's own name may read",
                url=options.url,
                subject_attribute=options.subject_attribute,
                dn=words(entry["dn"]),
            )
        )
    names = [_first(group, options.group_attribute) for group in groups]
    return VouchedPerson(subject, _first(entry, options.name_attribute), [name for name in names if name])


def _first(entry: dict[str, Any], attribute: str) -> str:
    values = entry["raw_attributes"].get(attribute) or [b""]
    value = values[0] if isinstance(values, list) else values
    if not isinstance(value, bytes):
        return str(value)
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return value.hex()
    return text if text.isprintable() else value.hex()  # such as an objectGUID, which is no text


@dataclass(frozen=True, slots=True)
class Vouched:
    """Who somebody is, by the directory that says so."""

    provider_id: str
    identity: VouchedPerson


def first_to_vouch(
    directories: Sequence[tuple[str, DirectoryOptions]], name: str, password: str, guessing: Guessing
) -> Vouched:
    """Ask one directory after the other; raises what the last one said, or that one was down."""
    down: Unavailable | None = None
    refused: IdentityRefused | None = None
    for provider_id, options in directories:
        try:
            return Vouched(provider_id, authenticate(options, name, password, guessing))
        except Unavailable as error:
            down = error
        except IdentityRefused as error:
            refused = error
    raise down or refused or IdentityRefused(Reason("the name or the password is wrong"), "name")
