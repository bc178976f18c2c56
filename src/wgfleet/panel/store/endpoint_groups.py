"""Rows of endpoint groups; one a config."""

from collections.abc import Collection

from sqlalchemy import select

from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Config, EndpointGroup


def get(tx: Tx, config_id: str) -> EndpointGroup | None:
    """Return the config's group."""
    return tx.session.get(EndpointGroup, config_id)


def domains(tx: Tx) -> list[tuple[str, str]]:
    """Return the name of each cluster that has a group, and the group's domain.

    Nothing need be at that of an independent config: its nodes have their names below.
    """
    query = select(Config.name, EndpointGroup.domain).join(Config, Config.id == EndpointGroup.config_id)
    query = query.where(Config.mode == "cluster")
    return [(config, domain) for config, domain in tx.session.execute(query)]


def with_configs(tx: Tx) -> list[tuple[Config, EndpointGroup]]:
    """Return all groups, each with its config, in the order in which the configs were made."""
    query = select(Config, EndpointGroup).join(EndpointGroup, EndpointGroup.config_id == Config.id).order_by(Config.id)
    return [(config, group) for config, group in tx.session.execute(query)]


def domains_of(tx: Tx, config_ids: Collection[str]) -> dict[str, str]:
    """Return the domain of each of some configs that has a group, by the config's id."""
    query = select(EndpointGroup.config_id, EndpointGroup.domain).where(EndpointGroup.config_id.in_(config_ids))
    return dict(tx.session.execute(query).all())


def add(tx: Tx, group: EndpointGroup) -> None:
    """Add a group."""
    tx.session.add(group)
    tx.session.flush()


def delete(tx: Tx, group: EndpointGroup) -> None:
    """Delete a group."""
    tx.session.delete(group)
    tx.session.flush()
