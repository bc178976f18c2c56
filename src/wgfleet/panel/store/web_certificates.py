"""Rows of the certificate that browsers accept, and of the answers by which a CA sees that a name is ours."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import AcmeAnswer, AcmeText, WebCertificate

ONLY_ROW = 1


def get(tx: Tx) -> WebCertificate | None:
    """Return the row; None: none was ever asked for."""
    return tx.session.get(WebCertificate, ONLY_ROW)


def add(tx: Tx, row: WebCertificate) -> None:
    """Add the row."""
    tx.session.add(row)
    tx.session.flush()


def add_answer(tx: Tx, token: str, answer: str) -> None:
    """Add what is answered to a question, or have it answered in another way."""
    tx.session.merge(AcmeAnswer(token=token, answer=answer))


def answer(tx: Tx, token: str) -> str | None:
    """Return what is answered to a question; None: to this one, nothing."""
    return tx.session.scalar(select(AcmeAnswer.answer).where(AcmeAnswer.token == token))


def forget_answers(tx: Tx) -> None:
    """Answer no question any more."""
    tx.session.execute(delete(AcmeAnswer))


def add_text(tx: Tx, name: str, text: str) -> None:
    """Note a TXT record that is about to be made."""
    tx.session.merge(AcmeText(name=name, text=text))


def texts(tx: Tx) -> Sequence[tuple[str, str]]:
    """Return the TXT records that may be there: name and text of each."""
    return [(row.name, row.text) for row in tx.session.scalars(select(AcmeText).order_by(AcmeText.name, AcmeText.text))]


def forget_text(tx: Tx, name: str, text: str) -> None:
    """Forget a TXT record that is not there any more."""
    tx.session.execute(delete(AcmeText).where(AcmeText.name == name, AcmeText.text == text))
