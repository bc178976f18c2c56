"""Settings of TLS on the panel's own listeners."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from wgfleet.panel.settings.fields import File, Group, ListOf, Names
from wgfleet.panel.settings.listeners import Listener, parse_plain_listener

OptionalPlainListeners = Annotated[
    tuple[Annotated[Listener, BeforeValidator(parse_plain_listener), PlainSerializer(str)], ...], *ListOf
]


class TlsSettings(Group):
    """TLS of the panel's own listeners. Without files, the panel's own CA issues the certificate."""

    certificate_file: File | None = Field(
        default=None, description="PEM file with the certificate chain. It is read again when it changes."
    )
    key_file: File | None = Field(default=None, description="PEM file with the private key of that certificate.")
    plain_listen: OptionalPlainListeners = Field(
        default=(),
        description="Where browsers that come by plain HTTP are sent on to public_url: 0.0.0.0:80 with a certificate "
        "from files that they accept. Nothing else is answered there. With acme, acme.listen does it.",
    )
    names: Names = Field(
        default=(),
        description="Names and addresses under which others reach the panel, for the certificate of its own CA. "
        "The listening addresses and the host name are added.",
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file belong together: give both, or none for the panel's own CA")
        if self.plain_listen and self.certificate_file is None:
            raise ValueError("plain_listen is for a certificate from files; with one from a CA (acme), use acme.listen")
        return self
