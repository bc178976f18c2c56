"""The settings of a panel: all groups, and what belongs to none. Checks values and reads nothing.

Each field has its unit, and the reason for its default, in its description.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from wgfleet.panel.settings.acme import AcmeSettings
from wgfleet.panel.settings.api import ApiSettings
from wgfleet.panel.settings.dns import DnsSettings
from wgfleet.panel.settings.door import DoorSettings
from wgfleet.panel.settings.drain import DrainSettings
from wgfleet.panel.settings.enrollment import CertificateSettings, EnrollmentSettings
from wgfleet.panel.settings.fields import Addresses, ListOf, web_address
from wgfleet.panel.settings.floating import FloatingAddressSettings
from wgfleet.panel.settings.health import HealthSettings
from wgfleet.panel.settings.listeners import Listener, parse_listener
from wgfleet.panel.settings.logs import LogSettings
from wgfleet.panel.settings.panel_node import PanelNodeSettings
from wgfleet.panel.settings.retention import AuditSettings, RetentionSettings
from wgfleet.panel.settings.self_service import SelfServiceSettings
from wgfleet.panel.settings.tls import TlsSettings
from wgfleet.panel.settings.usage import UsageSettings
from wgfleet.protocol.domains import parse_domain

ListenerText = Annotated[Listener, BeforeValidator(parse_listener), PlainSerializer(str)]
Listeners = Annotated[tuple[ListenerText, ...], *ListOf, Field(min_length=1)]


# What stands behind postgresql+psycopg:// as SQLAlchemy reads it.
_POSTGRESQL = re.compile(r"([^@]*@)?(\[[^/?]+\]|[^/:?]*)(:[0-9]{1,5})?(/.*)?(\?.*)?", re.DOTALL)


@dataclass(frozen=True)
class SettingPlaces:
    """Where settings come from, by their dotted names; settings are the same wherever they come from."""

    by_key: Mapping[str, str] = field(default_factory=dict, compare=False)


class Settings(BaseSettings):
    """All settings of a panel. `Settings()` holds the defaults; `load_settings` reads file and environment."""

    model_config = SettingsConfigDict(
        env_prefix="WGFLEET_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    _places: SettingPlaces = PrivateAttr(default_factory=SettingPlaces)

    data_dir: Path = Field(
        default=Path("/var/lib/wgfleet"),
        description="Directory of the master key, the SQLite database and the panel node's agent. Only its owner may "
        "enter.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="SQLAlchemy URL: sqlite:////PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME. Default: "
        "panel.sqlite in data_dir. Of several panels on one PostgreSQL database one decides, the others wait.",
    )
    listen: Listeners = Field(
        default=(Listener("http", "127.0.0.1", 8080),),
        description="Where to listen: ADDRESS:PORT, or with http:// or https://. Loopback is plain http unless it says "
        "https://; any other address is https, always.",
    )
    public_url: Annotated[str | None, AfterValidator(web_address)] = Field(
        default=None,
        description="URL under which nodes reach the panel, with the path of a proxy if it has one; it goes into "
        "the join command. Default: the address that the command was asked for at.",
    )
    own_addresses: Addresses = Field(
        default=(),
        description="Addresses from which this panel reaches its nodes: pools and networks behind peers that contain "
        "one are refused, since the nodes' answers would go into the tunnel. Empty: those of the listeners, of "
        "public_url (a name is looked up), and those with which this machine goes out. A panel behind NAT whose "
        "private network is also that of a site lists its public address here.",
    )
    tls: TlsSettings = TlsSettings()
    acme: AcmeSettings = AcmeSettings()
    api: ApiSettings = ApiSettings()
    door: DoorSettings = DoorSettings()
    panel_node: PanelNodeSettings = PanelNodeSettings()
    drain: DrainSettings = DrainSettings()
    health: HealthSettings = HealthSettings()
    dns: DnsSettings = DnsSettings()
    floating: FloatingAddressSettings = FloatingAddressSettings()
    enrollment: EnrollmentSettings = EnrollmentSettings()
    certificates: CertificateSettings = CertificateSettings()
    audit: AuditSettings = AuditSettings()
    retention: RetentionSettings = RetentionSettings()
    usage: UsageSettings = UsageSettings()
    self_service: SelfServiceSettings = SelfServiceSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - signature of pydantic-settings
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the names are those of pydantic-settings
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the names are those of pydantic-settings
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the names are those of pydantic-settings
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the constructor only, so that `load_settings` alone decides what is read."""
        return (init_settings,)

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        kind, _, rest = value.get_secret_value().partition("://")
        if kind == "sqlite" and rest.startswith("/"):
            if rest.removeprefix("/").partition("?")[0] in ("", ":memory:"):
                raise ValueError("names no file; write sqlite:////PATH")
        elif kind != "postgresql+psycopg":
            raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
        elif _POSTGRESQL.fullmatch(rest) is None:
            raise ValueError(
                "has no port of digits; write postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME, and in "
                "user and password %40 for @, %3A for : and %2F for /"
            )
        return value

    @field_validator("data_dir")
    @classmethod
    def _usable_directory(cls, value: Path) -> Path:
        if str(value) == ".":  # so reads an empty text, as of a variable that is not set
            raise ValueError("names no directory; write one such as /var/lib/wgfleet")
        if value.parts[0].startswith("~"):
            raise ValueError(f"{value} begins with ~, which only a shell knows; write the whole path")
        if "?" in str(value):  # all behind it would be options of the database
            raise ValueError(f"{value} has a question mark, which no data directory may have")
        if "\0" in str(value):
            raise ValueError("has a character that no path has")
        return value

    @model_validator(mode="after")
    def _one_certificate(self) -> Self:
        if self.tls.plain_listen and not (self.public_url or "").startswith("https://"):
            raise ValueError("tls.plain_listen: where are browsers sent on to? Give public_url, with https://")
        if self.acme.directory is None:
            return self
        if self.tls.certificate_file is not None:
            raise ValueError("acme.directory and tls.certificate_file are two certificates for one panel: choose one")
        if not self.acme_names():
            raise ValueError("acme.names: which name? Give it here, or as the host of public_url; a CA wants a domain")
        return self

    def acme_names(self) -> tuple[str, ...]:
        """Return the names that a CA is asked for; none where it is not to be asked."""
        if self.acme.directory is None:
            return ()
        if self.acme.names:
            return self.acme.names
        try:
            return (parse_domain(urlsplit(self.public_url or "").hostname or "", "name"),)
        except ValueError:
            return ()

    @property
    def base_path(self) -> str:
        """Return the path under which a proxy serves the panel, such as `/vpn`; empty: it serves it at the top."""
        return urlsplit(self.public_url or "").path.rstrip("/")

    @property
    def store_url(self) -> str:
        """The database's URL with its password: never log it."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'panel.sqlite'}"

    def own_hosts(self) -> dict[str, str]:
        """Return the panel's addresses and names that are settings, each with what it is in words."""
        if self.own_addresses:
            return dict.fromkeys(self.own_addresses, "an address of the panel (own_addresses)")
        found = {listener.host: "where the panel listens" for listener in self.listen}
        if url := urlsplit(self.public_url or "").hostname:
            found[url] = "the panel's public_url"
        return {host: words for host, words in found.items() if host not in {"0.0.0.0", "::"}}

    def from_places(self, places: Mapping[str, str]) -> Self:
        """Note where settings come from, by their dotted names."""
        self._places = SettingPlaces(places)
        return self

    def place_of(self, key: str) -> str | None:
        """Return where a setting comes from: a file, `environment` or `command line`; None: its default."""
        return self._places.by_key.get(key)
