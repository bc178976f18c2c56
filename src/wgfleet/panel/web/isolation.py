"""Isolation of names in sentences that run from right to left: a Latin name there turns no text around it.

In such a text each place of a value stands between U+2068 and U+2069, which browsers also follow in titles, labels of
fields and other attributes, where no element can be.
"""

import re
from functools import lru_cache

ISOLATE, END = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff]")
_PLACE = re.compile(r"%\((?!num\))[a-z_]+\)s|\{[a-z_]+(?:![rs])?\}")


@lru_cache(8192)
def isolated(text: str) -> str:
    """Return a text with places of values as one whose values are isolated, where it runs from right to left."""
    return _PLACE.sub(rf"{ISOLATE}\g<0>{END}", text) if _RIGHT_TO_LEFT.search(text) else text


def without_isolation(text: str) -> str:
    """Return what was copied from such a text without what isolates it."""
    return text.translate({ord(ISOLATE): None, ord(END): None})
