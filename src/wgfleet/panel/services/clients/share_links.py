"""Links with which somebody fetches the file of one peer: once, or until a date, with a password or without.

Only the SHA-256 of a link is kept, and argon2id of its password.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from wgfleet.panel import clock, passwords
from wgfleet.panel.errors import Conflict, Invalid, NotFound, Unauthorized
from wgfleet.panel.services import audit, configs
from wgfleet.panel.services.clients import files
from wgfleet.panel.services.clients.files import ClientFile
from wgfleet.panel.services.fleet import peers
from wgfleet.panel.store import Tx
from wgfleet.panel.store import share_links as link_rows
from wgfleet.panel.store.tables import Peer, ShareLink
from wgfleet.panel.tokens import digest, new_token
from wgfleet.panel.vault import Vault
from wgfleet.protocol.reasons import Reason

PREFIX = "wgd_"
MOST = 20  # of a peer
LONGEST_S = 90 * 86400.0
DEFAULT_S = 7 * 86400.0
WORTH_NOTHING = Reason("the link has been used, was withdrawn, or its time is over; ask for another one")
NO_FILE_YET = Reason("no node serves the file yet, so the link is not used up: try it again later")
AGAIN_S = 600.0  # for which who opened a link for one time may have the file again, in the same browser


class LinkPasswordMissing(Unauthorized):
    """Somebody has a link, and did not know that it asks for a password too: no guess."""


class LinkPasswordWrong(Unauthorized):
    """Somebody has a link, and gave another password than its own."""

    def __init__(self, link_id: str) -> None:
        super().__init__(Reason("the password is wrong; ask who gave you the link"), field="password")
        self.link_id = link_id


@dataclass(frozen=True, slots=True)
class KnownLink:
    """A link whose secret somebody has."""

    id: str
    password_hash: str | None = field(repr=False)

    def proof(self, visit: str) -> str | None:
        """Return what a browser that gave the password shows in its place; `visit`: the secret of its visit."""
        if self.password_hash is None:
            return None
        return hmac.digest(self.password_hash.encode(), f"{self.id} {visit}".encode(), "sha256").hex()


@dataclass(frozen=True, slots=True)
class FetchedFiles:
    """What a link opens. `let_in`: whether nodes let the peer in now; one that is switched off or at a limit is not."""

    peer_id: str
    peer_name: str
    let_in: bool
    has_private_key: bool
    one_time: bool
    expires_at: float
    files: list[ClientFile]


def create(
    tx: Tx,
    actor: str,
    peer: Peer,
    *,
    one_time: bool,
    lasts_s: float = DEFAULT_S,
    password_hash: str | None = None,
) -> tuple[ShareLink, str]:
    """Make a link, and return it with its secret, which is never to be had again. `password_hash`: see `hashed`."""
    if not 0 < lasts_s <= LONGEST_S:
        raise Invalid(Reason("a link lasts up to {days:.0f} days", days=LONGEST_S / 86400), field="lasts_s")
    now = clock.now()
    link_rows.remove_old(tx, peer.id, now)
    if len(link_rows.of_peer(tx, peer.id)) >= MOST:
        raise Conflict(
            Reason("peer {peer!r} has {most} links, and may have no more; withdraw one", peer=peer.name, most=MOST)
        )
    secret = new_token(PREFIX)
    link = ShareLink(
        id=clock.new_id(),
        peer_id=peer.id,
        digest=digest(secret),
        one_time=one_time,
        created_by=actor,
        created_at=now,
        expires_at=now + lasts_s,
        uses=0,
        opened_at=None,
        opened_by=None,
        password_hash=password_hash,
    )
    link_rows.add(tx, link)
    _record(
        tx, actor, "created", link, peer.name,
        one_time=one_time, expires_at=link.expires_at, password=password_hash is not None,
    )  # fmt: skip
    return link, secret


def hashed(password: str | None) -> str | None:
    """Return what is kept of a link's password, None of none. It takes a while: not within a transaction."""
    if password is None:
        return None
    passwords.check_of_link(password)
    return passwords.hashed(password)


def listing(tx: Tx, peer_id: str) -> Sequence[ShareLink]:
    """Return the links of a peer, in the order they were made."""
    return link_rows.of_peer(tx, peer_id)


def delete(tx: Tx, actor: str, peer: Peer, link_id: str) -> None:
    """Withdraw a link. What was fetched with it stays good: renew the keys of the peer for that."""
    link = next((each for each in link_rows.of_peer(tx, peer.id) if each.id == link_id), None)
    if link is None:
        raise NotFound(Reason("peer {peer!r} has no link {link_id!r}", peer=peer.name, link_id=link_id))
    link_rows.remove(tx, link)
    _record(tx, actor, "deleted", link, peer.name)


def known(tx: Tx, secret: str) -> KnownLink:
    """Return the link that has this secret; raise `Unauthorized` where there is none, any more."""
    link = link_rows.by_digest(tx, digest(secret), clock.now())
    if link is None:
        raise Unauthorized(WORTH_NOTHING)
    return KnownLink(link.id, link.password_hash)


def is_proven(link: KnownLink, proof: str, visit: str) -> bool:
    """Say whether no password is to be asked for: there is none, or this browser gave it and has the proof."""
    expected = link.proof(visit)
    return expected is None or hmac.compare_digest(proof.encode(), expected.encode())


def check_password(link: KnownLink, password: str) -> None:
    """Raise `LinkPasswordMissing` or `LinkPasswordWrong`, unless it is right. Not within a transaction."""
    if not password:
        raise LinkPasswordMissing(
            Reason("this link needs a password, which comes to you by another way"), field="password"
        )
    if len(password) > passwords.MOST or not passwords.matches(password, link.password_hash):
        raise LinkPasswordWrong(link.id)


def record_refusal(tx: Tx, reason: str, link_id: str, remote: str, count: int = 1) -> None:
    """Audit that somebody had a link, and not its password. `remote`: an address, or a network of them."""
    audit.record_refused(tx, remote, "anonymous", "share_link", link_id, reason=reason, remote=remote, count=count)


def fetch(tx: Tx, vault: Vault, known_link: KnownLink, visit: str, remote: str) -> FetchedFiles:
    """Return what a link opens, and note that it did. `visit`: the secret of the browser's visit.

    Call it after the password was checked: see `is_proven`, `check_password`. Raise `Unauthorized` where there is no
    such link, any more, or it was for one time and somebody had it, and `Conflict` where there is no file yet.
    """
    now = clock.now()
    link = link_rows.get(tx, known_link.id, now)
    if link is None or not link_rows.opened(tx, link.id, digest(visit), now, now - AGAIN_S):
        raise Unauthorized(WORTH_NOTHING)
    peer = peers.get(tx, link.peer_id)
    try:
        found = files.files(tx, vault, f"link:{link.id}", peer)
    except Conflict:  # it says to administrators what to do
        found = []
    if not found:
        raise Conflict(NO_FILE_YET)
    _record(tx, f"link:{link.id}", "opened", link, peer.name, remote=remote)
    let_in = peer.enabled and peer.restricted_at is None and configs.get(tx, peer.config_id).enabled
    has_key = peer.private_key_sealed is not None
    return FetchedFiles(peer.id, peer.name, let_in, has_key, link.one_time, link.expires_at, found)


def _record(tx: Tx, actor: str, action: str, link: ShareLink, name: str, **details: object) -> None:
    audit.record(tx, actor, action, "share_link", link.id, peer=name, peer_id=link.peer_id, **details)
