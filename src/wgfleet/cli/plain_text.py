"""Texts that a terminal shows and does not obey: agents and users choose parts of them."""

import unicodedata

# Beside lines and tabs, what names are written with and that moves nothing: the joiners of Persian and of emoji, and
# marks of direction.
SHOWN = frozenset(
    "\n\t\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
    "\N{LEFT-TO-RIGHT MARK}\N{RIGHT-TO-LEFT MARK}\N{ARABIC LETTER MARK}"
)


def plain(shown: str) -> str:
    """Replace what a terminal would obey rather than show: agents, and users, choose parts of what is printed."""
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join("\N{REPLACEMENT CHARACTER}" if obeyed(character) else character for character in shown)


def obeyed(character: str) -> bool:
    """Tell whether a terminal would do something at a character, and show nothing."""
    return character not in SHOWN and unicodedata.category(character) in {"Cc", "Cf"}
