"""Which DNS providers there are, and what each lets an endpoint group set. Must not call a provider."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

import structlog
from pydantic import BaseModel, SecretStr, ValidationError

from wgfleet.panel.dns.providers import ENTRY_POINTS, Provider, ProviderType
from wgfleet.panel.errors import Invalid, PermanentError

log = structlog.get_logger()

HIDDEN = "(set)"  # what is shown of a secret


@dataclass(frozen=True)
class Registry:
    """The provider types by name. `defaults`: options that a provider gets where the endpoint group sets none."""

    types: Mapping[str, ProviderType]
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    @classmethod
    def installed(cls, defaults: Mapping[str, Mapping[str, Any]] | None = None) -> "Registry":
        """Find what is installed beside the panel; a plugin that does not load keeps only its own names waiting."""
        types: dict[str, ProviderType] = {}
        for point in entry_points(group=ENTRY_POINTS):
            try:
                types[point.name] = point.load()
            except Exception:
                log.exception("dns.plugin_broken", plugin=point.name, module=point.module)
        return cls(types, defaults or {})

    def type(self, name: str, field: str = "dns.provider") -> ProviderType:
        """Return a provider's type."""
        found = self.types.get(name)
        if found is None:
            known = ", ".join(sorted(self.types)) or "none"
            raise Invalid(f"there is no DNS provider {name!r}; installed: {known}", field=field)
        return found

    def checked(self, name: str, options: Mapping[str, Any], field: str = "dns.options") -> dict[str, Any]:
        """Return a provider's options in canonical form as JSON has them, secrets in the clear; only those given."""
        model = self._model(name, options, field)
        given = model.model_dump(include=set(options), exclude_unset=True)
        return {key: _plain(value) for key, value in given.items()}

    def secrets(self, name: str) -> frozenset[str]:
        """Return the names of the options that are never shown; all of them where the provider is not installed."""
        found = self.types.get(name)
        if found is None:
            return frozenset()
        return frozenset(key for key, info in found.Options.model_fields.items() if _is_secret(info.annotation))

    def shown(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options as they may be shown: of a secret, only that it is set."""
        if name not in self.types:
            return dict.fromkeys(options, HIDDEN)
        hidden = self.secrets(name)
        return {key: HIDDEN if key in hidden else value for key, value in options.items()}

    def open(self, name: str, zone: str, options: Mapping[str, Any], field: str = "dns.options") -> Provider:
        """Make a provider. Raise `Invalid` where its options do not fit, `PermanentError` where it is not installed."""
        if name not in self.types:
            known = ", ".join(sorted(self.types)) or "none"
            raise PermanentError(f"DNS provider {name!r} is not installed (there are: {known}); install it again")
        return self.types[name](zone, self._model(name, options, field))

    def _model(self, name: str, options: Mapping[str, Any], field: str) -> BaseModel:
        kind, defaults = self.type(name), self.defaults.get(name, {})
        if defaults.keys() & options.keys() and not self.secrets(name) <= options.keys():
            # Else the panel's own credential could be sent wherever somebody likes.
            keys = ", ".join(sorted(defaults.keys() & options.keys()))
            raise Invalid(f"{keys} goes with a credential of this group's own; give that too", field=field)
        own = self.secrets(name) <= options.keys()
        try:
            return kind.Options.model_validate(dict(options) if own else {**defaults, **options})
        except ValidationError as error:
            # The input is not repeated: it may be a secret.
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            path = ".".join([field, *map(str, first["loc"])])
            message = str(first["msg"]).removeprefix("Value error, ")
            if first["type"] == "missing":
                message = "must be given"
                if name == "cloudflare" and first["loc"] == ("token",):
                    message += ", or dns.cloudflare_token in the panel's settings"
            raise Invalid(message[:1].lower() + message[1:], field=path) from None


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in getattr(annotation, "__args__", ())


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
