"""Rows of the assignments' health and of its history."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import load_only

from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.domain.phases import Phase
from wgfleet.panel.store.engine import Tx
from wgfleet.panel.store.tables import Assignment, Config, EndpointGroup, HealthEvent, HealthFreeze, Node, NodeGroup


def watched(tx: Tx) -> list[tuple[Assignment, Config, Node, EndpointGroup | None]]:
    """Return every assignment that serves or drains, with its config, its node and its config's endpoint group.

    Without the columns that the watch does not look at: it reads all of them once a second.
    """
    return [(a, config, node, group) for a, config, node, group in tx.session.execute(_WATCHED)]


_WATCHED = (
    select(Assignment, Config, Node, EndpointGroup)
    .join(Config, Config.id == Assignment.config_id)
    .join(Node, Node.id == Assignment.node_id)
    .outerjoin(EndpointGroup, EndpointGroup.config_id == Assignment.config_id)
    .where(Assignment.phase.in_([Phase.SERVING, Phase.DRAINING]), Config.enabled)
    .order_by(Assignment.id)
    .options(
        load_only(
            Assignment.config_id,
            Assignment.node_id,
            Assignment.phase,
            Assignment.public_key,
            Assignment.public_port,
            Assignment.next_public_port,
            Assignment.probe_private_key_sealed,
            Assignment.next_probe_private_key_sealed,
            Assignment.oldest_base,
            Assignment.applied_generation,
            Assignment.health,
            Assignment.health_since,
            Assignment.health_reason,
            Assignment.flaps,
            Assignment.silent_addresses,
        ),
        load_only(
            Config.name,
            Config.mode,
            Config.listen_port,
            Config.public_key,
            Config.probe_private_key_sealed,
            Config.paused_since,
        ),
        load_only(
            Node.endpoint_addresses,
            Node.next_endpoint_addresses,
            Node.is_panel_node,
            Node.agent_host,
        ),
        load_only(EndpointGroup.port, EndpointGroup.min_nodes),
    )
)


def sites(tx: Tx) -> dict[str, str]:
    """Return the site of each node whose group names one, by the node's id."""
    query = select(Node.id, NodeGroup.site).join(NodeGroup, NodeGroup.id == Node.group_id).where(NodeGroup.site != "")
    return {row.id: row.site for row in tx.session.execute(query)}


def nodes_in_use(tx: Tx) -> frozenset[str]:
    """Return the nodes with an agent that carry a config and are not out of use there."""
    query = select(Node.id).join(Assignment, Assignment.node_id == Node.id).distinct()
    in_use = [health for health in Health if health.in_use]
    return frozenset(
        tx.session.scalars(
            query.where(
                Node.certificate_expires_at.is_not(None), Assignment.phase != "removed", Assignment.health.in_(in_use)
            )
        )
    )


def freeze(tx: Tx) -> HealthFreeze | None:
    """Return why no node is taken out of use, if that is so."""
    return tx.session.scalar(select(HealthFreeze).limit(1))


def add_freeze(tx: Tx, row: HealthFreeze) -> None:
    """Write that no node is taken out of use."""
    tx.session.add(row)
    tx.session.flush()


def end_freeze(tx: Tx) -> None:
    """Write that nodes are taken out of use again."""
    tx.session.execute(delete(HealthFreeze))


def change(tx: Tx, assignment_id: str, **values: Any) -> None:
    """Set columns of an assignment."""
    tx.session.execute(update(Assignment).where(Assignment.id == assignment_id).values(**values))


def add_event(tx: Tx, event: HealthEvent) -> None:
    """Add to the history."""
    tx.session.add(event)
    tx.session.flush()


def events(tx: Tx, config_id: str, node_id: str | None, limit: int) -> Sequence[HealthEvent]:
    """Return the latest changes of a config's nodes, or of one of them, newest first."""
    query = select(HealthEvent).where(HealthEvent.config_id == config_id).order_by(HealthEvent.id.desc()).limit(limit)
    return tx.session.scalars(query.where(HealthEvent.node_id == node_id) if node_id else query).all()


def forget_events(tx: Tx, before: float, limit: int) -> int:
    """Delete up to `limit` changes from before a time, the oldest first; return how many."""
    oldest = tx.session.execute(select(HealthEvent.id, HealthEvent.at).order_by(HealthEvent.id).limit(limit))
    gone = [number for number, at in oldest if at < before]
    tx.session.execute(delete(HealthEvent).where(HealthEvent.id.in_(gone)))
    return len(gone)
