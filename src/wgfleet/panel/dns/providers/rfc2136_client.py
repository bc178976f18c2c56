"""RFC 2136 client: queries and updates a zone's primary name server over TCP, signed with TSIG (RFC 8945).

Knows nothing of records and their owners. Refusals become the panel's errors.
"""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset
import dns.tsig
import dns.update

from wgfleet.panel.dns.providers import Raced
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.protocol.reasons import Reason

TIMEOUT_S = 10.0  # for connecting, and for each read of an answer
_LARGEST = 65535
_RACED = {dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN}
_NOT_SIGNED = Reason(
    "answers without the key's signature; check that key_name, key_secret and algorithm are as the server's"
)


@dataclass(frozen=True, slots=True)
class Primary:
    """A zone's primary. `server` is an address, a host name, or None: the host that the zone's SOA record names."""

    zone: dns.name.Name
    server: str | None
    port: int
    key: dns.tsig.Key | None

    @contextlib.contextmanager
    def connected(self) -> Iterator["Connection"]:
        """Open a connection to the server."""
        host = self.server or primary_of(self.zone)
        where = f"DNS server {host} port {self.port}"
        with _explained(where, self.key_name):
            try:
                sock = socket.create_connection((host, self.port), TIMEOUT_S)
            except socket.gaierror as error:
                raise TransientError(
                    Reason("{where}: the name does not resolve: {error}", where=where, error=error.strerror)
                ) from error
        with sock:
            yield Connection(self, sock, where)

    @property
    def key_name(self) -> str:
        """Return the key's name, for messages."""
        return "no key" if self.key is None else f"key {self.key.name.to_text(omit_final_dot=True)}"


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP connection to the primary, for one message at a time."""

    primary: Primary
    sock: socket.socket
    where: str

    def find(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.rrset.RRset | None:
        """Return the records of a type at exactly a name; those of a wildcard cannot be told apart."""
        query = dns.message.make_query(name, kind)
        query.flags &= ~dns.flags.RD
        answer = self._exchange(query)
        if answer.rcode() not in {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}:
            self._refused(answer.rcode(), "a query of")
        if not answer.flags & dns.flags.AA:
            raise PermanentError(
                Reason(
                    "{where} is not authoritative for {zone}; set `server` to the zone's primary",
                    where=self.where,
                    zone=self._zone,
                )
            )
        return answer.get_rrset(answer.answer, name, dns.rdataclass.IN, kind)

    def serial(self) -> int:
        """Return the serial number of the zone, as the primary has it."""
        found = self.find(self.primary.zone, dns.rdatatype.SOA)
        if found is None:
            raise PermanentError(
                Reason("{where} has no SOA record at {zone}; check `zone`", where=self.where, zone=self._zone)
            )
        return int(found[0].serial)

    def update(self) -> dns.update.UpdateMessage:
        """Return an empty UPDATE of the zone."""
        return dns.update.UpdateMessage(self.primary.zone)

    def send(self, update: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        """Send an UPDATE; return NOERROR or the code of a failed prerequisite, raise for all else."""
        code = self._exchange(update).rcode()
        if code != dns.rcode.NOERROR and code not in _RACED:
            self._refused(code, "an update of")
        return code

    def apply(self, name: str, update: dns.update.UpdateMessage) -> None:
        """Send an UPDATE; raise `Raced` if its prerequisites no longer hold."""
        code = self.send(update)
        if code != dns.rcode.NOERROR:
            raise Raced(
                Reason(
                    "{name} was changed by somebody else in the meantime ({code} of {where})",
                    name=name,
                    code=dns.rcode.to_text(code),
                    where=self.where,
                )
            )

    @property
    def _zone(self) -> str:
        return f"zone {self.primary.zone.to_text(omit_final_dot=True)}"

    def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        if self.primary.key is not None:
            message.use_tsig(self.primary.key)
        with _explained(self.where, self.primary.key_name):
            wire = message.to_wire(max_size=_LARGEST)
            self.sock.sendall(len(wire).to_bytes(2, "big") + wire)
            answer = self._parsed(message, self._received(int.from_bytes(self._received(2), "big")))
            if not message.is_response(answer):
                raise dns.query.BadResponse
        return answer

    def _received(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            piece = self.sock.recv(length - len(found))
            if not piece:
                raise EOFError("it closed the connection")
            found += piece
        return found

    def _parsed(self, question: dns.message.Message, wire: bytes) -> dns.message.Message:
        try:
            return dns.message.from_wire(wire, keyring=question.keyring, request_mac=question.mac)
        except dns.exception.FormError:
            if not question.keyring:
                raise
        # It is not signed. Only an error may be so (RFC 8945 section 5.3.2); anything else is not trusted.
        answer = dns.message.from_wire(wire)
        if answer.rcode() == dns.rcode.NOERROR:
            raise PermanentError(Reason("{where} {not_signed}", where=self.where, not_signed=_NOT_SIGNED))
        return answer

    def _refused(self, code: dns.rcode.Rcode, what: str) -> None:
        said = Reason(
            "{where} answered {code} to {what} {zone} with {key_name}",
            where=self.where,
            code=dns.rcode.to_text(code),
            what=what,
            zone=self._zone,
            key_name=self.primary.key_name,
        )
        if code == dns.rcode.SERVFAIL:
            raise TransientError(Reason("{said}; see the server's log", said=said))
        raise PermanentError(
            Reason("{said}; {advice}", said=said, advice=_ADVICE.get(code, "the server does not accept such updates"))
        )


_ADVICE = {
    dns.rcode.REFUSED: Reason(
        "allow the key to update and to query the zone (Knot: an acl with `action: update`, BIND: "
        "`update-policy`, PowerDNS: `dnsupdate=yes` and the zone's TSIG-ALLOW-DNSUPDATE)"
    ),
    dns.rcode.NOTAUTH: Reason("check the zone's name, that this is its primary, and that the server knows the key"),
    dns.rcode.NOTZONE: Reason("the name is not in that zone; check `zone`"),
    dns.rcode.NOTIMP: Reason("the server does not support dynamic updates (RFC 2136)"),
}


@contextlib.contextmanager
def _explained(where: str, key: str) -> Iterator[None]:
    """Turn network and protocol errors into the panel's errors."""
    try:
        yield
    except (OSError, EOFError, dns.exception.Timeout) as error:
        raise TransientError(
            Reason("{where} does not answer: {why}", where=where, why=str(error) or type(error).__name__)
        ) from error
    except (dns.tsig.PeerBadTime, dns.tsig.BadTime) as error:
        raise TransientError(
            Reason("{where} and this machine disagree on the time; check both clocks", where=where)
        ) from error
    except dns.tsig.PeerBadKey as error:
        raise PermanentError(
            Reason(
                "{where} does not know {key}, or does not accept it for this zone (BADKEY); check key_name and "
                "algorithm, and that the server lets this key update the zone",
                where=where,
                key=key,
            )
        ) from error
    except (dns.tsig.PeerBadSignature, dns.tsig.PeerBadTruncation) as error:
        raise PermanentError(
            Reason("{where} has another secret for {key}; check key_secret and algorithm", where=where, key=key)
        ) from error
    except (dns.tsig.BadKey, dns.tsig.BadSignature, dns.tsig.BadAlgorithm) as error:
        raise PermanentError(Reason("{where} {not_signed}", where=where, not_signed=_NOT_SIGNED)) from error
    except dns.exception.TooBig as error:
        raise PermanentError(
            Reason("{where}: the change is larger than a DNS message (65,535 bytes)", where=where)
        ) from error
    except dns.exception.DNSException as error:
        raise TransientError(
            Reason("{where} sent a malformed DNS response: {error}", where=where, error=error)
        ) from error


def primary_of(zone: dns.name.Name, resolver: dns.resolver.Resolver | None = None) -> str:
    """Return the host that a zone's SOA record names as its primary (RFC 2136 section 4.3)."""
    text = zone.to_text(omit_final_dot=True)
    try:
        resolver = resolver or dns.resolver.get_default_resolver()
        answer = resolver.resolve(zone, dns.rdatatype.SOA, lifetime=TIMEOUT_S)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer) as error:
        raise PermanentError(
            Reason("{text} is not a zone with an SOA record; check `zone`, or set `server`", text=text)
        ) from error
    except dns.exception.DNSException as error:
        raise TransientError(
            Reason("the primary of zone {text} cannot be found; set `server`: {error}", text=text, error=error)
        ) from error
    return str(answer[0].mname.to_text(omit_final_dot=True))
