"""Route `GET /v1/log`: the last lines that this agent has logged, which it keeps in memory, and not many.

What it logs holds no secret; where a library's line does, it is hidden, and a line is cut before it could hold much of
anything. Lines are counted, so that who has the others asks for new ones only.
"""

import logging
import secrets
import threading
from collections import deque
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wgfleet.agent.server.http import answer
from wgfleet.protocol.errors import FieldError
from wgfleet.protocol.messages import LOG_LINES, AgentLog
from wgfleet.protocol.secret_forms import without_secrets

_MAX_READ, _MAX_DIGITS = 8192, 15
_MAX_CHARACTERS = 1000


class LogRing(logging.Handler):
    """The last lines. A processor of structlog behind the renderer, and a handler of what libraries log."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=LOG_LINES)
        self._count = 0
        self._run = secrets.token_hex(8)
        self._turn = threading.Lock()

    def __call__(self, _logger: Any, _method: str, rendered: Any) -> Any:
        """Keep a line that is about to be written."""
        self._keep(str(rendered))
        return rendered

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what a library logs."""
        self._keep(self.format(record))

    def last(self, count: int, run: str = "", after: int = 0) -> AgentLog:
        """Return the newest lines, oldest first; of those after a line of this run, if it is of this one."""
        with self._turn:
            fresh = self._count - after if run == self._run else len(self._lines)
            wanted = min(max(fresh, 0), count, len(self._lines))
            lines = tuple(islice(self._lines, len(self._lines) - wanted, None))
            return AgentLog(lines, self._run, self._count)

    def _keep(self, line: str) -> None:
        line = without_secrets(line[:_MAX_READ])
        with self._turn:
            self._count += 1
            self._lines.append(line if len(line) <= _MAX_CHARACTERS else f"{line[:_MAX_CHARACTERS]}...")


LOG = LogRing()
"""That of this process."""


class LogRoute:
    """Handler of the route."""

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/v1/log", self.get)]

    async def get(self, request: Request) -> Response:
        """`GET /v1/log?lines=N`, and `&run=RUN&after=LAST` for lines after that one."""
        lines = _number(request, "lines", LOG_LINES)
        if not 1 <= lines <= LOG_LINES:
            raise FieldError("lines", f"must be 1 to {LOG_LINES}")
        return answer(LOG.last(lines, request.query_params.get("run", ""), _number(request, "after", 0)))


def _number(request: Request, field: str, default: int) -> int:
    text = request.query_params.get(field, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        raise FieldError(field, "must be a whole number")
    return int(text)
