"""Forecasts of failovers, as they are shown with the nodes of a config."""

from pydantic import Field

from wgfleet.panel.api.hints import sentence
from wgfleet.panel.api.models import Said, View
from wgfleet.panel.api.panel import Panel
from wgfleet.panel.api.problems import ProblemHint
from wgfleet.panel.domain.health.holds import HoldReason
from wgfleet.panel.services import forecasts
from wgfleet.panel.services.forecasts import NoFailover
from wgfleet.panel.store import Tx
from wgfleet.panel.store.tables import Config


class NoFailoverView(View):
    """Nobody takes over by itself if the node dies."""

    code: HoldReason = Field(description="Why.")
    reason: Said = Field(description="The same in words.")
    detail: Said = Field(description="`reason` and the ways out as calls of this API.")
    hints: list[ProblemHint] = Field(description="The ways out; any one of them is enough.")


NO_FAILOVER = Field(description="null: if the node died now, other nodes would take its peers over by themselves.")


def of_config(tx: Tx, panel: Panel, config: Config) -> dict[str, NoFailoverView]:
    """Show, by node's id, what stands against a failover now."""
    rules = panel.settings.health
    found = forecasts.of_config(tx, config, rules.rules, rules.site)
    return {node_id: _view(forecast) for node_id, forecast in found.items()}


def _view(forecast: NoFailover) -> NoFailoverView:
    return NoFailoverView(
        code=forecast.reason,
        reason=forecast.words,
        detail=sentence(forecast.words, forecast.hints),
        hints=[ProblemHint(code=hint.code.value, arguments=hint.arguments) for hint in forecast.hints],
    )
