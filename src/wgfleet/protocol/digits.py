"""Digits of other scripts in numbers, dates and addresses: as Persian and Arabic keyboards type them, for 0 to 9.

Only for values that have no other meaning. A name, a note or a password is what somebody typed.
"""

import re

_ZEROS = "\u0660\u06f0\uff10"  # of Arabic, Persian, and wide letters of East Asia
_DIGITS = {ord(zero) + number: str(number) for zero in _ZEROS for number in range(10)}
_BETWEEN = {
    0x066B: ".",  # between a number and its fraction
    0x066C: "",  # between thousands
    0x060C: ",",  # between the parts of a list
}
_TYPED = str.maketrans(_DIGITS | _BETWEEN)
_WORDS = re.compile(r"\S+")


def ascii_digits(text: str) -> str:
    """Return a text with the digits and separators of Persian and Arabic keyboards as those of ASCII.

    A word that has other letters of such a script, as the name of a host may, stays as it is.
    """
    return text if text.isascii() else _WORDS.sub(_word, text)


def _word(found: re.Match[str]) -> str:
    changed = found[0].translate(_TYPED)
    return changed if changed.isascii() else found[0]
