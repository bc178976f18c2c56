"""Reasons: sentences that programs read in English and people in their language, as a template and its values.

A reason is a text, its English one, so who does not care passes it on as such. Who shows it to a person looks the
template up in the catalog of that person's language and puts the values in (`wgfleet.panel.web.reasons`).
"""

import json
import re
from collections.abc import Iterator
from string import Formatter
from typing import Any, Self

_JOINER = re.compile(r"(?<!\\)((?:\\\\)*)\\u(200[cd])")
_MARK = "\x1f"  # a unit separator: no sentence has one
_MOST = 20_000  # characters of a kept reason, and of what is made of it
_DEEPEST = 8  # reasons in reasons


def readable(text: str) -> str:
    """Return a message with the joiners of names that it quotes, which Python's repr writes as escapes.

    In Persian and many other scripts they are part of how a word is spelled, and invisible by themselves.
    """
    return text if isinstance(text, Reason) else _readable(text)


def _readable(text: str) -> str:
    return _JOINER.sub(lambda found: found[1] + chr(int(found[2], 16)), text)


class Reason(str):
    """A sentence with the template that it was made of, as of `str.format`. Values: texts, numbers and reasons.

    A catalog may say it in another order; the template is what it is looked up by, so it is a literal in the source.
    """

    __slots__ = ("template", "values")
    template: str
    values: dict[str, Any]

    def __new__(cls, template: str, **values: Any) -> Self:
        """Make the sentence in English."""
        made = super().__new__(cls, _readable(template.format(**values)))
        made.template, made.values = template, values
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle it with what it was made of."""
        return _made, (self.template, self.values)

    def kept(self) -> str:
        """Return it as one text that `restored` reads. Its template names its values, and says no more of them."""
        made_of = json.dumps(_plain(self), separators=(",", ":"), ensure_ascii=False)
        return f"{without_mark(self)}{_MARK}{made_of}"

    @classmethod
    def restored(cls, text: str) -> str:
        """Return the reason that was kept as a text; of one that says something else, and of a damaged one, its text.

        Who can write to a database is not to run code with it: a template reaches into no value.
        """
        said, mark, made_of = text.partition(_MARK)
        if not mark or len(text) > _MOST:
            return said
        try:
            made = _rich(json.loads(made_of), _DEEPEST)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return said
        return made if isinstance(made, Reason) and without_mark(made) == said else said


def template(text: str) -> str:
    """Mark a text as the template of a reason, where that is made elsewhere."""
    return text


def without_mark(text: str) -> str:
    """Return a text without what parts a kept reason from what it was made of."""
    return str(text).replace(_MARK, "")


def plain(value: object) -> str:
    """Return the text of a reason, for msgspec, which encodes no kinds of texts but its own."""
    if isinstance(value, Reason):
        return str(value)
    raise NotImplementedError(f"values of {type(value).__name__} are not encoded")


def _made(template: str, values: dict[str, Any]) -> Reason:
    return Reason(template, **values)


def _plain(value: Any) -> Any:
    if isinstance(value, Reason):
        return [value.template, {name: _plain(each) for name, each in value.values.items()}]
    return value


def _rich(value: Any, deeper: int) -> Any:
    if isinstance(value, list):
        if not deeper:
            raise ValueError("too many reasons in reasons")
        template, values = value
        known = {name: _rich(each, deeper - 1) for name, each in values.items()}
        if len(template) + sum(len(str(known[name])) for name in _names(template)) > _MOST:
            raise ValueError("too long")
        return Reason(template, **known)
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(type(value).__name__)


def _names(template: str) -> Iterator[str]:
    """Yield the names in a template; raise `ValueError` for one that asks for more than values as they are."""
    for _, name, form, conversion in Formatter().parse(template):
        if name is None:
            continue
        if not name.isidentifier() or form or conversion:
            raise ValueError("not a name")
        yield name
