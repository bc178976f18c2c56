"""Words for certificates that the panel's CA has issued, and how many revoked ones agents hear of."""

from enum import StrEnum
from typing import NamedTuple

MAX_TOLD = 4096
"""Revoked certificates that agents hear of: those that were revoked last."""

NO_KEY = "revoked"
"""Stands in a node's keys where its last one was revoked: no key has such a digest, so none is accepted."""


class CertificateKind(StrEnum):
    """What a certificate is good for."""

    AGENT = "agent"  # answering as a node's agent
    PANEL = "panel"  # calling every agent, as a start of the panel
    CLIENT = "client"  # the same, in files, for a person


class Telling(StrEnum):
    """What becomes of telling an agent about a certificate that was revoked."""

    UNDER_WAY = "under_way"
    UNREACHABLE = "unreachable"  # told when it returns
    IMPOSSIBLE = "impossible"  # an agent of 0.1.0


class Issued(NamedTuple):
    """A certificate: its serial number and the SHA-256 of its SubjectPublicKeyInfo, in hex, its end, and its CA's name.

    `serial` or `issuer` None: it was issued by a release that kept none. `expires_at` is in s since the epoch.
    """

    serial: str | None
    key: str
    expires_at: float
    issuer: str | None = None


class RevokedSerial(NamedTuple):
    """A certificate that agents must refuse. `at` in s since the epoch."""

    serial: str
    at: float
