"""Plugins with options: what is installed under an entry point group, and the options that each takes.

DNS and address providers are such plugins. A plugin is an object with a `name` and `Options`, a pydantic model whose
secret fields are `SecretStr`. Options are stored as a JSON object, sealed (`store.sealed`). Must not call a plugin.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from importlib.metadata import entry_points
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, get_args

import structlog
from pydantic import BaseModel, SecretStr, ValidationError

from wgfleet.panel import complaints
from wgfleet.panel.errors import Invalid, PermanentError
from wgfleet.protocol.reasons import Reason

log = structlog.get_logger()

HIDDEN = "(set)"  # what is shown of a secret


class Plugin(Protocol):
    """What an entry point holds."""

    name: str
    Options: type[BaseModel]


@dataclass(frozen=True, slots=True)
class PanelSetting:
    """Mark of an option that comes from the panel's settings unless all secrets are given.

    `path` is the dotted name of the setting.
    """

    path: str


T = TypeVar("T", bound=Plugin)


@dataclass(frozen=True)
class Plugins(Generic[T]):
    """The plugins of one group by name. A subclass says which group, and what the API calls the fields of its options.

    `broken`: why an installed one cannot be used. `defaults`: options from the panel's settings.
    """

    group: ClassVar[str]
    subject: ClassVar[str]
    name_field: ClassVar[str]
    options_field: ClassVar[str]
    kept_with: ClassVar[str]  # what must stay the same for a secret to be kept

    types: Mapping[str, T]
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    broken: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def installed(cls, settings: object = None) -> Self:
        """Find the plugins in the panel's environment; one that cannot be loaded is logged and affects no other."""
        types: dict[str, T] = {}
        defaults: dict[str, Mapping[str, Any]] = {}
        broken: dict[str, str] = {}
        for point in entry_points(group=cls.group):
            try:
                loaded = _checked_type(point.load())
                defaults[point.name] = {} if settings is None else dict(_defaults(loaded, settings))
                types[point.name] = loaded
            except Exception as error:
                log.exception("plugin.broken", group=cls.group, plugin=point.name, entry_point=point.value)
                broken[point.name] = f"{point.value}: {error}"
        return cls(types, {name: found for name, found in defaults.items() if found}, broken)

    @property
    def names(self) -> list[str]:
        """The names of those that can be used."""
        return sorted(self.types)

    def find(self, name: str) -> T:
        """Return a plugin; raise `PermanentError` if it is not installed or cannot be loaded."""
        if name in self.broken:
            raise PermanentError(
                Reason(
                    "{subject} {name!r} cannot be loaded from {broken}",
                    subject=self.subject,
                    name=name,
                    broken=self.broken[name],
                )
            )
        if name not in self.types:
            raise PermanentError(
                Reason(
                    "there is no {subject} {name!r}; installed: {names}",
                    subject=self.subject,
                    name=name,
                    names=", ".join(self.names) or "none",
                )
            )
        return self.types[name]

    def require(self, name: str) -> T:
        """Return a plugin that somebody asks for; raise `Invalid` with the field that names it."""
        try:
            return self.find(name)
        except PermanentError as error:
            raise Invalid(str(error), field=self.name_field) from None

    def options(self, name: str, given: Mapping[str, Any]) -> BaseModel:
        """Return the options to make a plugin's object from, defaults included; raise `Invalid` if they do not fit."""
        defaults, has_own = self.defaults.get(name, {}), self.secrets(name) <= given.keys()
        if not has_own and (overridden := sorted(defaults.keys() & given.keys())):
            # Otherwise the panel's own credential could be sent to any server.
            raise Invalid(
                Reason(
                    "{overridden} can only be overridden together with this group's own credential",
                    overridden=", ".join(overridden),
                ),
                field=self.options_field,
            )
        try:
            return self.find(name).Options.model_validate(dict(given) if has_own else {**defaults, **given})
        except ValidationError as error:
            raise self._invalid(name, error) from None

    def canonical(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the given options, and no others, as JSON to be stored: validated, with secrets in the clear."""
        model = self.options(name, given)
        return {key: _plain(value) for key, value in model.model_dump(include=set(given), exclude_unset=True).items()}

    def with_kept(self, name: str, given: Mapping[str, Any] | None, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Return the given options, all of `kept` if None, with secrets from `kept` that are left out or `HIDDEN`.

        Secrets are kept only if all other options are unchanged: a caller who may set options but does not know the
        secret must not have it sent to a server of their own.
        """
        secrets = self.secrets(name)
        asked = {key: value for key, value in kept.items() if key not in secrets} if given is None else dict(given)
        hidden = {key for key in secrets if asked.get(key) == HIDDEN}
        merged = {key: value for key, value in asked.items() if key not in hidden}
        unchanged = _without(merged, secrets) == _without(kept, secrets)
        for key in sorted(hidden):
            if not unchanged or key not in kept:
                raise Invalid(
                    Reason(
                        "re-enter this secret: it is kept only if {kept_with} are unchanged", kept_with=self.kept_with
                    ),
                    field=f"{self.options_field}.{key}",
                )
        if unchanged:
            merged |= {key: value for key, value in kept.items() if key in secrets and key not in merged}
        return merged

    def secrets(self, name: str) -> frozenset[str]:
        """Return the names of the options that are never shown; none if the plugin cannot be used."""
        found = self.types.get(name)
        fields = {} if found is None else found.Options.model_fields
        return frozenset(key for key, info in fields.items() if _holds_secret(info.annotation))

    def shown(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options as they may be shown: of a secret, or of what no plugin knows, only that it is set."""
        found = self.types.get(name)
        public = set() if found is None else found.Options.model_fields.keys() - self.secrets(name)
        return {key: value if key in public else HIDDEN for key, value in options.items()}

    def _invalid(self, name: str, error: ValidationError) -> Invalid:
        """Name the first option that is wrong, and say of how many others."""
        # The input is not repeated: it may be a secret.
        first, *others = error.errors(include_url=False, include_input=False)
        message = complaints.words(dict(first))
        if first["type"] == "missing":
            setting = _setting(self.types[name].Options, str(first["loc"][0]))
            if setting is not None:
                variable = f"WGFLEET_{setting.path.upper().replace('.', '__')}"
                message = Reason(
                    "must be given, or {setting} in the panel's settings", setting=f"{setting.path} ({variable})"
                )
        elif first["type"] == "extra_forbidden":
            options = ", ".join(self.types[name].Options.model_fields) or Reason("none")
            message = Reason("is no option of it; there are {options}", options=options)
        names = list(dict.fromkeys(".".join(map(str, each["loc"])) for each in others if each["loc"]))
        if names:
            message = Reason("{what} (wrong too: {names})", what=message, names=", ".join(names))
        return Invalid(message, field=".".join([self.options_field, *map(str, first["loc"])]))


def _checked_type(loaded: Any) -> Any:
    options = getattr(loaded, "Options", None)
    if not (isinstance(options, type) and issubclass(options, BaseModel)):
        raise TypeError("not a plugin: its Options must be a pydantic model")
    return loaded


def _defaults(loaded: Plugin, settings: object) -> Iterator[tuple[str, Any]]:
    """Yield the options that come from the panel's settings; none of them unless all are set."""
    marked = {key: _setting(loaded.Options, key) for key in loaded.Options.model_fields}
    values = {
        key: reduce(getattr, setting.path.split("."), settings)
        for key, setting in marked.items()
        if setting is not None
    }
    if None not in values.values():
        yield from ((key, _plain(value)) for key, value in values.items())


def _setting(options: type[BaseModel], key: str) -> PanelSetting | None:
    info = options.model_fields.get(key)
    return next((mark for mark in info.metadata if isinstance(mark, PanelSetting)), None) if info else None


def _without(options: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in keys}


def _holds_secret(annotation: Any) -> bool:
    """Tell whether a secret can be anywhere in a value of that type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(_holds_secret(info.annotation) for info in annotation.model_fields.values())
    return annotation is SecretStr or any(_holds_secret(inner) for inner in get_args(annotation))


def _plain(value: Any) -> Any:
    """Turn a validated value into JSON, with secrets in the clear."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
