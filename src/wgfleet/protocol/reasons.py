"""Reasons: sentences that programs read in English and people in their language, as a template and its values.

A reason is a text, its English one, so who does not care passes it on as such. Who shows it to a person looks the
template up in the catalog of that person's language and puts the values in (`wgfleet.panel.web.reasons`).
"""

import json
import re
from typing import Any, Self

_JOINER = re.compile(r"(?<!\\)((?:\\\\)*)\\u(200[cd])")
_MARK = "\x1f"  # a unit separator: no sentence has one


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
        """Return it as one text that `restored` reads."""
        return f"{self}{_MARK}{json.dumps(_plain(self), separators=(',', ':'), ensure_ascii=False)}"

    @classmethod
    def restored(cls, text: str) -> str:
        """Return the reason that was kept as a text; a text that is none, and one that is damaged, as it is."""
        said, mark, made_of = text.partition(_MARK)
        if not mark:
            return text
        try:
            return str.__str__(said) if not isinstance(made := _rich(json.loads(made_of)), Reason) else made
        except (ValueError, LookupError, TypeError, AttributeError):
            return said


def template(text: str) -> str:
    """Mark a text as the template of a reason, where that is made elsewhere."""
    return text


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


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        template, values = value
        return Reason(template, **{name: _rich(each) for name, each in values.items()})
    return value
