"""Secrets at rest: AES-256-GCM under a master key that is never in the database, and HMAC where only equality matters.

A sealed value is `version (1) | key id (4) | nonce (12) | ciphertext and tag`. The key id makes rotation possible: a
vault holds several keys, seals with the first and opens with any. The context is authenticated with the value, so a
ciphertext that was copied to another row does not open. Must not log, and must not put a secret in an error.
"""

import base64
import binascii
import hashlib
import hmac
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wgfleet.panel import clock
from wgfleet.panel.errors import PermanentError

KEY_BYTES = 32
MASTER_KEY_VARIABLE = "WGFLEET_MASTER_KEY"
MASTER_KEY_FILE = "master.key"
_VERSION = b"\x01"
HEADER_BYTES = 5
_NONCE_BYTES = 12  # NIST SP 800-38D, section 8.2.2: random, so one key may seal 2^32 values
_NONCE_END = HEADER_BYTES + _NONCE_BYTES


class VaultError(PermanentError):
    """A master key is missing, unsafe or not the one that sealed a value; the text says what to do."""


class Alias(NamedTuple):
    """What stands for a text that may tell a secret. `key_id` (hex) is that of the master key it was made with."""

    key_id: str
    digest: str


class Vault:
    """Seals and opens short texts. `keys` are 32 bytes each, the first is the current one. Safe to share by threads."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise VaultError(f"a vault needs one or more keys of {KEY_BYTES} bytes")
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self._alias_keys = {key_id(key): hmac.digest(key, b"wgfleet alias key", "sha256") for key in keys}
        self.header = _VERSION + key_id(keys[0])
        """How a value begins that the current key sealed."""
        self._current = self._ciphers[key_id(keys[0])]

    @property
    def current_id(self) -> str:
        """The id (hex) of the key that seals."""
        return self.header[1:].hex()

    @property
    def earlier_ids(self) -> list[str]:
        """The ids (hex) of the keys that only open."""
        return [known.hex() for known in self._ciphers if known.hex() != self.current_id]

    def has(self, header: bytes) -> bool:
        """Tell whether the key is at hand that sealed a value with this header."""
        return header[:1] == _VERSION and header[1:] in self._ciphers

    def seal(self, plain: str, context: str) -> bytes:
        """Encrypt `plain` for the place that `context` names (`peers.private_key:<peer id>`)."""
        nonce = clock.new_bytes(_NONCE_BYTES)
        return self.header + nonce + self._current.encrypt(nonce, plain.encode(), self.header + context.encode())

    def open(self, sealed: bytes, context: str) -> str:
        """Decrypt; raise `VaultError` when no key of ours fits or the value belongs elsewhere."""
        header = header_of(sealed)
        cipher = self._ciphers.get(header[1:])
        if header[:1] != _VERSION or cipher is None:
            raise VaultError(
                f"{context} was sealed by master key {header[1:].hex()}, which is not at hand (have "
                f"{', '.join(known.hex() for known in self._ciphers)}); put that key back into the master key file "
                f"or into {MASTER_KEY_VARIABLE}"
            )
        try:
            return cipher.decrypt(
                sealed[HEADER_BYTES:_NONCE_END], sealed[_NONCE_END:], header + context.encode()
            ).decode()
        except (InvalidTag, ValueError):  # ValueError: too short for a nonce
            raise VaultError(
                f"{context} does not open: it was damaged or belongs to another row; restore the database from a backup"
            ) from None

    def aliases(self, text: str, context: str) -> tuple[Alias, ...]:
        """Return what stands for a text in the place that `context` names, one for each key, the current one first.

        Without a master key, nobody can tell whether a guess is right.
        """
        message = f"{context}\0{text}".encode()
        return tuple(
            Alias(known.hex(), hmac.digest(key, message, "sha256").hex()) for known, key in self._alias_keys.items()
        )


def header_of(sealed: bytes) -> bytes:
    """Return what says how a value was sealed, and by which key."""
    return sealed[:HEADER_BYTES]


def key_id(key: bytes) -> bytes:
    """Name a key in 4 bytes that say nothing about it."""
    return hashlib.sha256(b"wgfleet master key id\0" + key).digest()[: HEADER_BYTES - 1]


def load_vault(data_dir: Path, env: Mapping[str, str], *, make: bool = True) -> Vault:
    """Take the master key from the environment, else from `master.key` in `data_dir`, which is made if absent.

    Either holds one key, or several during a rotation (comma or line separated, the current one first). `make` False:
    one that is absent was lost, and another would open nothing; raises `VaultError`.
    """
    text = env.get(MASTER_KEY_VARIABLE)
    if text is not None:
        return Vault(_parse_keys(text, MASTER_KEY_VARIABLE))
    path = data_dir / MASTER_KEY_FILE
    if not path.exists():
        if not make:
            raise VaultError(f"{path}: is missing; put back the key that this database was made with")
        _create_key_file(path)
    return Vault(_parse_keys(_read_private(path), str(path)))


def _parse_keys(text: str, place: str) -> list[bytes]:
    keys = []
    for word in text.replace(",", "\n").split():
        try:
            key = base64.b64decode(word, validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise VaultError(
                f"{place}: not a key of {KEY_BYTES} bytes in base64; make one with: openssl rand -base64 32"
            )
        keys.append(key)
    if not keys:
        raise VaultError(f"{place}: holds no key; put back the key that this database was made with")
    return keys


def _read_private(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor) as file:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            raise VaultError(f"{path}: others may read it (mode {mode:04o}); if they did not, run: chmod 600 {path}")
        return file.read()


def _create_key_file(path: Path) -> None:
    """Write a new key that is whole or absent; of two processes that start at once, one makes it and both read it."""
    draft = path.with_name(f".{path.name}.{clock.new_id()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(clock.new_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    finally:
        draft.unlink()
