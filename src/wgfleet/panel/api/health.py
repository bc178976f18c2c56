"""`/api/configs/{config}/health`: the health of a config's nodes, and its history."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.models import Reference, View, utc
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.domain.health.votes import Health
from wgfleet.panel.services import configs, health
from wgfleet.panel.services.fleet import assignments

router = APIRouter(tags=["health"])
MAX_HISTORY = 1000


class NodeHealth(View):
    """The current health of a node."""

    node_id: str
    node_name: str
    health: Health
    since: datetime
    reason: str


class HealthChange(View):
    """A change of a node's health."""

    at: datetime
    node_id: str
    before: Health
    after: Health
    reason: str


class ConfigHealth(View):
    """The health of a config."""

    frozen: str | None = Field(
        description="Why no node is taken out of use at present; null if the panel is not cut off."
    )
    nodes: list[NodeHealth]
    history: list[HealthChange] = Field(description="Newest first.")


@router.get("/api/configs/{config}/health", summary="Show the health of a config's nodes")
def show_health(
    panel: ThePanel,
    _caller: Reader,
    config: Reference,
    history: Annotated[int, Query(ge=0, le=MAX_HISTORY, description="Number of changes to list.")] = 50,
) -> ConfigHealth:
    """Which nodes serve, since when and why, and the latest changes."""
    with panel.store.read() as tx:
        row = configs.get(tx, config)
        return ConfigHealth(
            frozen=panel.outlook.frozen,
            nodes=[
                NodeHealth(
                    node_id=assigned.node.id,
                    node_name=assigned.node.name,
                    health=assigned.assignment.health,
                    since=utc(assigned.assignment.health_since),
                    reason=assigned.assignment.health_reason,
                )
                for assigned in assignments.listing(tx, row.id)
            ],
            history=[
                HealthChange(
                    at=utc(event.at), node_id=event.node_id, before=event.before, after=event.after, reason=event.reason
                )
                for event in health.history(tx, row.id, limit=history)
            ],
        )
