"""API keys of programs, and of people without an account."""

import hmac
from collections.abc import Collection, Sequence

from wgfleet.panel import clock
from wgfleet.panel.domain.fields import parse_name
from wgfleet.panel.domain.limits import Limit, kept
from wgfleet.panel.errors import Conflict, Invalid, NotFound, Unauthorized
from wgfleet.panel.hints import Hint, HintCode
from wgfleet.panel.services import audit
from wgfleet.panel.services.access import limits
from wgfleet.panel.services.access.callers import ADMIN, SCOPES, Caller
from wgfleet.panel.store import Tx
from wgfleet.panel.store import access as access_rows
from wgfleet.panel.store.tables import ApiKey
from wgfleet.panel.tokens import digest, new_token
from wgfleet.protocol.reasons import Reason

FIRST_KEY = "admin"
LATEST = 253402214400.0  # 9999-12-31T00:00:00Z; what a calendar has ends a day later, in all time zones
USE_NOTED_EVERY_S = 60.0  # a write for each request would make readers queue behind the one writer of SQLite


def ensure_first_key(tx: Tx) -> str | None:
    """Make the first admin key and return its text, or None where there are keys already."""
    if access_rows.any_key(tx):
        return None
    return create_key(tx, audit.PANEL, FIRST_KEY, [ADMIN])[1]


def check_limited(scopes: Collection[str], limit: Limit | None, field: str) -> None:
    """Refuse a limit for who may do everything, and could take it away."""
    if limit is not None and ADMIN in scopes:
        raise Invalid(Reason("who has a limit cannot be an administrator; leave out one of the two"), field=field)


def create_key(
    tx: Tx,
    actor: str,
    name: str,
    scopes: Collection[str],
    expires_at: float | None = None,
    *,
    configs: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; its text is returned here and never again. `configs`, `groups`: its limit, by ids or names."""
    parse_name(name)
    unknown = sorted(set(scopes) - SCOPES.keys())
    if unknown or not scopes:
        wrong = (
            Reason("{unknown!r} is not a scope", unknown=unknown[0])
            if unknown
            else Reason("a key needs at least one scope")
        )
        raise Invalid(Reason("{wrong}; there are {scopes}", wrong=wrong, scopes=", ".join(SCOPES)), field="scopes")
    if expires_at is not None and expires_at <= clock.now():
        raise Invalid(Reason("is in the past; give a later time, or null"), field="expires_at")
    if expires_at is not None and expires_at > LATEST:
        raise Invalid(
            Reason("is later than 9999-12-31T00:00:00Z; give an earlier time, or null for never"), field="expires_at"
        )
    if access_rows.find_key(tx, name) is not None:
        raise Conflict(Reason("an API key named {name!r} already exists; choose another name", name=name), field="name")
    limit_configs, limit_groups = limits.resolved(tx, configs, groups)
    check_limited(scopes, kept(limit_configs, limit_groups), "scopes")
    text = new_token("wgf_")
    key = ApiKey(
        id=clock.new_id(),
        name=name,
        digest=digest(text),
        scopes=[scope for scope in SCOPES if scope in scopes],
        created_at=clock.now(),
        expires_at=expires_at,
        last_used_at=None,
        limit_configs=limit_configs,
        limit_groups=limit_groups,
    )
    access_rows.add_key(tx, key)
    values = {"configs": limit_configs, "node_groups": limit_groups} if kept(limit_configs, limit_groups) else {}
    audit.record(tx, actor, "created", "api_key", key.id, name=name, scopes=key.scopes, expires_at=expires_at, **values)
    return key, text


def authenticate(tx: Tx, text: str) -> Caller:
    """Return who holds this key; unknown and expired ones raise `Unauthorized`."""
    found = digest(text)
    key = access_rows.key_by_digest(tx, found)
    if key is None or not hmac.compare_digest(key.digest, found):
        raise Unauthorized(Reason("the API key is unknown; it may have been revoked"))
    now = clock.now()
    if key.expires_at is not None and key.expires_at <= now:
        raise Unauthorized(Reason("API key {key!r} has expired; make a new one", key=key.name))
    stale = key.last_used_at is None or now - key.last_used_at >= USE_NOTED_EVERY_S
    return Caller(
        id=key.id,
        name=key.name,
        scopes=frozenset(key.scopes),
        stale_use=stale,
        limit=kept(key.limit_configs, key.limit_groups),
    )


def is_valid(tx: Tx, caller: Caller) -> bool:
    """Say whether a key that was accepted earlier would be accepted now."""
    key = access_rows.find_key(tx, caller.id)
    return key is not None and (key.expires_at is None or key.expires_at > clock.now())


def note_use(tx: Tx, caller: Caller) -> None:
    """Keep the time of the key's last use."""
    access_rows.touch_key(tx, caller.id, clock.now())


def keys(tx: Tx, after: str | None = None, limit: int = 100) -> Sequence[ApiKey]:
    """Return keys in the order of creation, starting after the id `after`."""
    return access_rows.page_keys(tx, after, limit)


def get_key(tx: Tx, reference: str) -> ApiKey:
    """Return a key by id or name."""
    key = access_rows.find_key(tx, reference)
    if key is None:
        raise NotFound(Reason("there is no API key {reference!r}", reference=reference), Hint(HintCode.LIST_API_KEYS))
    return key


def revoke_key(tx: Tx, actor: str, key: ApiKey) -> None:
    """Delete a key; the last one with the admin scope that does not expire stays, or nobody could get in again."""
    others = [other for other in access_rows.lock_keys(tx) if other.id != key.id]
    if ADMIN in key.scopes and not any(ADMIN in other.scopes and other.expires_at is None for other in others):
        raise Conflict(
            Reason("API key {key!r} is the last admin key that does not expire", key=key.name),
            Hint(HintCode.MAKE_API_KEY),
        )
    access_rows.delete_key(tx, key)
    audit.record(tx, actor, "revoked", "api_key", key.id, name=key.name)
