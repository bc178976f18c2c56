"""The log of a node's agent: its last lines, asked of the agent when the page is loaded."""

from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from fastapi import Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.models import Reference
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.errors import PanelError
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.formats import details
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import page
from wgfleet.protocol.messages import LOG_LINES

router = page_router()
MOST_SHOWN = 300
CHOICES = (("", marked("all")), ("troubles", marked("warnings and errors")))
MARKS = {"warning": "poor", "error": "bad", "critical": "bad"}


class LogLine(NamedTuple):
    """A line as a person reads it; `at` None: it is no line of the agent's own, and stands in `event` as it is."""

    at: datetime | None
    level: str
    event: str
    details: str
    mark: str


@router.get("/nodes/{node}/log")
async def show_log(
    request: Request,
    panel: ThePanel,
    _caller: Reader,
    node: Reference,
    show: Annotated[Literal["", "troubles"], Query()] = "",
) -> Response:
    """Show what the agent says, or why it cannot be asked."""
    name, unit = await run_in_threadpool(_named, panel, node)
    lines, refused = [], None
    try:
        lines = [_line(each) for each in reversed(await panel.agent_logs.read(name, LOG_LINES))]
    except PanelError as error:
        refused = error
    context = {
        "node": name,
        "unit": unit,
        "lines": [each for each in lines if not show or each.mark in MARKS.values()][:MOST_SHOWN],
        "refused": refused,
        "show": show,
        "choices": CHOICES,
        "most": LOG_LINES,
        "here": with_query(f"/nodes/{name}/log", {"show": show}),
    }
    return await run_in_threadpool(page, request, "nodes/log.html", context)


def _named(panel: Panel, node: str) -> tuple[str, str]:
    """Return the name of a node, and of the unit that runs its agent."""
    with panel.store.read() as tx:
        row = nodes.get(tx, node)
        kind = "witness" if row.witness else "panel" if row.is_panel_node else "agent"
        return row.name, f"wgfleet-{kind}"


def _line(text: str) -> LogLine:
    try:
        entry: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        at = datetime.fromisoformat(entry.pop("timestamp"))
        level, event = str(entry.pop("level", "info")), str(entry.pop("event", ""))
    except (msgspec.DecodeError, ValueError, KeyError, TypeError):
        return LogLine(None, "", text, "", "idle")
    return LogLine(at, level, event, details(entry), MARKS.get(level, "idle"))
