"""The log of a node's agent: its last lines, and those that come while the page is looked at.

The page asks for them every 2 seconds while it is on a screen, and nobody does it when it is left.
"""

from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from fastapi import Query, Request
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from wgfleet.panel.api.auth import Reader
from wgfleet.panel.api.models import Reference
from wgfleet.panel.api.panel import Panel, ThePanel
from wgfleet.panel.errors import PanelError
from wgfleet.panel.reconcile.agents.log_copy import PLACE, LogPart
from wgfleet.panel.services.fleet import nodes
from wgfleet.panel.web.addresses import with_query
from wgfleet.panel.web.formats import details
from wgfleet.panel.web.languages import marked
from wgfleet.panel.web.page_router import page_router
from wgfleet.panel.web.rendering import environment, page, visitor_of
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


class ShownLine(NamedTuple):
    """A line as a row of the table."""

    mark: str
    row: Markup


@router.get("/nodes/{node}/log")
async def show_log(
    request: Request,
    panel: ThePanel,
    _caller: Reader,
    node: Reference,
    show: Annotated[Literal["", "troubles"], Query()] = "",
    after: Annotated[str, Query(pattern=f"^$|{PLACE}")] = "",
) -> Response:
    """Show what the agent says, or why it cannot be asked; only what came `after` a place, where that is given."""
    name, unit = await run_in_threadpool(_named, panel, node)
    part, refused = LogPart((), after), None
    try:
        part = await panel.agent_logs.read(name, LOG_LINES, after)
    except PanelError as error:
        refused = error
    context = {
        "node": name,
        "unit": unit,
        "rows": await run_in_threadpool(_rows, visitor_of(request).language, part, show),
        "skipped": part.skipped,
        "place": part.place,
        "problem": (refused.said or refused.detail) if refused else "",
        "show": show,
        "choices": CHOICES,
        "most": LOG_LINES,
        "most_shown": MOST_SHOWN,
        "here": with_query(f"/nodes/{name}/log", {"show": show}),
    }
    return await run_in_threadpool(page, request, "nodes/log.html", context, blocks={"rows"})


def _named(panel: Panel, node: str) -> tuple[str, str]:
    """Return the name of a node, and of the unit that runs its agent."""
    with panel.store.read() as tx:
        row = nodes.get(tx, node)
        kind = "witness" if row.witness else "panel" if row.is_panel_node else "agent"
        return row.name, f"wgfleet-{kind}"


def _rows(language: str, part: LogPart, show: str) -> Markup:
    """Return the rows of a table that lines are shown in, newest first."""
    found = (shown_line(language, each) for each in reversed(part.lines))
    fitting = (each.row for each in found if not show or each.mark in MARKS.values())
    return Markup("").join(islice(fitting, MOST_SHOWN))


@lru_cache(maxsize=2 * LOG_LINES)
def shown_line(language: str, text: str) -> ShownLine:
    """Return a line as it is shown in a language: made once for all who look, who may be many, every 2 seconds."""
    line = _line(text)
    row = environment(language).get_template("nodes/log_row.html").render(line=line)
    return ShownLine(line.mark, Markup(row))  # noqa: S704 - of a template


def _line(text: str) -> LogLine:
    try:
        entry: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        at = datetime.fromisoformat(entry.pop("timestamp"))
        level, event = str(entry.pop("level", "info")), str(entry.pop("event", ""))
    except (msgspec.DecodeError, ValueError, KeyError, TypeError):
        return LogLine(None, "", text, "", "idle")
    return LogLine(at, level, event, details(entry), MARKS.get(level, "idle"))
