"""QR codes of users' files: what WireGuard apps read of one, and never one that no phone could use."""

import io
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import segno

PLACEHOLDER = "REPLACE_THIS_WITH_THE_PRIVATE_KEY_OF_YOUR_DEVICE"
"""Stands in a file for a private key that the panel never had."""
EASY_MODULES = 97  # version 20, 858 bytes: about what a phone still reads from a screen at arm's length
SCALE = 6  # pixels a module: a phone reads it from a screen at arm's length


class NoQrCodeError(Exception):
    """There is no code of a file; the text says why, and what to do instead."""


def qr_code(text: str) -> "segno.QRCode":
    """Return the code of a file, or of an address. Its comments, as a peer's name, are for those who open the file.

    Who reads a code guesses its encoding: of an accented letter some make a Chinese one. All else is ASCII.

    Raises `NoQrCodeError`, and `ModuleNotFoundError` without the panel's libraries.
    """
    import segno  # noqa: PLC0415 - only on a machine with the panel's libraries

    if PLACEHOLDER in text:
        raise NoQrCodeError(
            "the user has the private key, so a code would lack it: make one where that key is, or download the file "
            "and put it in"
        )
    try:
        return segno.make_qr(_without_comments(text), error="l", encoding="utf-8", boost_error=False)
    except segno.DataOverflowError:
        raise NoQrCodeError(
            f"the file has {len(text.encode())} bytes, too many for a QR code (2953): download it instead, or allow "
            "fewer networks"
        ) from None


def _without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def code_image(text: str, kind: Literal["png", "svg"]) -> bytes:
    """Return the code of a file as an image, as `qr_code` does."""
    out = io.BytesIO()
    qr_code(text).save(out, kind=kind, scale=SCALE)
    return out.getvalue()


def hard_to_scan(code: "segno.QRCode") -> str | None:
    """Say that many phones will not read a code from a screen; None: they will."""
    modules, _ = code.symbol_size(border=0)
    if modules <= EASY_MODULES:
        return None
    return f"the code has {modules} x {modules} dots, which many phones cannot read; the file is safer"
