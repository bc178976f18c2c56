"""Texts that no program can send on: halves of characters, which bytes of names and escapes of JSON become."""

from typing import Any

from wgfleet.protocol.reasons import Reason

SIGN = "\N{REPLACEMENT CHARACTER}"


def whole_characters(text: str) -> str:
    """Return a text with a sign in place of each half of a character; whole ones that were given in halves are whole.

    A `Reason` stays one.
    """
    if isinstance(text, Reason):
        return Reason(text.template, **{name: all_whole(value) for name, value in text.values.items()})
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def all_whole(value: Any) -> Any:
    """Return a value with all texts in it as `whole_characters` has them."""
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, list | tuple):
        return [all_whole(each) for each in value]
    if isinstance(value, dict):
        return {name: all_whole(each) for name, each in value.items()}
    return value
