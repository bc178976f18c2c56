"""The settings file as documentation: every key with its description and default, generated from the model."""

import textwrap
from collections.abc import Iterator

import tomlkit
from pydantic import BaseModel

from wgfleet.panel.settings.model import Settings

_WIDTH = 100
_HEAD = (
    "Settings of the wgfleet panel, with their defaults. Each can be given in the environment as well: WGFLEET_ and "
    "the key in capitals, with two underscores after the group (WGFLEET_DRAIN__GRACE_S=60). Lists are comma-separated "
    "there."
)


def sample() -> str:
    """Return a TOML file with all settings at their defaults; keys without a default are commented out."""
    return "\n".join([*_comment(_HEAD), *_fields(Settings())]) + "\n"


def _fields(model: BaseModel) -> Iterator[str]:
    values = model.model_dump(mode="json")
    for name, field in type(model).model_fields.items():
        group = getattr(model, name)
        yield ""
        if isinstance(group, BaseModel):
            yield from _comment(type(group).__doc__ or "")
            yield f"[{name}]"
            yield from _fields(group)
            continue
        yield from _comment(field.description or "")
        value = values[name]
        yield f'#{name} = ""' if value is None else f"{name} = {_text(value)}"


def _text(value: object) -> str:
    return "{}" if value == {} else tomlkit.item(value).as_string()


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]
