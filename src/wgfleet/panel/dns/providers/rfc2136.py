"""Provider `rfc2136`: dynamic update (RFC 2136) of BIND, Knot, PowerDNS and other servers, with TSIG.

One UPDATE for each change, which the server makes as a whole or not at all. Its prerequisites (section 2.4) are that
all addresses, aliases and marks at the name are still as observed: if somebody else writes in between, it is `Raced`
and nothing is changed. Marks are as in `ownership_txt`; the protocol on the wire is in `rfc2136_client`.
"""

import base64
import binascii
import hashlib
import ipaddress
import threading
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import dns.exception
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.rrset
import dns.tsig
import dns.update
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from wgfleet.panel.dns.providers import TEXT_TTL_S, Account, Capabilities, Finding, OutsideZone, ownership_txt
from wgfleet.panel.dns.providers.rfc2136_client import Connection, Primary
from wgfleet.panel.domain.dns.records import Changes, Record
from wgfleet.panel.errors import PermanentError, TransientError
from wgfleet.protocol.reasons import Reason, words_of

MAX_TTL_S = 2**31 - 1  # RFC 2181 section 8
# A message holds 65,535 bytes; a record with its mark takes about 190 as a prerequisite, and again as a change.
BATCH = 100
_KINDS = (dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME)
_TXT = dns.rdatatype.TXT


