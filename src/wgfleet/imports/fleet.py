"""Values that readers return: interfaces, their peers, tags, and warnings for those who import them."""

import binascii
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from wgfleet.imports.numbers import NO_TIME, time_of
from wgfleet.imports.texts import all_whole, whole_characters
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.keys import (
    KEY_BYTES,
    PresharedKey,
    PrivateKey,
    PublicKey,
    parse_peer_key,
    parse_preshared_key,
    public_key_of,
    raw_to_text,
)
from wgfleet.protocol.reasons import Reason, plain, words_of

MALFORMED = (
    FieldError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError,
    msgspec.MsgspecError,
)  # fmt: skip
"""What comes of values that are not as a reader expects them: a number in place of a text, no value at all."""
Found = TypeVar("Found", bound=msgspec.Struct)
Item = TypeVar("Item")


class UnreadableError(Exception):
    """A source that cannot be read; the text is for the person who named it."""

    def __init__(self, said: str) -> None:
        """Take what is said, which may have names of files in it that are no text."""
        super().__init__(whole_characters(said))


class ImportedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that the other program kept: `field` `operator` `value`, then `action`, in words of WGDashboard.

    `value`: bytes; of `date` a time of ISO 8601 with its zone. One that could not be read stands as it was found.
    """

    field: str
    operator: str
    value: str
    action: str


class ImportedPeer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A peer of an interface.

    `addresses` are its own, without a prefix; `networks` those behind it. What its file says is None where nobody
    knows. `endpoint`: host and port in its file. `destinations`: rules on where it may connect to, in the words of
    `wgfleet rule-set`; what fits none is refused, and None: it was held to nothing. Bytes are since the beginning of
    counting, None: not known. Times in s since the epoch. `place`: where in the source it stands.
    """

    public_key: str
    name: str = ""
    private_key: str | None = None
    preshared_key: str | None = None
    addresses: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    enabled: bool = True
    client_allowed_ips: tuple[str, ...] | None = None
    dns: tuple[str, ...] | None = None
    mtu: int | None = None
    keepalive: int | None = None
    endpoint: str | None = None
    notes: str = ""
    owner: str | None = None
    tags: tuple[str, ...] = ()
    created_at: float | None = None
    expires_at: float | None = None
    received: int | None = None
    sent: int | None = None
    jobs: tuple[ImportedJob, ...] = ()
    destinations: tuple[str, ...] | None = None
    place: str = ""


class ImportedInterface(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A WireGuard server. `addresses` are its own, with prefixes; `endpoint` host and port that most files say."""

    name: str
    private_key: str | None = None
    public_key: str | None = None
    listen_port: int | None = None
    addresses: tuple[str, ...] = ()
    mtu: int | None = None
    dns: tuple[str, ...] = ()
    client_allowed_ips: tuple[str, ...] = ()
    keepalive: int | None = None
    endpoint: str | None = None
    hooks: tuple[str, ...] = ()
    peers: tuple[ImportedPeer, ...] = ()


class ImportedTag(msgspec.Struct, frozen=True, kw_only=True):
    """A tag, with the color that it had, if any."""

    name: str
    color: str | None = None


class ImportedFleet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that a source has."""

    source: str
    interfaces: tuple[ImportedInterface, ...]
    tags: tuple[ImportedTag, ...] = ()
    warnings: tuple[str, ...] = ()


def why(error: Exception) -> str:
    """Say why something is malformed (one of `MALFORMED`)."""
    if isinstance(error, KeyError):
        return Reason("it lacks {error}", error=error)
    if isinstance(error, FieldError):
        return Reason("{field}: {what}", field=error.field, what=error.said or error.detail)
    if isinstance(error, ValueError) and "set_int_max_str_digits" in str(error):
        return Reason("it has a number that is too long")
    if isinstance(error, ValueError | UnreadableError | msgspec.MsgspecError):
        return words_of(error)
    return Reason("a value in it is of another kind than it should be")


def well_formed(found: Found) -> Found:
    """Return a value of a reader where all in it is of its kind; numbers that were kept as text are numbers then.

    Raise one of `MALFORMED`.
    """
    try:
        encoded = msgspec.json.encode(found, enc_hook=plain)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(all_whole(msgspec.to_builtins(found, enc_hook=plain)))
    return msgspec.json.decode(encoded, type=type(found), strict=False)


def peers_of(
    items: Iterable[Item],
    read: Callable[[Item], ImportedPeer],
    called: Callable[[Item], str],
    said: list[str],
    elsewhere: Callable[[Item], bool] = lambda _: False,
) -> tuple[ImportedPeer, ...]:
    """Read peers. One that is malformed is left out, and `said` gets why; `elsewhere`: another place has it too."""
    found = []
    for item in items:
        try:
            found.append(well_formed(read(item)))
        except (*MALFORMED, UnreadableError) as error:
            what, reason = called(item), why(error)
            said.append(
                Reason("{item} is read from the database alone, since here: {error}", item=what, error=reason)
                if elsewhere(item)
                else Reason("{item} is left out: {error}", item=what, error=reason)
            )
    return tuple(found)


def expiry(value: object, place: str, said: list[str]) -> float | None:
    """Read until when a peer is let in. What cannot be read is none, and `said` gets that."""
    at = time_of(value)
    if at is None and value and not str(value).startswith(NO_TIME):
        said.append(
            Reason(
                "{place}: when it expires, {value!r}, cannot be read, so it never does; give it a limit by date",
                place=place,
                value=str(value),
            )
        )
    return at


def clamped(text: str, field: str) -> PrivateKey:
    """Read a private key; one that was not clamped (RFC 7748, section 5) comes back as WireGuard uses it.

    Errors: `FieldError`, without the value.
    """
    try:
        raw = bytearray(binascii.a2b_base64(text.strip()))
    except (binascii.Error, ValueError):
        raw = bytearray()
    if len(raw) != KEY_BYTES:
        raise FieldError(field, Reason("must be a key of 32 bytes in base64 (44 characters)"))
    raw[0] &= 0b1111_1000
    raw[-1] = raw[-1] & 0b0111_1111 | 0b0100_0000
    return PrivateKey(raw_to_text(bytes(raw)))


def public_key(text: str, field: str) -> PublicKey:
    """Read a public key."""
    return parse_peer_key(text, field)


def public_of(private_key: str) -> PublicKey:
    """Return the public key of a private key that `clamped` returned."""
    return public_key_of(PrivateKey(private_key))


def keys_of(private: str | None, public: object, place: str, said: list[str]) -> tuple[PublicKey, PrivateKey | None]:
    """Read the keys of a peer, which the server knows by the public one.

    A private key of another is left out, and `said` gets that.
    """
    own = clamped(private, place) if private and private.strip() else None
    text = str(public or "").strip()
    if own is not None and (not text or public_of(own) == text):
        return public_of(own), own
    if own is not None:
        said.append(
            Reason("{place}: its private key does not belong to its public key: its file cannot be made", place=place)
        )
    return public_key(text, place), None


def preshared(text: str | None, field: str) -> PresharedKey | None:
    """Read a preshared key; nothing, and zeros, are none."""
    if text is None or not text.strip():
        return None
    try:
        return parse_preshared_key(text.strip(), field)
    except FieldError as error:
        if "zeros" in str(error):
            return None
        raise
