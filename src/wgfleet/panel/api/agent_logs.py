"""`/api/nodes/{node}/log`: the last lines that a node's agent has logged."""

from typing import Annotated

from fastapi import Query
from pydantic import Field

from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.models import Reference, View
from wgfleet.panel.api.panel import ThePanel
from wgfleet.panel.api.subject_router import subject_router
from wgfleet.panel.reconcile.agents.log_copy import PLACE
from wgfleet.protocol.messages import LOG_LINES

router = subject_router("nodes")


class AgentLogView(View):
    """The last lines of an agent's log, without secrets."""

    lines: list[str] = Field(description="JSON objects as the agent writes them, oldest first.")
    next: str | None = Field(
        description="Pass it as `after` for lines that come later; null: the agent is too old to be followed."
    )
    skipped: int = Field(description="Number of lines after `after` that are left out: more came than were asked for.")


@router.get("/api/nodes/{node}/log", summary="Read the log of a node's agent")
async def read_log(
    panel: ThePanel,
    _caller: Reader,
    node: Reference,
    *,
    lines: Annotated[int, Query(ge=1, le=LOG_LINES, description="Maximum number of lines.")] = 100,
    after: Annotated[
        str | None, Query(pattern=PLACE, description="Only lines that came later: `next` of the last answer.")
    ] = None,
) -> AgentLogView:
    """Asked of the agent now: 503 where it does not answer, 409 where it is too old to keep its log for the panel.

    To follow it, ask every 2 seconds with `after`. However many ask, the agent is asked once a second at most.
    """
    part = await panel.agent_logs.read(node, lines, after or "")
    return AgentLogView(lines=list(part.lines), next=part.place, skipped=part.skipped)
