"""Rows of published names (syncs) and of provider accounts."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from wgfleet.panel.domain.dns.states import SyncState
from wgfleet.panel.domain.limits import Limit
from wgfleet.panel.store import audit
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import (
    Assignment,
    AuditEntry,
    CertificateAuthority,
    Config,
    DnsAccount,
    DnsSync,
    EndpointGroup,
    Node,
)
from wgfleet.panel.vault import Alias

Insert = sqlite.Insert | postgresql.Insert


def get(tx: Tx, sync_id: str) -> DnsSync | None:
    """Return a sync, or None."""
    return tx.session.get(DnsSync, sync_id)


def of_config(tx: Tx, config_id: str) -> list[DnsSync]:
    """Return a config's syncs, oldest first."""
    query = select(DnsSync).where(DnsSync.config_id == config_id).order_by(DnsSync.created_at, DnsSync.id)
    return list(tx.session.scalars(query))


def ids(tx: Tx) -> list[str]:
    """Return the ids of all syncs."""
    return list(tx.session.scalars(select(DnsSync.id)))


def ids_of(tx: Tx, config_ids: Collection[str]) -> list[str]:
    """Return the ids of the syncs of some configs."""
    return list(tx.session.scalars(select(DnsSync.id).where(DnsSync.config_id.in_(config_ids))))


def publishing(tx: Tx) -> list[str]:
    """Return the configs whose endpoint group publishes names."""
    return list(tx.session.scalars(select(EndpointGroup.config_id).where(EndpointGroup.dns_provider.is_not(None))))


def configs_of(tx: Tx, assignment_ids: Collection[str], node_ids: Collection[str]) -> list[str]:
    """Return the configs with an endpoint group that some assignments or nodes belong to."""
    query = select(Assignment.config_id).join(EndpointGroup, EndpointGroup.config_id == Assignment.config_id)
    where = Assignment.id.in_(assignment_ids) | Assignment.node_id.in_(node_ids)
    return list(tx.session.scalars(query.where(where).distinct()))


def page(
    tx: Tx, state: SyncState | None, after: str | None, limit: int, within: Limit | None = None
) -> Sequence[DnsSync]:
    """Return up to `limit` syncs in the order they were made, after the id `after`."""
    query = select(DnsSync).order_by(DnsSync.id).limit(limit)
    if within is not None:
        query = query.where(DnsSync.config_id.in_(within.configs))
    if state is not None:
        query = query.where(DnsSync.state == state)
    if after is not None:
        query = query.where(DnsSync.id > after)
    return tx.session.scalars(query).all()


def all_syncs(tx: Tx) -> Sequence[DnsSync]:
    """Return every sync."""
    return tx.session.scalars(select(DnsSync)).all()


def add(tx: Tx, sync: DnsSync) -> None:
    """Insert a sync."""
    tx.session.add(sync)
    tx.session.flush()


def remove(tx: Tx, sync: DnsSync) -> None:
    """Delete a sync."""
    tx.session.delete(sync)
    tx.session.flush()


def config_names(tx: Tx, config_ids: Collection[str]) -> dict[str, str]:
    """Return the names of some configs by id."""
    query = select(Config.id, Config.name).where(Config.id.in_(config_ids))
    return dict(tx.session.execute(query).all())


def panel_id(tx: Tx) -> str | None:
    """Return the name of this installation."""
    return tx.session.scalar(select(CertificateAuthority.panel_id))


def endpoint_addresses(tx: Tx) -> list[list[str]]:
    """Return the endpoint addresses of every node."""
    return list(tx.session.scalars(select(Node.endpoint_addresses)))


def history(
    tx: Tx, config_id: str, limit: int, offset: int, before: int | None = None
) -> tuple[Sequence[AuditEntry], int]:
    """Return the newest audit entries about a config's names, older than number `before`; and the number of all."""
    where = [
        AuditEntry.entity_type == "endpoint_group",
        AuditEntry.entity_id == config_id,
        AuditEntry.action.startswith("dns_", autoescape=True),
    ]
    return audit.newest(tx, where, limit, offset, before)


def account(tx: Tx, aliases: Sequence[Alias]) -> DnsAccount | None:
    """Return an account's rate limit row by the first of its aliases that has one, or None."""
    return next(filter(None, (tx.session.get(DnsAccount, alias.digest) for alias in aliases)), None)


def locked_account(tx: Tx, aliases: Sequence[Alias], *, tokens: float, now: float) -> DnsAccount:
    """Return an account's row, locked until this transaction ends; created if it does not exist.

    From now on it is found by the first alias.
    """
    first, *older = aliases
    for alias in older:
        rename_account(tx, alias.digest, first)
    values = {
        "account": first.digest,
        "key_id": first.key_id,
        "tokens": tokens,
        "updated_at": now,
        "blocked_until": 0.0,
    }
    _add_account(tx, _insert(tx).values(values))
    return tx.session.get_one(DnsAccount, first.digest, with_for_update=True, populate_existing=True)


def set_account(tx: Tx, alias: Alias, **values: float) -> None:
    """Set columns of an account."""
    tx.session.execute(update(DnsAccount).where(DnsAccount.account == alias.digest).values(**values))


def unaliased_accounts(tx: Tx) -> list[str]:
    """Return what accounts are called that have no alias."""
    return list(tx.session.scalars(select(DnsAccount.account).where(DnsAccount.key_id.is_(None))))


def rename_account(tx: Tx, name: str, alias: Alias) -> None:
    """Move an account's row, if there is one, to an alias; one that is there already stays as it is."""
    state = "tokens", "updated_at", "blocked_until"
    row = select(literal(alias.digest), literal(alias.key_id), *(getattr(DnsAccount, column) for column in state))
    _add_account(tx, _insert(tx).from_select(["account", "key_id", *state], row.where(DnsAccount.account == name)))
    tx.session.execute(delete(DnsAccount).where(DnsAccount.account == name))


def _insert(tx: Tx) -> Insert:
    on_sqlite = tx.session.get_bind().dialect.name == "sqlite"
    return sqlite.insert(DnsAccount) if on_sqlite else postgresql.insert(DnsAccount)


def _add_account(tx: Tx, new: Insert) -> None:
    tx.session.execute(new.on_conflict_do_nothing(index_elements=["account"]))


def forget_accounts(tx: Tx, before: float, limit: int) -> int:
    """Delete up to `limit` accounts last used before a time, and not blocked since; return how many."""
    idle = DnsAccount.updated_at < before, DnsAccount.blocked_until < before
    gone = tx.session.scalars(select(DnsAccount.account).where(*idle).limit(limit)).all()
    tx.session.execute(delete(DnsAccount).where(DnsAccount.account.in_(gone)))
    return len(gone)
