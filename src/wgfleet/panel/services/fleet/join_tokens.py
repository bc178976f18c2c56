"""One-time tokens with which an agent enrolls as a node."""

from wgfleet.panel import clock
from wgfleet.panel.errors import Unauthorized
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.store import Tx
from wgfleet.panel.store import access as access_rows
from wgfleet.panel.store.tables import JoinToken, Node
from wgfleet.panel.tokens import digest, new_token


class TokenRefused(Unauthorized):
    """A join token that lets nobody in; `node_id` where it once belonged to a node."""

    def __init__(self, detail: str, reason: str, node_id: str | None = None) -> None:
        super().__init__(detail, Hint(HintCode.MAKE_JOIN_TOKEN))
        self.reason = reason
        self.node_id = node_id


def create(tx: Tx, actor: str, node: Node, lifetime_s: float) -> tuple[str, float]:
    """Return a token that lets one agent enroll as the node, once, and its expiry; revoke older unused ones."""
    text = new_token("wgj_")
    now = clock.now()
    token = JoinToken(digest=digest(text), node_id=node.id, created_at=now, expires_at=now + lifetime_s, used_at=None)
    access_rows.replace_token(tx, token)
    audit.record(tx, actor, "created", "join_token", node.id, node=node.name, expires_at=token.expires_at)
    return text, token.expires_at


def redeem(tx: Tx, text: str) -> Node:
    """Use a token up and return its node.

    On `TokenRefused` the caller's transaction leaves nothing behind; `record_refusal` goes into one of its own.
    """
    kept, now = digest(text), clock.now()
    node_id = access_rows.use_token(tx, kept, now)
    if node_id is not None:
        return nodes.get(tx, node_id)
    raise _refusal(access_rows.token(tx, kept))


def look(tx: Tx, text: str) -> None:
    """Raise `TokenRefused` for a token that could not be used now. Reads only: strangers must not queue as writers."""
    token = access_rows.token(tx, digest(text))
    if token is None or token.used_at is not None or token.expires_at <= clock.now():
        raise _refusal(token)


def _refusal(token: JoinToken | None) -> TokenRefused:
    if token is None:
        return TokenRefused("the join token is unknown", "unknown")
    if token.used_at is not None:
        return TokenRefused("the join token has already been used", "used", token.node_id)
    return TokenRefused("the join token has expired", "expired", token.node_id)


def record_refusal(tx: Tx, reason: str, node_id: str, remote: str, count: int = 1) -> None:
    """Audit that agents were turned away. `remote` is where they came from: an address, or a network of them."""
    audit.record_refused(tx, remote, "agent", "join_token", node_id, reason=reason, remote=remote, count=count)
