"""Route `GET /v1/log`: the last lines that this agent has logged, which it keeps in memory, and not many.

What it logs holds no secret, and a line is cut before it could hold much of anything.
"""

import logging
from collections import deque
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wgfleet.agent.server.http import answer
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.messages import LOG_LINES, AgentLog

_MAX_CHARACTERS = 1000


class LogRing(logging.Handler):
    """The last lines. A processor of structlog behind the renderer, and a handler of what libraries log."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=LOG_LINES)

    def __call__(self, _logger: Any, _method: str, rendered: Any) -> Any:
        """Keep a line that is about to be written."""
        self._keep(str(rendered))
        return rendered

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what a library logs."""
        self._keep(self.format(record))

    def last(self, count: int) -> tuple[str, ...]:
        """Return the newest lines, oldest first."""
        return tuple(self._lines)[-count:]

    def _keep(self, line: str) -> None:
        self._lines.append(line if len(line) <= _MAX_CHARACTERS else f"{line[:_MAX_CHARACTERS]}...")


LOG = LogRing()
"""That of this process."""


class LogRoute:
    """Handler of the route."""

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/v1/log", self.get)]

    async def get(self, request: Request) -> Response:
        """`GET /v1/log?lines=N`."""
        wanted = request.query_params.get("lines", str(LOG_LINES))
        if not wanted.isascii() or not wanted.isdigit() or not 1 <= int(wanted[:9]) <= LOG_LINES:
            raise FieldError("lines", f"must be 1 to {LOG_LINES}")
        return answer(AgentLog(LOG.last(int(wanted))))
