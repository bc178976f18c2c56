"""Settings of a certificate that browsers accept: from which CA, for which names, where its questions are answered."""

import json
import re
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, Secret, SecretStr, model_validator
from pydantic_settings import NoDecode

from wgfleet.panel.settings.fields import Domains, File, Group, worded
from wgfleet.panel.settings.listeners import Listener
from wgfleet.panel.settings.tls import OptionalPlainListeners

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LETS_ENCRYPT_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
_SHORT = {"letsencrypt": LETS_ENCRYPT, "letsencrypt-staging": LETS_ENCRYPT_STAGING}
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{16,}={0,2}")

PlainListeners = Annotated[OptionalPlainListeners, Field(min_length=1)]


def _table(value: object) -> object:
    """Let the environment give a table as JSON."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None  # without the value itself
    if not isinstance(found, dict):
        raise ValueError("is not an object of JSON, such as {}")  # noqa: TRY004 - pydantic takes ValueErrors
    return found


DnsOptions = Annotated[Secret[dict[str, Any]] | None, NoDecode, BeforeValidator(_table)]


def _directory(value: object) -> object:
    return _SHORT.get(value, value) if isinstance(value, str) else value


class AcmeSettings(Group):
    """A certificate from a CA that speaks ACME (RFC 8555). Off unless `directory` is set.

    The panel's own CA goes on issuing for all other names and addresses, and for agents.
    """

    directory: Annotated[
        str | None,
        BeforeValidator(_directory),
        worded(r"https://[^\s]+", "letsencrypt, letsencrypt-staging, or the https:// URL of a CA's directory"),
    ] = Field(
        default=None,
        description="`letsencrypt`, `letsencrypt-staging` for tries, or the directory URL of another CA.",
    )
    terms_agreed: bool = Field(default=False, description="true: you have read the CA's terms of service and agree.")
    email: Annotated[str | None, worded(r"[^@\s]+@[^@\s]+", "an address such as admin@example.com")] = Field(
        default=None,
        description="Where the CA writes to when something is wrong with the certificate. Not every CA does.",
    )
    names: Domains = Field(
        default=(), description="Names to be in the certificate, 100 at most. Default: the host of public_url."
    )
    listen: PlainListeners = Field(
        default=(Listener("http", "0.0.0.0", 80), Listener("http", "::", 80)),
        description="Where the CA's questions are answered: it asks at port 80 of each name, on all its addresses. "
        "Browsers that come there are sent to public_url, or to the first of the names, by https.",
    )
    dns_provider: str | None = Field(
        default=None,
        min_length=1,
        description="DNS provider (docs/dns.md) that puts the answer as a TXT record beside each name, for a panel "
        "whose port 80 no CA reaches. Then nothing listens there, unless `listen` is set.",
    )
    dns_zone: str | None = Field(
        default=None, min_length=1, description="The zone that the names are in, as that provider names it."
    )
    dns_options: DnsOptions = Field(
        default=None,
        description="Options of that provider: a table, or JSON in the environment, where what is secret belongs. What "
        "the settings of `dns` have for it need not be repeated.",
    )
    dns_wait_s: float = Field(
        default=120,
        ge=0,
        le=3600,
        description="The most seconds that the CA waits to be told, until all name servers of a name have its record.",
    )
    eab_key_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="For CAs that know their customers (external account binding, as ZeroSSL and Google): the name of "
        "the key that yours gave you.",
    )
    eab_hmac_key: SecretStr | None = Field(
        default=None, description="That key, as the CA shows it (base64url). Only the first call of an account has it."
    )
    ca_file: File | None = Field(
        default=None,
        description="PEM file with the CA that the directory's own https is checked with, if it is private.",
    )

    @property
    def provider_options(self) -> dict[str, Any]:
        """The options of the DNS provider with its secrets: never log them."""
        return {} if self.dns_options is None else self.dns_options.get_secret_value()

    @property
    def listens(self) -> tuple[Listener, ...]:
        """Where port 80's door is: nowhere by default where the CA's questions are answered by DNS."""
        return () if self.dns_provider is not None and "listen" not in self.model_fields_set else self.listen

    @model_validator(mode="after")
    def _agreed(self) -> Self:
        if self.directory is not None and not self.terms_agreed:
            raise ValueError(
                "the CA wants to be told that you agree to its terms: read them, and set terms_agreed = true"
            )
        if (self.dns_provider is None) != (self.dns_zone is None):
            raise ValueError("dns_provider and dns_zone belong together: give both, or neither")
        if (self.eab_key_id is None) != (self.eab_hmac_key is None):
            raise ValueError("eab_key_id and eab_hmac_key belong together: give both, as the CA shows them, or neither")
        if self.eab_hmac_key is not None and not _BASE64URL.fullmatch(self.eab_hmac_key.get_secret_value()):
            raise ValueError("eab_hmac_key is not base64url (A-Z a-z 0-9 - _): copy it again from the CA's page")
        return self
