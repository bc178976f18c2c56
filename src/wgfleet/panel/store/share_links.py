"""Rows of links with which the file of a peer is fetched."""

from collections.abc import Sequence

from sqlalchemy import and_, case, delete, or_, select, update

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import ShareLink


def add(tx: Tx, link: ShareLink) -> None:
    """Add a link."""
    tx.session.add(link)
    tx.session.flush()


def of_peer(tx: Tx, peer_id: str) -> Sequence[ShareLink]:
    """Return the links of a peer, in the order they were made."""
    return tx.session.scalars(select(ShareLink).where(ShareLink.peer_id == peer_id).order_by(ShareLink.id)).all()


def by_digest(tx: Tx, digest: str, now: float) -> ShareLink | None:
    """Return the link of a secret, unless its time is over."""
    return tx.session.scalar(select(ShareLink).where(ShareLink.digest == digest, ShareLink.expires_at > now))


def get(tx: Tx, link_id: str, now: float) -> ShareLink | None:
    """Return a link, unless its time is over."""
    return tx.session.scalar(select(ShareLink).where(ShareLink.id == link_id, ShareLink.expires_at > now))


def opened(tx: Tx, link_id: str, by: str, now: float, since: float) -> bool:
    """Note that a link is opened; False: it is one for one time, which somebody else had.

    Who opened it, `by`, may do so again for as long as that was after `since`. Of two at once, one has it.
    """
    free = or_(
        ShareLink.one_time.is_(False),
        ShareLink.opened_at.is_(None),
        (ShareLink.opened_by == by) & (ShareLink.opened_at > since),
    )
    kept = and_(ShareLink.one_time, ShareLink.opened_at.is_not(None))
    changed = (
        update(ShareLink)
        .where(ShareLink.id == link_id, free)
        .values(
            uses=ShareLink.uses + 1,
            opened_at=case((kept, ShareLink.opened_at), else_=now),
            opened_by=case((kept, ShareLink.opened_by), else_=by),
        )
        .returning(ShareLink.id)
    )
    return tx.session.scalar(changed, execution_options={"synchronize_session": False}) is not None


def remove(tx: Tx, link: ShareLink) -> None:
    """Delete a link."""
    tx.session.delete(link)
    tx.session.flush()


def remove_old(tx: Tx, peer_id: str, now: float) -> None:
    """Delete the links of a peer whose time is over."""
    gone = delete(ShareLink).where(ShareLink.peer_id == peer_id, ShareLink.expires_at <= now)
    tx.session.execute(gone, execution_options={"synchronize_session": False})
