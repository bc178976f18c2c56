"""The settings: one field each, with its unit and the reason for its default. Checks values and reads nothing."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FilePath,
    PlainSerializer,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from wgfleet.panel.domain.floating import GIVE_UP_AFTER_S
from wgfleet.panel.domain.health.votes import HealthRules
from wgfleet.panel.settings.listeners import Listener, parse_listener
from wgfleet.protocol.addresses import parse_address, parse_domain
from wgfleet.protocol.messages import AGENT_PORT

DAY_S = 86400


def _words(value: object) -> object:
    """Let the environment and the command line give a list as comma-separated text."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _address(text: str) -> str:
    return parse_address(text, "address")


def _name_or_address(text: str) -> str:
    try:
        return parse_address(text, "name")
    except ValueError:
        return parse_domain(text, "name")


ListOf = (NoDecode, BeforeValidator(_words))
Addresses = Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], *ListOf]
Names = Annotated[tuple[Annotated[str, AfterValidator(_name_or_address)], ...], *ListOf]
ListenerText = Annotated[Listener, BeforeValidator(parse_listener), PlainSerializer(str)]
Listeners = Annotated[tuple[ListenerText, ...], *ListOf, Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Days = Annotated[int, Field(ge=1, le=825)]  # more is refused by Apple's and other TLS libraries


class Group(BaseModel):
    """A table of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)


class Tls(Group):
    """TLS of the panel's own listeners. Without files, the panel's own CA issues the certificate."""

    certificate_file: FilePath | None = Field(
        default=None, description="PEM file with the certificate chain. It is read again when it changes."
    )
    key_file: FilePath | None = Field(default=None, description="PEM file with the private key of that certificate.")
    names: Names = Field(
        default=(),
        description="Names and addresses under which others reach the panel, for the certificate of its own CA. "
        "The listening addresses and the host name are added.",
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together: give both, or none for the panel's own CA")
        return self


class PanelNode(Group):
    """The node that the panel makes of its own machine, where that machine has WireGuard and it runs as root."""

    enabled: bool = Field(default=True, description="false: do not make this machine a node.")
    endpoint_addresses: Addresses = Field(
        default=(), description="Public addresses that clients reach this machine at. Empty: that of the default route."
    )
    agent_port: Port = Field(default=AGENT_PORT, description="TCP port of its agent, on loopback.")


class Drain(Group):
    """How a node is taken out of a config."""

    grace_s: float = Field(
        default=30,
        ge=0,
        le=DAY_S,
        description="Seconds to wait beyond the record's TTL for clients that cannot be called over. Resolvers and "
        "clients are known to keep a name a little longer than its TTL.",
    )
    takeover_batch: int = Field(
        default=500,
        ge=1,
        le=10_000,
        description="Live peers called over at a time. One call must stay well under its time-out.",
    )
    takeover_timeout_s: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="Seconds to wait for the handshakes of a batch. A handshake takes one round trip; a lost packet is "
        "sent again after 5 s, and the next round of the batch catches that.",
    )
    live_s: int = Field(
        default=180,
        ge=1,
        le=DAY_S,
        description="A peer counts as live when its last handshake is no older than this many seconds. WireGuard "
        "rejects a session's keys after 180 s.",
    )
    unreachable_s: float = Field(
        default=10,
        ge=0,
        le=DAY_S,
        description="Seconds that an agent may stay silent before a removal goes on without it; its interface is then "
        "deleted when it returns.",
    )


class Health(Group):
    """How the panel finds out that a node no longer serves, and when it may again."""

    interval_s: float = Field(
        default=0.25,
        ge=0.05,
        le=60,
        description="Seconds between two probes of a node by the panel. A failure is noticed after this "
        "times failures plus timeout_s. WireGuard answers a peer at most once in 20 ms.",
    )
    timeout_s: float = Field(
        default=0.3,
        gt=0,
        le=10,
        description="Seconds to wait for the answer to a probe. Round trips by cable stay below it, even "
        "to the other side of the Earth; raise it for satellite links.",
    )
    failures: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Probes in a row without an answer after which a vantage point counts a node as not reached. 1 "
        "makes a lost packet a failure; each more costs interval_s.",
    )
    cross_check_s: float = Field(
        default=2.0,
        ge=0.05,
        le=600,
        description="Seconds between two looks of nodes at each other while nobody misses any. Finds the node that "
        "the panel reaches and clients do not. Also the time in which a node may confirm what the panel misses, before "
        "it takes itself to be cut off.",
    )
    fresh_s: float = Field(
        default=5.0,
        ge=0.1,
        le=3600,
        description="Seconds after which what a vantage point saw no longer counts. Twice cross_check_s and more, so "
        "that one lost round silences nobody. A suspicion lasts as long at least, so that it can be seen.",
    )
    stable_s: float = Field(
        default=10.0,
        ge=0,
        le=DAY_S,
        description="Seconds for which a node that was down must answer before it is used again: longer than a machine "
        "that starts over and over stays up. Twice as long with each time that it was down within flap_window_s.",
    )
    stable_cap_s: float = Field(
        default=600.0,
        ge=0,
        le=DAY_S,
        description="Seconds that this grows to at most, so that a mended node is back soon.",
    )
    flap_window_s: float = Field(
        default=3600.0,
        ge=0,
        le=30 * DAY_S,
        description="Seconds after which it is forgotten that a node was down. Longer than stable_cap_s, or the growth "
        "would forget itself.",
    )

    give_up_after_s: float = Field(
        default=GIVE_UP_AFTER_S,
        ge=1,
        le=3600,
        description="Seconds after which a node that hears neither the panel nor any other node takes itself to be cut "
        "off and gives its floating addresses up. Longer than the hiccups of a network, for which a good node should "
        "keep them; short, because the panel has given them to another by then. A new value reaches the nodes when "
        "the panel starts with it.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.fresh_s < self.cross_check_s + self.timeout_s or self.fresh_s < self.interval_s + self.timeout_s:
            raise ValueError("fresh_s must be longer than cross_check_s or interval_s plus timeout_s: raise it")
        if not self.stable_s <= self.stable_cap_s <= self.flap_window_s:
            raise ValueError("stable_s, stable_cap_s and flap_window_s must not fall: raise the later")
        return self

    @property
    def rules(self) -> HealthRules:
        """What the decision needs of this."""
        return HealthRules(
            interval_s=self.interval_s,
            failures=self.failures,
            cross_check_s=self.cross_check_s,
            fresh_s=self.fresh_s,
            stable_s=self.stable_s,
            stable_cap_s=self.stable_cap_s,
            flap_window_s=self.flap_window_s,
        )


class Dns(Group):
    """How the names of endpoint groups are published."""

    cloudflare_token: SecretStr | None = Field(
        default=None,
        description="API token for Cloudflare, with DNS:Edit on the zones, for endpoint groups that have none of their "
        "own. Rather give it in the environment than in this file.",
    )
    cloudflare_url: str = Field(
        default="https://api.cloudflare.com/client/v4",
        pattern=r"^https?://[^?#\s]+$",
        description="Where that token is sent to: another address is for a gateway, or a stand-in in tests.",
    )
    check_interval_s: float = Field(
        default=60,
        ge=1,
        le=DAY_S,
        description="Seconds between two looks at a name that is as it should be: as long may a change by somebody "
        "else go unseen. Each look is one call of the provider.",
    )
    gather_s: float = Field(
        default=0.2,
        ge=0,
        le=60,
        description="Seconds for which addresses to be added are gathered, so that several cost one change. Nothing "
        "that is to be removed waits for it.",
    )
    retry_cap_s: float = Field(
        default=300,
        ge=1,
        le=DAY_S,
        description="Seconds between two tries at most while a provider fails; they begin at 1 and double. There is no "
        "last try.",
    )
    approval_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="A deletion of more than this share of a name's records waits for an administrator's approval, "
        "unless people removed those nodes. 1: never. That most of a large fleet dies at once is rather our mistake.",
    )
    approval_records: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Records that such a deletion has at least. In a small fleet two dead nodes of three go by "
        "themselves: each was found dead by most of those who look, and min_nodes is kept.",
    )
    save_check_s: float = Field(
        default=3,
        ge=0,
        le=30,
        description="Seconds that saving an endpoint group waits for the provider to say whether zone and credential "
        "are right; what it says later shows at the name. 0: it is not asked.",
    )


class Enrollment(Group):
    """How new agents join."""

    token_lifetime_s: int = Field(
        default=3600, ge=60, le=30 * DAY_S, description="Seconds for which a join token can be used. It works once."
    )


class Certificates(Group):
    """Lifetimes of what the panel's CA issues, in days. All are renewed after two thirds of their life."""

    agent_days: Days = Field(
        default=90, description="Certificates of agents. A node that is cut off for a third of this must enrol again."
    )
    panel_days: Days = Field(default=90, description="The certificate with which the panel calls agents.")
    server_days: Days = Field(default=90, description="The certificate of the panel's listeners.")


class Audit(Group):
    """The log of who changed what."""

    keep_days: int = Field(
        default=365,
        ge=0,
        le=36_500,
        description="Days after which an entry is deleted; 0 keeps all. A year covers what is looked for once a year.",
    )


class Log(Group):
    """What the panel writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is written: debug, info, warning or error."
    )
    format: Literal["json", "text"] = Field(
        default="json", description="json: one object a line, for programs; text: for people."
    )


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

    data_dir: Path = Field(
        default=Path("/var/lib/wgfleet"),
        description="Directory of the master key, the SQLite database and the panel node's agent. Only its owner may "
        "enter.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="SQLAlchemy URL: sqlite:////PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME. Default: "
        "panel.sqlite in data_dir, which serves one panel process; several need PostgreSQL.",
    )
    listen: Listeners = Field(
        default=(Listener("http", "127.0.0.1", 8080),),
        description="Where to listen: ADDRESS:PORT, or with http:// or https://. Loopback is plain http unless it says "
        "https://; any other address is https, always.",
    )
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#\s]+$",
        description="URL under which nodes reach the panel; it goes into the join command. Default: the address "
        "that the command was asked for at.",
    )
    tls: Tls = Tls()
    panel_node: PanelNode = PanelNode()
    drain: Drain = Drain()
    health: Health = Health()
    dns: Dns = Dns()
    enrollment: Enrollment = Enrollment()
    certificates: Certificates = Certificates()
    audit: Audit = Audit()
    log: Log = Log()

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
        if value is not None and not value.get_secret_value().startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
        return value

    @property
    def store_url(self) -> str:
        """The database's URL with its password: never log it."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'panel.sqlite'}"
