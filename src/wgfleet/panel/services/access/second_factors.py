"""Second factors: codes of an authenticator app (TOTP, RFC 6238), and recovery codes for who has lost it."""

import base64
import hmac
import unicodedata

import pyotp

from wgfleet.panel import clock
from wgfleet.panel.tokens import digest
from wgfleet.protocol.digits import ascii_digits

STEP_S = 30
SKEW = 1  # steps that a phone's clock may be off
RECOVERY_CODES = 10
_RECOVERY_BYTES = 10  # 80 bits: nothing to guess, so that a plain digest is kept
_GROUP = 4


def new_secret() -> str:
    """Return a secret of 160 bits in base 32, as authenticator apps take it."""
    return base64.b32encode(clock.new_bytes(20)).decode()


def address_of(secret: str, user: str, panel: str) -> str:
    """Return the `otpauth://` address that an app reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=user, issuer_name=panel)


def step_of(secret: str, code: str, now: float, after: int | None) -> int | None:
    """Return the time step that a code belongs to, or None where it is wrong.

    Codes of steps up to `after` are wrong, since they were used already. Blanks in it, as apps show them, do not count.
    """
    generator, current = pyotp.TOTP(secret), int(now // STEP_S)
    given = _plain(code).encode()  # of text, the comparison refuses what is not ASCII
    for step in range(current - SKEW, current + SKEW + 1):
        if hmac.compare_digest(generator.generate_otp(step).encode(), given) and (after is None or step > after):
            return step
    return None


def new_recovery_codes() -> list[str]:
    """Return codes each of which lets its user in once, such as `k3fq-7xwb-22nd-mmpa`."""
    return [
        _grouped(base64.b32encode(clock.new_bytes(_RECOVERY_BYTES)).decode().lower()) for _ in range(RECOVERY_CODES)
    ]


def digest_of_code(code: str) -> str:
    """Return what is kept of a recovery code."""
    return digest(_plain(code))


def _plain(code: str) -> str:
    """Return a code without what people and keyboards add: capitals, blanks, hyphens, and digits of other scripts."""
    return "".join(unicodedata.normalize("NFKC", ascii_digits(code)).split()).replace("-", "").lower()


def _grouped(text: str) -> str:
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))