class Rfc2136Options(BaseModel):
    """The server and the TSIG key. Without `server`, the primary that the zone's SOA record names."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    server: str | None = None
    port: int = Field(default=53, ge=1, le=65535)
    key_name: str | None = None
    key_secret: SecretStr | None = None
    algorithm: Literal["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] = "hmac-sha256"

    @field_validator("key_name")
    @classmethod
    def _a_name(cls, value: str | None) -> str | None:
        try:
            _ = value and dns.name.from_text(value)
        except dns.exception.DNSException as error:
            raise ValueError(Reason("is not a DNS name: {error}", error=error)) from None
        return value

    @field_validator("key_secret")
    @classmethod
    def _base64(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            empty = value is not None and not base64.b64decode(value.get_secret_value(), validate=True)
        except binascii.Error:
            empty = True
        if empty:
            raise ValueError(
                Reason("is not base64; it is the `secret` of the server's key")
            )  # without the value itself
        return value

    @model_validator(mode="after")
    def _whole_key(self) -> Self:
        if (self.key_name is None) != (self.key_secret is None):
            raise ValueError(Reason("set both key_name and key_secret, or neither"))
        return self

    def key(self) -> dns.tsig.Key | None:
        """Return the TSIG key."""
        if self.key_name is None or self.key_secret is None:
            return None
        return dns.tsig.Key(self.key_name, self.key_secret.get_secret_value(), self.algorithm)


@dataclass(frozen=True, slots=True)
class _Observed:
    """The RRsets at a name and at the name of its marks, None if there is none."""

    rrsets: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], dns.rrset.RRset | None]
    texts: tuple[str, ...]
    records: tuple[Record, ...]


class Rfc2136:
    """A zone on a server that accepts dynamic updates."""

    name: ClassVar[str] = "rfc2136"
    Options: ClassVar[type[BaseModel]] = Rfc2136Options

    def __init__(self, zone: str, options: BaseModel) -> None:
        if not isinstance(options, Rfc2136Options):
            raise TypeError(f"options of rfc2136, not {type(options).__name__}")
        try:
            self._zone = dns.name.from_text(zone)
        except dns.exception.DNSException as error:
            raise PermanentError(Reason("zone {zone!r} is not a DNS name: {error}", zone=zone, error=error)) from None
        self._primary = Primary(self._zone, options.server, options.port, options.key())
        identity = f"{zone} {options.server} {options.port} {options.key_name}"
        self._account = Account(hashlib.sha256(identity.lower().encode()).hexdigest()[:32])
        self._observed: dict[str, _Observed] = {}
        self._lock = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:
        """Return what every server with this protocol can do."""
        return Capabilities(
            min_ttl=1, max_ttl=MAX_TTL_S, automatic_ttl=False, atomic=True, batch=BATCH, marks="txt", texts=True
        )

    @property
    def account(self) -> Account:
        """Return the account: a server and a key, without a limit."""
        return self._account

    def read(self, name: str) -> tuple[Record, ...]:
        """Query the primary for the records at the name, which become the prerequisites of `apply`."""
        with self._primary.connected() as connection:
            observed = self._observe(connection, name)
        with self._lock:
            self._observed[name] = observed
        return observed.records

    def apply(self, name: str, changes: Changes) -> int:
        """Make the changes in one UPDATE, if the name is still as last read."""
        if not changes:
            return 0
        with self._lock:
            observed = self._observed.pop(name, None)
        with self._primary.connected() as connection:
            observed = observed or self._observe(connection, name)
            connection.apply(name, self._update(connection, name, observed, changes))
        return 1

    def check(self, name: str) -> list[Finding]:
        """Query the zone, and send an UPDATE that deletes records which do not exist."""
        try:
            owner = self._name(name)
            with self._primary.connected() as connection:
                serial = connection.serial()
                findings = [
                    Finding(
                        "zone",
                        ok=True,
                        detail=Reason(
                            "{where} is authoritative, serial {serial}", where=connection.where, serial=serial
                        ),
                    )
                ]
                connection.send(_harmless(connection.update(), owner, self._marker(name)))
        except (PermanentError, TransientError) as error:
            return [Finding("update", ok=False, detail=words_of(error), certain=isinstance(error, PermanentError))]
        return [
            *findings,
            Finding(
                "update",
                ok=True,
                detail=Reason("{key_name} may update {name}", key_name=self._primary.key_name, name=name),
            ),
        ]

    def add_text(self, name: str, text: str) -> None:
        """Add a TXT record by one UPDATE."""
        with self._primary.connected() as connection:
            update = connection.update()
            update.add(self._name(name), TEXT_TTL_S, _txt(text))
            connection.send(update)

    def remove_text(self, name: str, text: str) -> None:
        """Delete a TXT record by one UPDATE."""
        with self._primary.connected() as connection:
            update = connection.update()
            update.delete(self._name(name), _txt(text))
            connection.send(update)

    def close(self) -> None:
        """Forget what was observed; connections do not outlive a call."""
        with self._lock:
            self._observed.clear()

    def _name(self, name: str) -> dns.name.Name:
        owner = dns.name.from_text(name)
        if not owner.is_subdomain(self._zone):
            raise OutsideZone(
                Reason("{name} is not in zone {zone}", name=name, zone=self._zone.to_text(omit_final_dot=True))
            )
        return owner

    def _marker(self, name: str) -> dns.name.Name:
        try:
            return dns.name.from_text(ownership_txt.marker_name(name))
        except dns.exception.DNSException:
            raise PermanentError(
                Reason("{name} is too long for its mark, {mark}", name=name, mark=ownership_txt.marker_name(name))
            ) from None

    def _observe(self, connection: Connection, name: str) -> _Observed:
        owner, marker = self._name(name), self._marker(name)
        found = {(owner, kind): connection.find(owner, kind) for kind in _KINDS}
        marks = connection.find(marker, _TXT)
        texts = () if marks is None else tuple(b"".join(rdata.strings).decode("ascii", "replace") for rdata in marks)
        owners = ownership_txt.owners(texts)
        if not owners:
            # No record has a mark: perhaps none exists, and these are the answers of a wildcard.
            if any(found.values()) and not _in_use(connection, owner):
                found = dict.fromkeys(found)
            if marks is not None and not _in_use(connection, marker):
                marks, texts = None, ()
        records = [
            Record(kind, content, rrset.ttl, owners.get((kind, content)))
            for rrset in found.values()
            if rrset is not None
            for kind, content in (_key(rdata) for rdata in rrset)
        ]
        records.sort(key=lambda record: (record.type, record.content))
        return _Observed({**found, (marker, _TXT): marks}, texts, tuple(records))

    def _update(
        self, connection: Connection, name: str, observed: _Observed, changes: Changes
    ) -> dns.update.UpdateMessage:
        owner, marker = self._name(name), self._marker(name)
        removed = [*changes.deletes, *(old for old, _ in changes.updates)]
        added = [*(new for _, new in changes.updates), *changes.creates]
        kept = ownership_txt.left_alone(name, observed.records, removed, added)
        update = connection.update()
        for (where, kind), rrset in observed.rrsets.items():
            if rrset is None:
                update.absent(where, kind)
            else:
                update.present(where, *rrset)
        for record in removed:
            update.delete(owner, _rdata(record))
        for record in added:
            update.add(owner, record.ttl, _rdata(record))
        texts = set(observed.texts)
        right = ownership_txt.replaced(texts, removed, added, kept)
        for text in sorted(texts - right):
            update.delete(marker, _txt(text))
        for text in sorted(right - texts):
            update.add(marker, ownership_txt.TTL_S, _txt(text))
        return update


def _in_use(connection: Connection, name: dns.name.Name) -> bool:
    """Tell whether a name has records of its own (section 2.4.4), by an UPDATE that changes nothing."""
    update = connection.update()
    update.present(name)
    return connection.send(update) == dns.rcode.NOERROR


def _harmless(
    update: dns.update.UpdateMessage, owner: dns.name.Name, marker: dns.name.Name
) -> dns.update.UpdateMessage:
    """Fill an UPDATE with deletes of every kind that we may send, of records that do not exist."""
    update.delete(owner, dns.rdatatype.A, "0.0.0.0")
    update.delete(owner, dns.rdatatype.AAAA, "::")
    update.delete(marker, _txt(f"{ownership_txt.LABEL} check"))
    return update


def _key(rdata: dns.rdata.Rdata) -> tuple[str, str]:
    text = rdata.to_text()
    kind = dns.rdatatype.to_text(rdata.rdtype)
    return kind, text.rstrip(".").lower() if kind == "CNAME" else str(ipaddress.ip_address(text))


def _rdata(record: Record) -> dns.rdata.Rdata:
    final = "." if record.type == "CNAME" else ""
    return dns.rdata.from_text(dns.rdataclass.IN, record.type, record.content + final)


def _txt(text: str) -> dns.rdata.Rdata:
    return dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, _TXT, [text.encode("ascii")])
