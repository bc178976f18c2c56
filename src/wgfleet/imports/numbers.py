"""Numbers and times as other programs write them: some as text, some not at all."""

from datetime import datetime
from typing import Any

from wgfleet.protocol.desired import LEAST_MTU, MAX_MTU
from wgfleet.protocol.reasons import Reason

NO_TIME = "0001-01-01"  # what Go has for none
MOST_BYTES = 2**53  # what JSON keeps exactly
MOST_DIGITS = 18  # fits into 64 bits
MOST_SHOWN = 40  # characters of a value that is none
LONGEST_KEEPALIVE_S = 65_535  # 16 bits in the kernel
HIGHEST_PORT = 65_535


def whole_number(value: object) -> int | None:
    """Return a number that may be kept as text; None for what is none."""
    text = str(value if value is not None else "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


def number(value: object) -> int | None:
    """Return a number that may be kept as text; None for 0 and what is none."""
    return whole_number(value) or None


def setting_of(value: object, setting: str, place: str, said: list[str], most: int, least: int = 1) -> int | None:
    """Return a setting of a whole interface; None where there is none, and where it cannot be one, which is said."""
    text = "" if value is None else str(value).strip()
    found = whole_number(text)
    if text.lower() in {"", "0", "off"} or (found is not None and least <= found <= most):
        return found or None
    said.append(
        Reason(
            "{place}: {setting} {value!r} is no number from {least} to {most}, so it is left out; check it",
            place=place,
            setting=setting,
            value=text[:MOST_SHOWN],
            least=least,
            most=most,
        )
    )
    return None


def port_of(value: object, setting: str, place: str, said: list[str]) -> int | None:
    """Return the port of an interface, as `setting_of` does."""
    return setting_of(value, setting, place, said, HIGHEST_PORT)


def mtu_of(value: object, setting: str, place: str, said: list[str]) -> int | None:
    """Return the MTU of an interface, as `setting_of` does."""
    return setting_of(value, setting, place, said, MAX_MTU, LEAST_MTU)


def common_keepalive_of(value: object, setting: str, place: str, said: list[str]) -> int | None:
    """Return the keepalive of an interface's users, as `setting_of` does; 0: they are to have none."""
    found = setting_of(value, setting, place, said, LONGEST_KEEPALIVE_S)
    return 0 if found is None and str(value).strip().lower() in {"0", "off"} else found


def keepalive_of(value: object, name: str, said: list[str]) -> int | None:
    """Return the keepalive of a peer; None where there is none, and where it cannot be one, which is said."""
    text = "" if value is None else str(value).strip()
    if text.lower() == "off":
        return 0
    found = whole_number(text)
    if text and (found is None or found > LONGEST_KEEPALIVE_S):
        said.append(
            Reason(
                "{name}: keepalive {value!r} is no number from 0 to {most}, so it is left out; check it",
                name=name,
                value=text[:MOST_SHOWN],
                most=LONGEST_KEEPALIVE_S,
            )
        )
        return None
    return found


def bytes_of(value: object, what: str, place: str, said: list[str]) -> int | None:
    """Return what was counted; None where nothing was, and where it cannot be a number of bytes, which is said."""
    if value is None:
        return None
    if isinstance(value, int | float) and 0 <= value <= MOST_BYTES:
        return round(value)
    said.append(
        Reason(
            "{place}: {what} {value!r} is no number of bytes up to {most}, so the total begins without it",
            place=place,
            what=what,
            value=str(value)[:MOST_SHOWN],
            most=MOST_BYTES,
        )
    )
    return None


def time_of(text: Any) -> float | None:
    """Return the s since the epoch of a time in ISO 8601, None where there is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except (ValueError, OverflowError):
        return None
