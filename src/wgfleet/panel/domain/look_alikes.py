"""Texts without what shows nothing, by which names are compared: two that look the same are one to people. Pure.

As the skeletons of UTS 39, for invisible characters only: letters of other scripts that look alike stay what they are.
What changes how its neighbors look stays too, such as the joiners of Persian between two letters.
"""

import unicodedata
from collections.abc import Iterable

from wgfleet.panel.errors import Conflict
from wgfleet.protocol.reasons import Reason

_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")  # letters and marks, by category, that show nothing
_JOINERS = frozenset("\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}")
_FLAG = "\N{WAVING BLACK FLAG}"
_VIRAMA = 9  # by combining class
# Arabic letters that join no letter after them, so that a joiner there changes nothing (ArabicShaping.txt: R, U).
_JOIN_NOTHING = frozenset(
    "\u0621\u0622\u0623\u0624\u0625\u0627\u0629\u062f\u0630\u0631\u0632\u0648\u06c0\u06d2\u06d3\u06d5"
) | {
    chr(code)
    for first, last in ((0x671, 0x677), (0x688, 0x699), (0x6C3, 0x6CB), (0x6CD, 0x6CF))
    for code in range(first, last + 1)
}


def seen(text: str) -> str:
    """Return what of a text can be seen, with one kind of space."""
    if text.isascii():
        return text
    found: list[str] = []
    for at, character in enumerate(text):
        category = unicodedata.category(character)
        if category == "Zs":
            found.append(" ")
        elif not _is_invisible(character, category) or _shapes(character, found, text[at + 1 :]):
            found.append(character)
    return "".join(found)


def folded(name: str) -> str:
    """Return a name as searches compare it: what can be seen of it, in small letters; all of what shows nothing.

    By way of capital letters, since some small ones share one (the i without a dot); decomposed before each step, as
    both want it, and composed again, as what is typed comes.
    """
    text = seen(name) or name
    if text.isascii():
        return text.lower()
    capital = _decomposed(_decomposed(text).upper())
    return unicodedata.normalize("NFC", capital.casefold())


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def check(name: str, others: Iterable[str], field: str = "name") -> None:
    """Refuse a name that looks the same as one of some others, and is not the same."""
    wanted = seen(name)
    for other in others:
        if other != name and seen(other) == wanted:
            raise Conflict(
                Reason(
                    "{name!r} looks the same as {other!r}, which already exists: they differ in what shows nothing; "
                    "choose another name",
                    name=name,
                    other=other,
                ),
                field=field,
            )


def _is_invisible(character: str, category: str) -> bool:
    if category == "Cf":
        return unicodedata.bidirectional(character) != "AN" and not unicodedata.name(character, "").endswith(
            ("ABBREVIATION MARK", "NUMBER SIGN", "END OF AYAH")
        )
    return character in _BLANK or _is_selector(character)


def _is_selector(character: str) -> bool:
    return (
        "\ufe00" <= character <= "\ufe0f"
        or "\u180b" <= character <= "\u180f"
        or "\U000e0100" <= character <= "\U000e01ef"
    )


def _shapes(character: str, before: list[str], after: str) -> bool:
    """Tell whether an invisible character changes how its neighbors look."""
    if not before:
        return False
    last = before[-1]
    if character in _JOINERS:
        following = next((each for each in after if not _is_invisible(each, unicodedata.category(each))), "")
        if unicodedata.category(following or " ") == "So" and (_is_picture(last)):
            return character == "\N{ZERO WIDTH JOINER}"
        letter = next((each for each in reversed(before) if not unicodedata.combining(each)), "")
        joined = _is_arabic(letter) and letter not in _JOIN_NOTHING and _is_arabic(following)
        return joined or (unicodedata.combining(last) == _VIRAMA and bool(following))
    if _is_selector(character):
        return unicodedata.category(last) in {"So", "Lo", "Sm", "Po", "Nd"} and last not in _BLANK
    return "\U000e0020" <= character <= "\U000e007f" and (last == _FLAG or "\U000e0020" <= last <= "\U000e007f")


def _is_picture(character: str) -> bool:
    return unicodedata.category(character) in {"So", "Sk"} or _is_selector(character)


def _is_arabic(character: str) -> bool:
    return bool(character) and unicodedata.bidirectional(character) == "AL"
