"""Lenient decoding of what is stored: a later release may have written it, and this one starts all the same.

Requests are strict, so that a wrong field is said to who sent it. What is on disk was checked when it came.
"""

from typing import Any, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T")


def read(raw: bytes, kind: type[T]) -> tuple[T, tuple[str, ...]]:
    """Decode JSON; return it and the names of the fields that this release does not know, which are skipped.

    Raises `msgspec.MsgspecError` for anything else that is wrong with it.
    """
    try:
        return msgspec.json.decode(raw, type=kind), ()
    except msgspec.ValidationError:
        unknown: dict[str, None] = {}
        pruned = _prune(msgspec.json.decode(raw), inspect.type_info(kind), unknown)
        if not unknown:
            raise
        return msgspec.convert(pruned, kind), tuple(unknown)


def _prune(value: Any, kind: inspect.Type, unknown: dict[str, None], field: str = "") -> Any:
    if isinstance(kind, inspect.UnionType):
        inner = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        return value if value is None or len(inner) != 1 else _prune(value, inner[0], unknown, field)
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        fields = {each.encode_name: each.type for each in kind.fields}
        kept = {name: item for name, item in value.items() if name in fields or name == kind.tag_field}
        dotted = {name: f"{field}.{name}" if field else name for name in value}
        unknown.update((dotted[name], None) for name in value if name not in kept)
        return {n: _prune(v, fields[n], unknown, dotted[n]) if n in fields else v for n, v in kept.items()}
    if isinstance(kind, inspect.DictType) and isinstance(value, dict):
        # Of ten thousand peers the same is said: the key is no part of the name.
        return {name: _prune(item, kind.value_type, unknown, field) for name, item in value.items()}
    if isinstance(kind, inspect.VarTupleType) and isinstance(value, list):
        return [_prune(item, kind.item_type, unknown, field) for item in value]
    return value
