"""Reasons: sentences that programs read in English and people in their language, as a template and its values.

A reason is a text, its English one, so who does not care passes it on as such. Who shows it to a person looks the
template up in the catalog of that person's language and puts the values in (`wgfleet.panel.web.reasons`).
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from string import Formatter
from typing import Any, Self

from wgfleet.protocol.quotes import filled_in

_JOINER = re.compile(r"(?<!\\)((?:\\\\)*)\\u(200[cd])")
_FORM = re.compile(r"(\.\d)?[fg%]?|,")  # of numbers
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
        """Make the sentence in English. Other values are said as their texts, and errors as what they say."""
        values = {name: _simple(value) for name, value in values.items()}
        made = super().__new__(cls, _readable(filled_in(template, values)))
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
        return _restored(said, made_of) if mark and len(text) <= _MOST else said


def words_of(error: BaseException) -> str:
    """Return what an error says, as a `Reason` where it was made with one."""
    known = (getattr(error, "said", None), *error.args[:1])
    return next((each for each in known if isinstance(each, Reason)), str(error))


def joined(parts: Iterable[str], by: str = "; ") -> str:
    """Return several texts as one, of which each reason is said in the language of who reads it."""
    values = {f"part{number}": part for number, part in enumerate(parts)}
    return Reason(by.join(f"{{{name}}}" for name in values), **values)


def template(text: str) -> str:
    """Mark a text as the template of a reason, where that is made elsewhere."""
    return text


def without_mark(text: str) -> str:
    """Return a text without what parts a kept reason from what it was made of."""
    return str(text).replace(_MARK, "")


def kept(value: object) -> str:
    """Return a reason as `Reason.kept` does, for msgspec, which encodes no kinds of texts but its own."""
    if isinstance(value, Reason):
        return value.kept()
    raise NotImplementedError(f"values of {type(value).__name__} are not encoded")


def restored(value: Any) -> Any:
    """Return a value of JSON with the reasons that were kept in it."""
    if isinstance(value, str):
        return Reason.restored(value)
    if isinstance(value, list | tuple):
        return [restored(each) for each in value]
    return {name: restored(each) for name, each in value.items()} if isinstance(value, dict) else value


def with_kept(value: Any) -> Any:
    """Return a value of JSON with its reasons as `Reason.kept` has them."""
    if isinstance(value, str):
        return value.kept() if isinstance(value, Reason) else without_mark(value)
    if isinstance(value, list | tuple):
        return [with_kept(each) for each in value]
    return {name: with_kept(each) for name, each in value.items()} if isinstance(value, dict) else value


def plain(value: object) -> str:
    """Return the text of a reason, for msgspec, which encodes no kinds of texts but its own."""
    if isinstance(value, Reason):
        return str(value)
    raise NotImplementedError(f"values of {type(value).__name__} are not encoded")


@lru_cache(maxsize=256)  # of hundreds of rows most say the same, and are read once a second
def _restored(said: str, made_of: str) -> str:
    try:
        made = _rich(json.loads(made_of), _DEEPEST)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return said
    return made if isinstance(made, Reason) and without_mark(made) == said else said


def _simple(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    return words_of(value) if isinstance(value, BaseException) else str(value)


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
        if not name.isidentifier() or not _FORM.fullmatch(form or "") or conversion not in {None, "r"}:
            raise ValueError("not a name")
        yield name
