"""Callers: programs with an API key and people who signed in, and the scopes that say what they may do."""

from dataclasses import dataclass
from enum import StrEnum

from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.errors import Forbidden
from wgfleet.protocol.reasons import Reason

READ, WRITE, NODES, SECRETS, ADMIN = "read", "write", "nodes", "secrets", "admin"
DEVICES = "devices"
"""What people may who have devices of their own: make, rotate and delete them, and read their files. No key has it."""
OWN = "own"
"""What every caller may: see and change what is its own. It is given to nobody."""
SCOPES = {
    READ: "see everything but secrets",
    WRITE: "change configs and peers, and nodes that are there; it never yields a private key",
    NODES: "decide which machines get keys: create nodes, join tokens, agent addresses, first assignments",
    SECRETS: "read the files of peers, and backups; each read is audited",
    ADMIN: "all of it, and API keys and users",
}


class Role(StrEnum):
    """What a person may do, as a set of scopes."""

    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    SELF_SERVICE = "self-service"


ROLES = {
    Role.ADMIN: frozenset({ADMIN}),
    Role.OPERATOR: frozenset({READ, WRITE, NODES, SECRETS, DEVICES}),
    Role.VIEWER: frozenset({READ}),
    Role.SELF_SERVICE: frozenset({DEVICES}),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """A key or a session that was accepted. `stale_use`: its time of last use is worth noting again.

    `id` is the key's, or the user's, who has `session_id` too: rate limits count by it. `limit`: what its scopes are
    about, None: everything.
    """

    id: str
    name: str
    scopes: frozenset[str]
    stale_use: bool
    session_id: str | None = None
    limit: Limit | None = None

    @property
    def described(self) -> str:
        """What messages call it."""
        if self.session_id is None:
            return Reason("API key {name!r}", name=self.name)
        return Reason("user {name!r}", name=self.name)

    @property
    def reference(self) -> str:
        """What stands for the key, or the user, for good; a name may be given again."""
        return f"{'key' if self.session_id is None else 'user'}:{self.id}"

    @property
    def actor(self) -> str:
        """The name in the audit log."""
        return f"key:{self.name}" if self.session_id is None else f"user:{self.name}"

    def may(self, scope: str) -> bool:
        """Say whether a scope is granted; `admin` grants all, and `own` is everybody's."""
        if scope == DEVICES and self.session_id is None:
            return False
        return scope == OWN or scope in self.scopes or ADMIN in self.scopes

    def is_user(self, user_id: str) -> bool:
        """Say whether it is a user, that one, who signed in."""
        return self.session_id is not None and self.id == user_id

    def need(self, scope: str, doing: str = "this") -> None:
        """Raise `Forbidden` unless a scope is granted. `doing`: what is refused, as a gerund."""
        if not self.may(scope):
            lacking, way_out = (
                (Reason("API key"), Reason("use one that has it") if scope != DEVICES else Reason("sign in as a user"))
                if self.session_id is None
                else (Reason("user"), Reason("ask an administrator for a role that has it"))
            )
            raise Forbidden(
                Reason(
                    "{doing} needs the scope {scope!r}, which {lacking} {name!r} lacks; {way_out}",
                    doing=doing,
                    scope=scope,
                    lacking=lacking,
                    name=self.name,
                    way_out=way_out,
                )
            )
