"""Values as sentences quote them: whole up to the longest that anything here may have, of longer ones the beginning.

Who sends ten thousand characters in place of a name gets them back nowhere: not in answers, logs or the audit log.
"""

import re
from string import Formatter
from typing import Any

MOST_WHOLE = 255  # characters; no name of a host is longer
SHOWN = 60  # characters of what is
CUT = "{start}... ({length:,} characters)"
_LONG = re.compile(rf"'[^'\n]{{{MOST_WHOLE},}}'|[^\s']{{{MOST_WHOLE},}}")


def quoted(value: object) -> str:
    """Return a value between quotation marks, as `repr` does; of a long text the beginning, and how long it is."""
    if isinstance(value, str) and len(value) > MOST_WHOLE:
        return _cut(value, CUT)
    return repr(value)


def shortened(words: str) -> str:
    """Return what a library says of a value that was given, with long values in it cut."""
    return _LONG.sub(lambda found: _cut(found[0].strip("'"), CUT), words)


def filled_in(template: str, values: dict[str, Any], cut: str = CUT) -> str:
    """Return a template (as of `str.format`) with its values; long texts that it quotes are cut, as `cut` says it."""
    if any(isinstance(value, str) and len(value) > MOST_WHOLE for value in values.values()):
        return _Filling(cut).vformat(template, (), values)
    return template.format(**values)


class _Filling(Formatter):
    def __init__(self, cut: str) -> None:
        self._cut = cut

    def convert_field(self, value: Any, conversion: Any) -> Any:
        if conversion == "r" and isinstance(value, str) and len(value) > MOST_WHOLE:
            return _cut(value, self._cut)
        return super().convert_field(value, conversion)


def _cut(text: str, cut: str) -> str:
    return cut.format(start=repr(text[:SHOWN]), length=len(text))
