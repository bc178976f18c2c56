"""Tables of the certificate that browsers accept, and of what is answered to the CA that issues it."""

from sqlalchemy.orm import Mapped, mapped_column

from wgfleet.panel.store.tables.base import Base, SaidText


class WebCertificate(Base):
    """The certificate from a public CA; one row once one was asked for.

    `directory`: the CA's, to which the account belongs. `names`, `chain` (PEM), `key_sealed`, `obtained_at` and
    `expires_at` are of what is shown; none until there is one. `failures`: of tries in a row, `error` the last one's;
    `next_at`: before then there is no other.
    """

    __tablename__ = "web_certificates"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    directory: Mapped[str]
    account_key_sealed: Mapped[bytes]
    names: Mapped[list[str]]
    chain: Mapped[str | None]
    key_sealed: Mapped[bytes | None]
    obtained_at: Mapped[float | None]
    expires_at: Mapped[float | None]
    failures: Mapped[int]
    error: Mapped[str | None] = mapped_column(SaidText)
    next_at: Mapped[float]


class AcmeAnswer(Base):
    """What is answered to a CA's question (http-01, RFC 8555 section 8.3), until it has issued."""

    __tablename__ = "acme_answers"
    token: Mapped[str] = mapped_column(primary_key=True)
    answer: Mapped[str]


class AcmeText(Base):
    """A TXT record by which a CA sees that a name is ours (dns-01, RFC 8555 section 8.4).

    Kept before the record is made, and until it is removed: it may be there.
    """

    __tablename__ = "acme_texts"
    name: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(primary_key=True)
