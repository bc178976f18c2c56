"""Settings of TLS on the panel's own listeners."""

from typing import Self

from pydantic import Field, FilePath, model_validator

from wgfleet.panel.settings.fields import Group, Names


class TlsSettings(Group):
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
